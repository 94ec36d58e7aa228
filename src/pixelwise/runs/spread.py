"""Mean and standard deviation of a metric over several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a metric over the runs of a group.

    Attributes:
        mean: the mean, or None if no run has a value.
        sd: the sample standard deviation, or None if fewer than two runs have a value.
    """

    mean: float | None
    sd: float | None

    @staticmethod
    def of(values: Sequence[float | None]) -> "Spread":
        """Return the spread of the values that are not None.

        >>> str(Spread.of([0.7, None, 0.8]))
        '0.750 ± 0.071'
        """
        known = [value for value in values if value is not None]
        return Spread(mean(known) if known else None, stdev(known) if len(known) > 1 else None)

    def __str__(self) -> str:
        if self.mean is None:
            return "–"
        return f"{self.mean:.3f}" if self.sd is None else f"{self.mean:.3f} ± {self.sd:.3f}"
