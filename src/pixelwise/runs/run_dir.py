"""The run folder: what is in it, read and written only here.

    config.yaml           every setting as resolved
    plan.yaml             the plan it came from, with its reasons, where there was one
    data.yaml             how the images and masks were read: what `pixelwise evaluate` reads others by
    metrics.csv           one row an epoch
    model.safetensors     the best model by validation mIoU, with
    model.json            all that is needed to build it again and to feed it
    last/                 where --resume goes on: weights, optimizer, random states
    history.png           losses and IoU by epoch
    architecture.png      the model, with the shape at each step
    samples/epoch_000.png what it predicts before training, and after each epoch
    samples.gif           the same, as one animation
    evaluation-test.json  what `pixelwise evaluate` found, one file an evaluation
    predictions/          masks and overlays of test images, where `pixelwise demo` made the run
    tensorboard/          the same figures for TensorBoard

Nothing here is a pickle.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from pixelwise.config import Config, read_config
from pixelwise.errors import RunError
from pixelwise.runtime.files import next_free_path, lock_file, atomic_write
from pixelwise.data.spec import DatasetSpec
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.checkpoint import Checkpoint


Row = dict[str, float | None]
"""A row of metrics.csv; None where there is nothing to measure."""


@dataclass(frozen=True)
class Run:
    """A training's folder and settings; `Run.open` finds one that is there."""

    path: Path
    config: Config
    preset: str = "default"

    @staticmethod
    def ensure_empty(folder: Path) -> None:
        """Raise RunError where a new run would land on something that is already there."""
        if (folder / "config.yaml").exists():
            raise RunError(f"{folder}: already holds a run; go on with it by --resume, or choose another --out")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder}: is already there and not empty; choose another --out")

    def start(self) -> None:
        """Make the folder and write config.yaml, as the first of a new run."""
        Run.ensure_empty(self.path)
        try:
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be made ({error.strerror}); choose another --out") from None
        self.write_config()

    def lock(self) -> BinaryIO:
        """Keep other trainings out of this run as long as what is returned is open; RunError where one is in it."""
        held = lock_file(self.path / "config.yaml", exclusive=True)
        if held is None:
            raise RunError(f"{self.path}: another process is training this run; let it end, or choose another --out")
        return held

    @staticmethod
    def open(folder: Path) -> "Run":
        """Open the run in a folder; RunError where there is none."""
        if not (folder / "config.yaml").is_file():
            raise RunError(f"{folder}: holds no run (no config.yaml); train one with pixelwise train --out {folder}")
        return Run(folder, *read_config(folder / "config.yaml"))

    def write_config(self) -> None:
        """Write every setting as config.yaml."""
        _write(self.path / "config.yaml", self.config.to_yaml(self.preset))

    def write_dataset_spec(self, manifest: DatasetSpec) -> None:
        """Write data.yaml: how the data set was read."""
        _write(self.path / "data.yaml", manifest.to_yaml())

    def read_dataset_spec(self) -> DatasetSpec:
        """What `write_manifest` wrote; RunError where it is missing or broken."""
        return DatasetSpec.read(self.path / "data.yaml")

    @property
    def plan_file(self) -> Path:
        """Where the plan goes."""
        return self.path / "plan.yaml"

    # Images and events: who draws them asks here where they go.

    @property
    def history_image(self) -> Path:
        """Where the loss curve goes."""
        return self.path / "history.png"

    @property
    def architecture_image(self) -> Path:
        """Where the image of the model goes."""
        return self.path / "architecture.png"

    @property
    def samples_animation(self) -> Path:
        """Where the animation of the model learning goes."""
        return self.path / "samples.gif"

    @property
    def tensorboard_folder(self) -> Path:
        """Where the events for TensorBoard go."""
        return self.path / "tensorboard"

    @property
    def predictions_folder(self) -> Path:
        """Where predictions that belong to the run go, such as the demo's."""
        return self.path / "predictions"

    def sample_image(self, epoch: int) -> Path:
        """Where the sample predictions after an epoch go; epoch 0 is before training."""
        return self.path / "samples" / f"epoch_{epoch:03d}.png"

    def sample_images(self, epochs: int) -> list[Path]:
        """The sample images that are there of epochs 0 to `epochs`, in order."""
        return [path for path in map(self.sample_image, range(epochs + 1)) if path.exists()]

    # Figures.

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Write metrics.csv whole: a killed run leaves the old one or the new one."""
        if rows:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(rows[0])
            writer.writerows([_cell(value) for value in row.values()] for row in rows)
            _write(self.path / "metrics.csv", text.getvalue())

    def read_metrics(self) -> list[Row]:
        """The rows of metrics.csv, one an epoch; none before the first epoch has ended."""
        try:
            with (self.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
        except FileNotFoundError:
            return []

    def write_evaluation(self, split: str, text: str) -> Path:
        """Write an evaluation's JSON beside the earlier ones, never over them, and say where."""
        path = next_free_path(self.path / f"evaluation-{split}.json")
        _write(path, text)
        return path

    # Models.

    def save_best_model(self, model: SegmentationModel, metrics: Row) -> None:
        """Keep this model as the run's best."""
        model.save(self.path, metrics)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace last/ in one step: a killed run finds the old one or the new one."""
        part, last, old = (self.path / name for name in ("last.part", "last", "last.old"))
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        scalars, tensors = _flatten(checkpoint.optimizer)
        tensors |= {f"rng.{device}": state for device, state in checkpoint.rng.items()}
        save_file({k: v.contiguous() for k, v in checkpoint.model.items()}, part / "model.safetensors")
        save_file({k: v.contiguous() for k, v in tensors.items()}, part / "optimizer.safetensors")
        progress = {
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "train_seconds": checkpoint.train_seconds,
            "optimizer": scalars,
        }
        (part / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
        if last.exists():  # if not, `old` is all there is: an earlier write was killed between the two renames
            shutil.rmtree(old, ignore_errors=True)
            last.rename(old)
        part.rename(last)
        shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> Checkpoint | None:
        """What `write_last` wrote; None where no epoch has ended yet."""
        last = self.path / "last"
        if not last.exists():  # killed between the two renames
            last = self.path / "last.old"
        if not last.exists():
            return None
        try:
            progress = json.loads((last / "progress.json").read_text(encoding="utf-8"))
            tensors = load_file(last / "optimizer.safetensors")
            return Checkpoint(
                epoch=progress["epoch"],
                step=progress["step"],
                train_seconds=progress["train_seconds"],
                model=load_file(last / "model.safetensors"),
                optimizer=_unflatten(progress["optimizer"], tensors),
                rng={name.removeprefix("rng."): t for name, t in tensors.items() if name.startswith("rng.")},
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(f"{last}: cannot be read ({error}); this run cannot be resumed") from None


def _cell(value: float | None) -> str:
    """A number in full: rounded, an epoch as good as the best so far would look better after a resume."""
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else repr(float(value))


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _flatten(optimizer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Split an optimizer's state_dict into what JSON holds and what safetensors holds."""
    tensors = {
        f"state.{index}.{name}": value
        for index, state in optimizer["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    return {"param_groups": optimizer["param_groups"]}, tensors


def _unflatten(scalars: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("state."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": scalars["param_groups"]}

