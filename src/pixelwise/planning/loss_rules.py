"""Rules of a plan for the loss and the class weights."""

from pixelwise.config import Config
from pixelwise.data.analysis.class_stats import ClassStats
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.task import MULTILABEL
from pixelwise.losses import LOSSES
from pixelwise.planning.rule import Decision, RuleInput
from pixelwise.registry import name_of

RARE_FRACTION = 0.03
"""Fraction of the pixels below which a class is rare (docs/decisions.md)."""


def choose_loss(facts: RuleInput) -> Decision:
    """Choose the cross-entropy, with Dice if a class is rare or if a pixel can have several classes."""
    if facts.report.data.read_spec.task is MULTILABEL:
        return Decision("bce_dice", "a pixel can have several classes")
    present = _present_classes(facts.report)
    if not present:
        return Decision(Config().loss, "no training image has a class")
    reason = f"'{present[0].name}' has {present[0].train_fraction:.2%} of pixels"
    if present[0].train_fraction < RARE_FRACTION:
        return Decision("cross_entropy_dice", f"{reason}: Dice gives each class the same weight")
    return Decision("cross_entropy", f"no class is rare: {reason}")


def choose_class_weights(facts: RuleInput) -> Decision:
    """Choose class weights if a class is rare, a pixel has one class, and the loss does not balance the classes."""
    loss = name_of(facts.settings["loss"])
    if LOSSES[loss].traits.get("balances_classes"):
        return Decision("none", f"the loss {loss} gives each class the same weight")
    if facts.report.data.read_spec.task is MULTILABEL:
        return Decision("none", "each class has a mask of its own")
    present = _present_classes(facts.report)
    if not present or present[0].train_fraction >= RARE_FRACTION:
        return Decision("none", f"no class has less than {RARE_FRACTION:.0%} of pixels")
    rarest, commonest = present[0], present[-1]
    ratio = (commonest.train_fraction / rarest.train_fraction) ** 0.5
    return Decision("inverse_sqrt", f"a pixel of '{rarest.name}' weighs {ratio:.1f} times one of '{commonest.name}'")


def _present_classes(report: DatasetReport) -> list[ClassStats]:
    """Return the classes with pixels outside the test split, from the rarest to the most common."""
    return sorted((stats for stats in report.classes if stats.train_fraction), key=lambda stats: stats.train_fraction)
