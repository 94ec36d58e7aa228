"""A group of runs on the same data set: the folds of a cross-validation, or trainings with different random seeds.

    group.json    the kind of the group, and the name and the metrics of each run
    config.yaml   the settings that the runs share
    data.yaml, plan.yaml
    fold-1/ …     the runs

`Predictor.load` loads the models of a group as an ensemble.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.data.task import Task, get_task
from pixelwise.errors import RunError, first_line
from pixelwise.metrics.confusion import Metrics
from pixelwise.runs.spread import Spread
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.parsing import read_json

GROUP_FILE = "group.json"

GroupKind = Literal["folds", "seeds"]

_SHOWN_RUNS = 10
"""Maximum number of runs with a column of their own in the table for a notebook."""


class Member(BaseModel):
    """One run of a group.

    Attributes:
        name: name of the run's directory inside the group.
        train_images: number of training images.
        val_images: number of validation images, which the run did not train on.
        metrics: metrics of the best model on the validation images, as `Metrics.to_dict` returns them. None until the
            run is complete.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    train_images: int
    val_images: int
    metrics: dict[str, Any] | None = None


class _GroupFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: GroupKind
    task: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class RunGroup:
    """A group of runs.

    Attributes:
        path: directory of the group.
        kind: "folds" for a cross-validation, or "seeds" for trainings that differ in their random seed.
        task: the task of the data.
        members: the runs in order.
    """

    path: Path
    kind: GroupKind
    task: Task
    members: tuple[Member, ...]

    @staticmethod
    def exists(path: Path) -> bool:
        """Return True if a directory contains a group."""
        return (path / GROUP_FILE).is_file()

    @staticmethod
    def open(path: str | Path) -> "RunGroup":
        """Read the group in a directory.

        Raises:
            RunError: There is no group, or its file is damaged.
        """
        file = Path(path) / GROUP_FILE
        try:
            content = _GroupFile.model_validate(read_json(file))
            return RunGroup(Path(path), content.kind, get_task(content.task), content.members)
        except FileNotFoundError:
            raise RunError(f"{path}: not a group of runs (no {GROUP_FILE})") from None
        except (OSError, ValueError, ValidationError) as error:
            raise RunError(f"{file}: cannot be read ({first_line(error)}); restore it from a copy") from None

    def write(self) -> None:
        """Replace group.json."""
        content = _GroupFile(kind=self.kind, task=self.task.name, members=self.members)
        with atomic_write(self.path / GROUP_FILE) as part:
            part.write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def with_metrics(self, name: str, metrics: Metrics) -> "RunGroup":
        """Return the group with the metrics of one run."""
        members = tuple(
            member.model_copy(update={"metrics": metrics.to_dict()}) if member.name == name else member
            for member in self.members
        )
        return replace(self, members=members)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The directories of the runs."""
        return tuple(self.path / member.name for member in self.members)

    @property
    def is_complete(self) -> bool:
        """True if all runs have metrics."""
        return all(member.metrics is not None for member in self.members)

    @property
    def mean_iou(self) -> Spread:
        """The spread of the mean IoU over the runs, each on its own validation images."""
        return Spread.of([member.metrics["miou"] for member in self.members if member.metrics is not None])

    @property
    def class_iou(self) -> dict[str, Spread]:
        """The spread of the IoU of each class."""
        tables = [member.metrics["classes"] for member in self.members if member.metrics is not None]
        return {name: Spread.of([table[name]["iou"] for table in tables]) for name in (tables[0] if tables else ())}

    @property
    def pooled(self) -> Metrics | None:
        """The metrics of all images together, each predicted by the run that did not train on it.

        None unless the group is a complete cross-validation.
        """
        if self.kind != "folds" or not self.is_complete:
            return None
        tables = [member.metrics for member in self.members if member.metrics is not None]
        confusion = torch.stack([torch.tensor(table["confusion"]) for table in tables]).sum(0)
        images, first = sum(table["images"] for table in tables), tables[0]
        return Metrics.from_confusion(confusion, tuple(first["classes"]), self.task, images, first["resolution"])

    def __repr__(self) -> str:
        """Return the directory, the number of complete runs and their mean IoU."""
        complete = sum(member.metrics is not None for member in self.members)
        return f"RunGroup({str(self.path)!r}, {complete} of {len(self.members)} {self.kind}, mIoU {self.mean_iou})"

    def _repr_html_(self) -> str:
        """Return the IoU of each class and run, with mean and standard deviation, as an HTML table for a notebook."""
        from pixelwise.visualization import html

        complete = [member for member in self.members if member.metrics is not None]
        title = f"<b>{html.text(self.path)}</b>: {len(complete)} of {len(self.members)} {self.kind} are complete"
        if not complete:
            return html.block(html.paragraph(title))
        pooled, shown = self.pooled, complete[:_SHOWN_RUNS]
        more = len(complete) - len(shown)
        headings = ["IoU", "mean ± standard deviation", *(["all images"] if pooled else [])]
        headings += [member.name for member in shown] + ([f"and {more} more"] if more else [])

        def row(name: str, spread: Spread, values: Sequence[float | None]) -> list[str]:
            return [name, str(spread), *("–" if value is None else f"{value:.3f}" for value in values)]

        rows = []
        for name, spread in self.class_iou.items():
            values = [pooled.classes[name].iou] if pooled else []
            values += [member.metrics["classes"][name]["iou"] for member in shown if member.metrics is not None]
            rows.append(row(html.text(name), spread, values))
        values = [pooled.mean_iou] if pooled else []
        values += [member.metrics["miou"] for member in shown if member.metrics is not None]
        rows.append([f"<b>{cell}</b>" for cell in row("mean", self.mean_iou, values)])
        return html.block(html.paragraph(title), html.table(headings, rows))
