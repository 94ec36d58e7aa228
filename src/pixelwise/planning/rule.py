"""The types of the rules of a plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pixelwise.data.analysis.inspection import DatasetReport


class Decision(NamedTuple):
    """The value of a setting and the reason for it."""

    value: Any
    reason: str


@dataclass(frozen=True)
class RuleInput:
    """Input of a rule.

    Attributes:
        report: the result of `inspect` for the data set.
        train_count: number of training images, without the images used for validation.
        settings: the settings that the user gave, and those that earlier rules chose.
        given: the names of the settings that the user gave.
    """

    report: DatasetReport
    train_count: int
    settings: Mapping[str, Any]
    given: frozenset[str] = frozenset()


Rule = Callable[[RuleInput], Decision | None]
"""A function that chooses one setting. It returns None if the setting does not apply to the data set."""
