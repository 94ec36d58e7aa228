"""Tests of a group of runs in a notebook: a table with the mean and the spread of each class."""

from pathlib import Path

import torch

from pixelwise.data.task import MULTICLASS
from pixelwise.metrics.confusion import Metrics
from pixelwise.runs.group import GroupKind, Member, RunGroup


def make_group(kind: GroupKind, *confusions: list[list[int]] | None) -> RunGroup:
    """Return a group with one run for each confusion matrix. None stands for a run that is not complete."""
    members = []
    for number, confusion in enumerate(confusions, start=1):
        metrics = None
        if confusion is not None:
            classes = ["<b>pet", "background"]
            metrics = Metrics.from_confusion(torch.tensor(confusion), classes, MULTICLASS, 3, "original").to_dict()
        members.append(Member(name=f"run-{number}", train_images=6, val_images=3, metrics=metrics))
    return RunGroup(Path("runs/pets"), kind, MULTICLASS, tuple(members))


def test_a_notebook_shows_the_iou_of_each_class_and_run() -> None:
    shown = make_group("seeds", [[6, 2], [2, 10]], [[3, 1], [0, 4]])._repr_html_()
    assert "\n" not in shown and "<b>pet" not in shown and "&lt;b&gt;pet" in shown
    assert "runs/pets</b>: 2 of 2 seeds are complete" in shown
    for cell in ("run-1", "run-2", "0.675 ± 0.106", "0.600", "0.750", "0.657", "0.775", "0.716 ± 0.083"):
        assert cell in shown, cell
    assert "all images" not in shown, "the validation images of all seeds are the same"


def test_the_folds_of_a_cross_validation_have_a_column_of_all_images() -> None:
    complete = make_group("folds", [[6, 2], [2, 10]], [[3, 1], [0, 4]])
    assert complete.pooled is not None
    shown = complete._repr_html_()
    assert "all images" in shown and f"{complete.pooled.mean_iou:.3f}" in shown


def test_a_group_that_is_not_complete_shows_the_runs_that_are() -> None:
    shown = make_group("folds", [[6, 2], [2, 10]], None)._repr_html_()
    assert "1 of 2 folds are complete" in shown and "run-1" in shown
    assert "run-2" not in shown and "all images" not in shown and "0.600" in shown
    assert "0 of 1 folds are complete" in make_group("folds", None)._repr_html_()


def test_a_large_group_shows_ten_runs() -> None:
    shown = make_group("seeds", *[[[6, 2], [2, 10]]] * 12)._repr_html_()
    assert "run-10" in shown and "run-11" not in shown and "and 2 more" in shown
