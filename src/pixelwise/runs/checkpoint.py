"""The state of a training after an epoch. It is stored in the folder `last/` of a run directory.

last/model.safetensors      weights of the model
last/optimizer.safetensors  tensors of the optimizer, and random states
last/progress.json          epoch, step, seconds of training, and the parameter groups of the optimizer
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, FiniteFloat, StrictInt, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from pixelwise.errors import RunError, first_finding, first_line
from pixelwise.models.tensor_files import read_tensors, write_tensors
from pixelwise.models.version1 import translate_tensor_names
from pixelwise.runtime.files import write_errors
from pixelwise.runtime.parsing import read_json


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        epoch: number of completed epochs.
        step: number of completed optimizer steps.
        train_seconds: seconds spent in training steps, without validation.
        model: the model's state_dict().
        optimizer: the optimizer's state_dict().
        rng: torch's random states by device type, see `rng_states`.
    """

    epoch: int
    step: int
    train_seconds: float
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]

    def compact(self) -> "Checkpoint":
        """Return the checkpoint of a completed training, which needs less space.

        The weights of convolutions and of linear layers have 16 bits, and the moments of the optimizer are left out.
        With more epochs, a training continues from these weights.
        """
        model = {
            name: value.half() if value.is_floating_point() and value.ndim > 1 else value
            for name, value in self.model.items()
        }
        return replace(self, model=model, optimizer=dict(self.optimizer) | {"state": {}})

    def copy(self) -> "Checkpoint":
        """Return a copy in the memory of the CPU, which later steps of the training do not change."""
        state = {
            index: {name: _copy(value) for name, value in values.items()}
            for index, values in self.optimizer["state"].items()
        }
        groups = [dict(group) for group in self.optimizer["param_groups"]]
        model = {name: _copy(value) for name, value in self.model.items()}
        return replace(self, model=model, optimizer=dict(self.optimizer) | {"state": state, "param_groups": groups})

    @property
    def size(self) -> int:
        """Number of bytes of the tensors of the model and of the optimizer."""
        _, tensors = _flatten(self.optimizer)
        return sum(tensor.nbytes for tensor in (*self.model.values(), *tensors.values()))

    @property
    def is_compact(self) -> bool:
        """True if the training was complete, see `compact`."""
        return not self.optimizer["state"]

    def save(self, path: Path) -> None:
        """Write the checkpoint and replace an earlier one.

        If the process is killed, either the old or the new checkpoint remains.

        Args:
            path: the directory of the checkpoint.

        Raises:
            OutputError: The checkpoint cannot be written. The old checkpoint remains.
        """
        part, old = _part_and_old(path)
        with write_errors(path):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                self._write(part)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)  # frees space on a full disk
                raise
            # If `path` is missing, `old` may be the only checkpoint: an earlier save was killed between the renames.
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.rename(old)
            part.rename(path)
            shutil.rmtree(old, ignore_errors=True)

    def _write(self, folder: Path) -> None:
        scalars, tensors = _flatten(self.optimizer)
        tensors |= {f"rng.{device}": state for device, state in self.rng.items()}
        write_tensors(self.model, folder / "model.safetensors")
        write_tensors(tensors, folder / "optimizer.safetensors")
        progress = {
            "epoch": self.epoch,
            "step": self.step,
            "train_seconds": self.train_seconds,
            "optimizer": scalars,
        }
        (folder / "progress.json").write_text(json.dumps(progress), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> "Checkpoint | None":
        """Read the checkpoint in a directory. Return None if there is no checkpoint.

        Raises:
            RunError: The checkpoint cannot be read.
        """
        if not path.exists():  # a save was killed between the two renames
            path = _part_and_old(path)[1]
        if not path.exists():
            return None
        try:
            progress = _Progress.model_validate(read_json(path / "progress.json"))
            tensors = read_tensors(path / "optimizer.safetensors")
            checkpoint = Checkpoint(
                epoch=progress.epoch,
                step=progress.step,
                train_seconds=progress.train_seconds,
                model=translate_tensor_names(read_tensors(path / "model.safetensors")),
                optimizer=_unflatten(progress.optimizer.model_dump(), tensors),
                rng={name.removeprefix("rng."): value for name, value in tensors.items() if name.startswith("rng.")},
            )
            if "cpu" not in checkpoint.rng:
                raise ValueError("no random state")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(f"{path}: cannot be read ({_reason(error)}); this run cannot be resumed") from None
        return checkpoint

    @staticmethod
    def remove_leftovers(path: Path) -> None:
        """Remove the temporary directories that a killed `save` left beside the checkpoint.

        The old checkpoint is kept if it is the only one.
        """
        part, old = _part_and_old(path)
        shutil.rmtree(part, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


class _Optimizer(BaseModel):
    param_groups: Annotated[list[dict[str, Any]], Field(min_length=1)]


class _Progress(BaseModel):
    """The content of progress.json."""

    epoch: Annotated[StrictInt, Field(ge=1)]
    step: Annotated[StrictInt, Field(ge=0, le=2**53)]
    train_seconds: Annotated[FiniteFloat, Field(ge=0)]
    optimizer: _Optimizer


def _part_and_old(path: Path) -> tuple[Path, Path]:
    """Return the path at which `save` writes the new checkpoint, and the path to which it moves the old one."""
    return path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.old")


def _reason(error: Exception) -> str:
    return f"progress.json: {first_finding(error)}" if isinstance(error, ValidationError) else first_line(error)


def _copy(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def rng_states() -> dict[str, Tensor]:
    """Return torch's random states of the CPU and, if available, the current GPU, as uint8 tensors by device type."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_states(states: Mapping[str, Tensor]) -> None:
    """Restore the random states that `rng_states` returned. The state of a GPU is ignored if there is no GPU."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _flatten(optimizer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Split an optimizer's state_dict into the parameter groups for JSON and the tensors for safetensors."""
    tensors = {
        f"state.{index}.{name}": value
        for index, state in optimizer["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    return {"param_groups": optimizer["param_groups"]}, tensors


def _unflatten(scalars: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Join the two parts that `_flatten` returned to an optimizer's state_dict."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("state."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": scalars["param_groups"]}
