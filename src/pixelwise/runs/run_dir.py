"""The run directory: all of its files are read and written here.

    config.yaml           every setting, and the preset they came from
    plan.yaml             the plan with its reasons, if there was one
    data.yaml             how images and masks were read; `pixelwise evaluate` reads other data the same way
    metrics.csv           one row per epoch
    model.safetensors     the best model by validation mIoU
    model.json            how to build that model and prepare its input
    last/                 the state that a resumed training starts from
    history.png           losses and IoU by epoch
    architecture.png      the model with the shape at each stage
    samples/epoch_000.png predictions before training and after each epoch
    samples.gif           the same as an animation
    evaluation-test.json  the result of `pixelwise evaluate`, one file per evaluation
    predictions/          masks and overlays of test images, written by `pixelwise demo`
    tensorboard/          metrics for TensorBoard

No file is a pickle.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pixelwise.config import Config, config_to_yaml, read_config
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import OutputExistsError, RunError
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.checkpoint import Checkpoint
from pixelwise.runtime.files import atomic_write, lock_file, next_free_path

Row = dict[str, float | None]
"""A row of metrics.csv. None is a value that could not be measured."""


@dataclass(frozen=True)
class Run:
    """The directory and the settings of a training. `Run.open` opens an existing one.

    Attributes:
        path: the run directory.
        config: its settings.
        preset: the preset that the settings came from.
    """

    path: Path
    config: Config
    preset: str = "default"

    @staticmethod
    def ensure_empty(path: Path) -> None:
        """Raise OutputExistsError if a new run cannot start in a directory because something is there."""
        if (path / "config.yaml").exists():
            raise OutputExistsError(f"{path}: contains a run; set `resume` to continue it, or choose another `out`")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputExistsError(f"{path}: exists and is not an empty directory; choose another `out`")

    def start(self) -> None:
        """Create the directory and write config.yaml."""
        Run.ensure_empty(self.path)
        try:
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be created ({error.strerror}); choose another `out`") from None
        self.write_config()

    def lock(self) -> BinaryIO:
        """Lock the run directory until the returned file is closed.

        Raises:
            RunError: Another process trains in this directory.
        """
        lock = lock_file(self.path / "config.yaml", exclusive=True)
        if lock is None:
            raise RunError(
                f"{self.path}: another process is training in this directory; wait for it, or choose another `out`"
            )
        return lock

    @staticmethod
    def open(path: str | Path) -> "Run":
        """Open the run in a directory; raise RunError if there is none."""
        path = Path(path)
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path}: not a run directory (no config.yaml); create one with pixelwise train")
        return Run(path, *read_config(path / "config.yaml"))

    def write_config(self) -> None:
        """Write all settings to config.yaml."""
        _write(self.path / "config.yaml", config_to_yaml(self.config, self.preset))

    def write_dataset_spec(self, spec: DatasetSpec) -> None:
        """Write data.yaml."""
        _write(self.path / "data.yaml", spec.to_yaml())

    def read_dataset_spec(self) -> DatasetSpec:
        """Read data.yaml; raise RunError if it is missing or broken."""
        return DatasetSpec.read(self.path / "data.yaml")

    @property
    def plan_file(self) -> Path:
        """Path of the plan."""
        return self.path / "plan.yaml"

    @property
    def history_image(self) -> Path:
        """Path of the learning curves."""
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
        """Directory of predictions that belong to the run, such as the demo's."""
        return self.path / "predictions"

    def sample_image(self, epoch: int) -> Path:
        """Return the path of the sample predictions after an epoch. Epoch 0 is before training."""
        return self.path / "samples" / f"epoch_{epoch:03d}.png"

    def sample_images(self, epochs: int) -> list[Path]:
        """Return the existing sample images of epochs 0 to `epochs`, in order."""
        return [path for path in map(self.sample_image, range(epochs + 1)) if path.exists()]

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Replace metrics.csv. If the process is killed, the old or the new file remains."""
        if rows:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(rows[0])
            writer.writerows([_format_cell(value) for value in row.values()] for row in rows)
            _write(self.path / "metrics.csv", text.getvalue())

    def read_metrics(self) -> list[Row]:
        """Read the rows of metrics.csv, one per epoch. Return an empty list before the end of the first epoch."""
        try:
            with (self.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
        except FileNotFoundError:
            return []

    def write_evaluation(self, split: str, text: str) -> Path:
        """Write an evaluation's JSON to a new file beside the earlier ones, and return its path."""
        path = next_free_path(self.path / f"evaluation-{split}.json")
        _write(path, text)
        return path

    def save_best_model(self, model: SegmentationModel, metrics: Row) -> None:
        """Save the run's best model, with its epoch's row of metrics."""
        model.save(self.path, metrics)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in last/."""
        checkpoint.save(self.path / "last")

    def load_checkpoint(self) -> Checkpoint | None:
        """Read the checkpoint in last/. Return None before the end of the first epoch."""
        return Checkpoint.load(self.path / "last")


def _format_cell(value: float | None) -> str:
    """Return a number with all of its digits: a resumed run compares epochs by the values in the file."""
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else repr(float(value))


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
