"""The result of a search, and its files: a table, a plot and a plan with the best settings."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pixelwise.config import MACHINE_SETTINGS, Config
from pixelwise.data.joined_spec import AnySpec
from pixelwise.planning.plan import Plan
from pixelwise.runtime.atomic import atomic_write
from pixelwise.tuning.space import Dimension, Range, Value, with_values
from pixelwise.visualization.trials import plot_trials

TRIALS_FILE, PICTURE, BEST_PLAN = "trials.csv", "trials.png", "best-plan.yaml"

Outcome = Literal["complete", "pruned", "failed", "unfinished"]


@dataclass(frozen=True)
class TrialResult:
    """One training of a search.

    Attributes:
        number: its number, from 0. Trial 0 has the settings before the search, see `values_of`.
        path: its run directory.
        values: setting, or setting.parameter of a component → value.
        outcome: "complete", "pruned" (stopped early, because it was worse than the median), "failed", or "unfinished".
        miou: mean IoU on the validation images at their own size, in [0, 1]. None unless complete.
        seconds: duration of the training and its evaluation in seconds.
        fault: the error message of a failed trial, or "".
    """

    number: int
    path: Path
    values: Mapping[str, Value]
    outcome: Outcome
    miou: float | None = None
    seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True)
class Tuning:
    """The result of `tune`.

    Attributes:
        path: the directory of the search.
        config: the settings before the search.
        space: the settings that were searched, with their values.
        trials: all trials in order.
        val_images: number of validation images.
    """

    path: Path
    config: Config
    space: Mapping[str, Dimension]
    trials: tuple[TrialResult, ...]
    val_images: int

    def __repr__(self) -> str:
        """Return the directory, the number of trials, and the score and the values of the best one."""
        best = "no trial is complete" if self.best is None else f"best is trial {self.best.number}"
        if self.best is not None:
            values = ", ".join(f"{name}={value}" for name, value in self.best.values.items())
            best += f": mIoU {self.best.miou:.3f} with {values}" if values else f": mIoU {self.best.miou:.3f}"
        return f"Tuning({str(self.path)!r}, {len(self.trials)} trial{'s' * (len(self.trials) != 1)}, {best})"

    @property
    def ranking(self) -> list[TrialResult]:
        """The complete trials, the best first."""
        return sorted((t for t in self.trials if t.miou is not None), key=lambda t: (-(t.miou or 0.0), t.number))

    @property
    def best(self) -> TrialResult | None:
        """The trial with the highest mean IoU, or None if none is complete."""
        return next(iter(self.ranking), None)

    @property
    def best_config(self) -> Config:
        """The settings of the best trial, or those before the search if none is complete."""
        return self.config if self.best is None else with_values(self.config, self.best.values)

    def best_plan(self, data: AnySpec) -> Plan:
        """Return a plan with the settings of the best trial.

        It has the settings that were searched, and the others that differ from the defaults, without
        `MACHINE_SETTINGS`.

        Args:
            data: the format and the label map of the data.
        """
        defaults, config = Config().model_dump(mode="json"), self.best_config.model_dump(mode="json")
        kept = (name for name in config if name not in MACHINE_SETTINGS)
        settings = {name: config[name] for name in kept if config[name] != defaults[name]}
        reasons: dict[str, str] = {}
        if self.best is not None:
            changed = {name.partition(".")[0] for name in self.best.values}
            settings |= {name: config[name] for name in changed}
            text = f"trial {self.best.number} of {len(self.trials)}, val mIoU {self.best.miou:.3f}"
            reasons = {name: text if name in changed else "as before the search" for name in settings}
        return Plan(data, settings, reasons)

    def write(self, data: AnySpec) -> None:
        """Write the table, the plot and the plan of the best settings into the directory of the search.

        Without a complete trial, only the table is written.

        Args:
            data: the format and the label map of the data.
        """
        with atomic_write(self.path / TRIALS_FILE) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("trial", "outcome", "val_miou", "seconds", *self.space, "fault"))
            for trial in self.trials:
                values = [trial.values.get(name, "") for name in self.space]
                score = "" if trial.miou is None else trial.miou
                writer.writerow((trial.number, trial.outcome, score, round(trial.seconds, 1), *values, trial.fault))
        if self.best is None:
            return
        self.best_plan(data).write(self.path / BEST_PLAN)
        scores = [math.nan if trial.miou is None else trial.miou for trial in self.trials]
        columns = {name: [trial.values.get(name) for trial in self.trials] for name in self.space}
        log = {name for name, dimension in self.space.items() if isinstance(dimension, Range) and dimension.log}
        plot_trials(self.path / PICTURE, scores, columns, log)


def as_json(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Return a search space as JSON types."""
    return {
        name: {"low": dimension.low, "high": dimension.high, "log": dimension.log}
        if isinstance(dimension, Range)
        else {"values": list(dimension.values)}
        for name, dimension in space.items()
    }
