"""`pixelwise train --folds` and `--seeds`: train a group of runs, and print its scores."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex
from pixelwise.errors import ConfigError, printable
from pixelwise.planning.plan import Plan
from pixelwise.reporting.tables import table_console
from pixelwise.runs.group import GroupKind, RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.training.learning_curve import FRACTIONS
from pixelwise.training.repeats import train_folds, train_seeds


@dataclass(frozen=True)
class Repeats:
    """The flags for several trainings. At most one of them is given.

    Attributes:
        folds: number of folds, or None.
        seeds: number of random seeds, or None.
        learning_curve: True for a learning curve after the training.

    Raises:
        ConfigError: Two of the flags are given.
    """

    folds: int | None = None
    seeds: int | None = None
    learning_curve: bool = False

    def __post_init__(self) -> None:
        if sum((self.folds is not None, self.seeds is not None, self.learning_curve)) > 1:
            raise ConfigError("--folds, --seeds and --learning-curve exclude each other; train one after the other")

    def group_size(self, resumed: Path | None) -> tuple[GroupKind, int] | None:
        """Return the kind and the number of runs of the group to train, or None for a single run.

        Args:
            resumed: the directory that is continued, or None. If no flag is given and it contains a group, the result
                is the kind and the number of runs of this group.
        """
        if self.folds is not None:
            return "folds", self.folds
        if self.seeds is not None:
            return "seeds", self.seeds
        if resumed is not None and RunGroup.exists(resumed):
            group = RunGroup.open(resumed)
            return group.kind, len(group.members)
        return None

    def count(self, group_size: tuple[GroupKind, int] | None) -> int:
        """Return the number of trainings. Each takes about as long as a single run.

        Args:
            group_size: the result of the method `group_size`.
        """
        if group_size is not None:
            return group_size[1]
        return 1 + len(FRACTIONS) if self.learning_curve else 1


def train_group(
    size: tuple[GroupKind, int],
    data: DatasetIndex,
    out: Path,
    config: Config,
    plan: Plan | None,
    preset: str | None,
    resume: bool,
) -> RunGroup:
    """Train the runs of a group.

    Args:
        size: the result of `Repeats.group_size`.
        data: the data set.
        out: the directory of the group.
        config: see `train`.
        plan: see `train`.
        preset: see `train`.
        resume: True to continue the group in `out`.

    Returns:
        The group with the metrics of each run.
    """
    kind, count = size
    train_all = train_folds if kind == "folds" else train_seeds
    return train_all(data, out, count, config, plan=plan, preset=preset, resume=resume, verbose=True)


def remaining_seconds(path: Path, epochs: int) -> float | None:
    """Estimate the time of a group from now on, in seconds. Return None if it has no complete epoch.

    Args:
        path: the directory of the group.
        epochs: number of epochs of each run.
    """
    done, left, seconds = 0, 0, 0.0
    group = RunGroup.open(path)
    for member, folder in zip(group.members, group.paths, strict=True):
        rows = Run.open(folder).read_metrics() if Run.exists(folder) else []
        done += len(rows)
        seconds += (rows[-1].get("seconds") or 0.0) if rows else 0.0
        left += max(epochs - len(rows), 0) if member.metrics is None else 0
    return seconds / done * left if seconds else None


def print_group(group: RunGroup) -> None:
    """Print the IoU of each run and class with its spread, the score of all images, and the next command."""
    table = Table(title=_title(group), title_justify="left")
    table.add_column("class")
    for member in group.members:
        table.add_column(Text(member.name), justify="right")
    table.add_column("mean ± sd", justify="right")
    metrics = [member.metrics for member in group.members if member.metrics is not None]
    for name, spread in group.class_iou.items():
        cells = [_cell(each["classes"][name]["iou"]) for each in metrics]
        table.add_row(Text(printable(name)), *cells, str(spread))
    table.add_section()
    table.add_row("mean IoU", *(_cell(each["miou"]) for each in metrics), str(group.mean_iou))
    table_console().print(table)
    pooled = group.pooled
    if pooled is not None and pooled.mean_iou is not None:
        print(f"all {pooled.image_count} images together: mIoU {pooled.mean_iou:.3f}")
    command = shlex.join(["pixelwise", "predict", str(group.path), "IMAGES"])
    print(printable(f"all models together: {command}"))


def _title(group: RunGroup) -> str:
    images = {member.val_images for member in group.members}
    count = f"{min(images)}" if len(images) == 1 else f"{min(images)} to {max(images)}"
    held_out = "held-out" if group.kind == "folds" else "validation"
    return f"{len(group.members)} {group.kind}: IoU on {count} {held_out} images each, at the images' own size"


def _cell(value: float | None) -> str:
    return "absent" if value is None else f"{value:.3f}"
