"""The directory of a training run: paths of its files, and functions to read and write them.

    config.yaml           all settings, and the preset that they are based on
    plan.yaml             the plan with its reasons, if there was one
    data.yaml             parameters for reading images and masks, used by `pixelwise evaluate` for other data
    metrics.csv           one row per epoch
    model.safetensors     the best model by validation mIoU
    model.json            parameters for building that model and preparing its input
    last/                 the state that a resumed training starts from
    history.png           losses and IoU by epoch
    architecture.png      the model with the shape at each stage
    augmentations.jpg     random versions of a few training images
    samples/epoch_000.png predictions of sample images before training; epoch_001.png: after epoch 1, and so on
    samples.gif           an animation of these images
    split.csv             the part of the training that each image belongs to
    evaluation-test.json  the result of `pixelwise evaluate`, with a page (.html) and a row per image (.csv)
    predictions/          masks and overlays of test images, written by `pixelwise demo`
    tensorboard/          metrics for TensorBoard
    loggers.json          identifiers of the run in MLflow, Weights & Biases or Trackio
    learning-curve/       trainings on fewer images, written by `measure_learning_curve`
    diverged/             the images of the step whose loss was infinite or NaN
    group.json            the metrics of each run, only in the directory of a group of runs, see `RunGroup`

No file is a pickle.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from pixelwise.config import Config, config_to_yaml, read_config
from pixelwise.data.joined_spec import AnySpec, read_any_spec
from pixelwise.errors import OutputExistsError, RunError
from pixelwise.models.model import SegmentationModel
from pixelwise.planning.plan import Plan
from pixelwise.runs.checkpoint import Checkpoint
from pixelwise.runs.hub_methods import HubMethods
from pixelwise.runs.metrics_file import Row, read_rows, summarize_history, write_rows
from pixelwise.runtime.atomic import atomic_write, is_temporary, remove_abandoned
from pixelwise.runtime.files import lock_file

_START_MARK = ".pixelwise-start"
"""Name of an empty file that is in a run directory until config.yaml is written."""

_START_FILES = ("data.yaml", "plan.yaml", "samples", f"{_START_MARK}.lock")
"""Names of files and folders that are created in a run directory before config.yaml. The last one is the lock that
`lock_file` uses on Windows."""


@dataclass(frozen=True)
class Run(HubMethods):
    """The directory and the settings of a training. `Run.open` opens an existing run.

    Attributes:
        path: the run directory.
        config: the settings of the training.
        preset: name of the preset that the settings are based on.
    """

    path: Path
    config: Config
    preset: str = "default"

    @staticmethod
    def exists(path: Path) -> bool:
        """Return True if a directory contains a run."""
        return (path / "config.yaml").is_file()

    @staticmethod
    def ensure_empty(path: Path) -> None:
        """Raise OutputExistsError if a new run cannot start at a path because a run or other files exist there.

        Leftovers of a process that was killed while it started a run are ignored.
        """
        if Run.exists(path):
            raise OutputExistsError(f"{path}: contains a run; set `resume` to continue it, or choose another `out`")
        if path.exists() and (not path.is_dir() or _has_other_files(path)):
            raise OutputExistsError(f"{path}: exists and is not an empty directory; choose another `out`")

    def start(self, spec: AnySpec | None = None, plan: Plan | None = None) -> None:
        """Create the directory with data.yaml, plan.yaml and config.yaml.

        config.yaml is written last, so a directory without it contains no run.

        Args:
            spec: the content of data.yaml, or None to write no such file.
            plan: the plan, or None to write no plan.yaml.

        Raises:
            OutputExistsError: The directory is not empty.
            RunError: The directory cannot be created, or another process is starting a run in it.
        """
        Run.ensure_empty(self.path)
        mark = self.path / _START_MARK
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            mark.touch()
            lock = lock_file(mark, exclusive=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be created ({error.strerror}); choose another `out`") from None
        if lock is None:
            raise self._in_use()
        with lock:
            if Run.exists(self.path):  # another process started a run since the check above
                mark.unlink(missing_ok=True)
                raise self._in_use()
            (self.path / "samples").mkdir(exist_ok=True)
            if spec is not None:
                self.write_dataset_spec(spec)
            if plan is not None:
                plan.write(self.plan_file)
            self.write_config()
            mark.unlink(missing_ok=True)

    def lock(self) -> BinaryIO:
        """Lock the run directory until the returned file is closed. Some file systems have no locks, see `lock_file`.

        Raises:
            RunError: Another process is training in this directory.
        """
        path = self.path / "config.yaml"
        lock = lock_file(path, exclusive=True)
        if lock is None:
            raise self._in_use()
        # On Windows another file is locked, which is not replaced.
        if sys.platform != "win32" and not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            lock.close()  # another process has just replaced the file
            raise self._in_use()
        return lock

    def renew_lock(self, lock: BinaryIO) -> BinaryIO:
        """Return a lock on config.yaml after this process has replaced the file.

        Args:
            lock: the result of `lock` for the replaced file. It is closed, unless it is returned.

        Raises:
            RunError: Another process has locked the new file.
        """
        if sys.platform == "win32":
            return lock
        with lock:
            return self.lock()

    def _in_use(self) -> RunError:
        return RunError(
            f"{self.path}: another process is training in this directory; wait for it, or choose another `out`"
        )

    def remove_leftovers(self) -> None:
        """Remove temporary files of killed processes. The caller must hold the lock from `lock`."""
        for folder in (self.path, self.path / "samples"):
            remove_abandoned(folder)
        (self.path / _START_MARK).unlink(missing_ok=True)
        Checkpoint.remove_leftovers(self.path / "last")

    @staticmethod
    def open(path: str | Path) -> "Run":
        """Open the run in a directory.

        Raises:
            RunError: The directory contains no run.
            ConfigError: config.yaml is damaged.
        """
        path = Path(path)
        if path.is_file():
            raise RunError(f"{path}: is a file, not a run directory; name the directory that pixelwise train wrote")
        if not Run.exists(path):
            raise RunError(f"{path}: not a run directory (no config.yaml); create one with pixelwise train")
        return Run(path, *read_config(path / "config.yaml"))

    def __repr__(self) -> str:
        """Return the directory, the encoder, the number of epochs and the best validation mIoU."""
        try:
            history = summarize_history(self.read_metrics())
        except RunError:  # metrics.csv is damaged
            history = "metrics.csv cannot be read"
        return f"Run({str(self.path)!r}, {self.config.encoder}, {history})"

    def _repr_html_(self) -> str:
        """Return a summary, the curves and the newest sample predictions, for a notebook."""
        from pixelwise.runs.run_html import run_html

        return run_html(self)

    def write_config(self) -> None:
        """Write all settings to config.yaml."""
        _write(self.path / "config.yaml", config_to_yaml(self.config, self.preset))

    def write_dataset_spec(self, spec: AnySpec) -> None:
        """Write data.yaml."""
        _write(self.path / "data.yaml", spec.to_yaml())

    def read_dataset_spec(self) -> AnySpec:
        """Read data.yaml. Raise RunError if it is missing or damaged."""
        return read_any_spec(self.path / "data.yaml")

    @property
    def plan_file(self) -> Path:
        """Path of plan.yaml."""
        return self.path / "plan.yaml"

    @property
    def history_image(self) -> Path:
        """Path of the plot of losses and IoU by epoch."""
        return self.path / "history.png"

    @property
    def architecture_image(self) -> Path:
        """Path of the diagram of the model."""
        return self.path / "architecture.png"

    @property
    def samples_animation(self) -> Path:
        """Path of the animation of the sample predictions."""
        return self.path / "samples.gif"

    @property
    def tensorboard_folder(self) -> Path:
        """Directory of the TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def predictions_folder(self) -> Path:
        """Directory of the predictions that `pixelwise demo` writes."""
        return self.path / "predictions"

    def sample_image(self, epoch: int) -> Path:
        """Return the path of the image with the sample predictions after an epoch. Epoch 0 means before training."""
        return self.path / "samples" / f"epoch_{epoch:03d}.png"

    def sample_images(self, epochs: int) -> list[Path]:
        """Return the existing sample images of epochs 0 to `epochs`, in order."""
        return [path for path in map(self.sample_image, range(epochs + 1)) if path.exists()]

    def lacks_animation(self, epochs: int) -> bool:
        """Return True if samples.gif is missing or older than a sample image. Return False without sample images.

        The animation is missing or older if the process was killed after the last epoch, before it was drawn.

        Args:
            epochs: number of epochs of the training.
        """
        images = self.sample_images(epochs)
        if not images:
            return False
        animation = self.samples_animation
        return not animation.exists() or animation.stat().st_mtime < max(image.stat().st_mtime for image in images)

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Replace metrics.csv, see `write_rows`.

        Args:
            rows: one row per epoch, in order.
        """
        write_rows(self.path, rows)

    def read_metrics(self) -> list[Row]:
        """Read metrics.csv, see `read_rows`.

        Raises:
            RunError: The file is damaged.
        """
        return read_rows(self.path)

    def save_best_model(
        self, model: SegmentationModel, metrics: Row, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        """Replace the best model of the run.

        Args:
            model: the model.
            metrics: the row of metrics.csv for the epoch of the weights.
            weights: earlier weights of the model, or None for its own.
        """
        model.save(self.path, metrics, weights)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in last/."""
        checkpoint.save(self.path / "last")

    def load_checkpoint(self) -> Checkpoint | None:
        """Read the checkpoint in last/. Return None if there is no checkpoint.

        Raises:
            RunError: The checkpoint cannot be read.
        """
        return Checkpoint.load(self.path / "last")


def _has_other_files(path: Path) -> bool:
    """Return True if a directory has files other than the leftovers of a killed start of a run."""
    names = {entry.name for entry in path.iterdir() if not is_temporary(entry)}
    return bool(names - {_START_MARK, *_START_FILES} if _START_MARK in names else names)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
