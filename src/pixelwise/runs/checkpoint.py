"""TODO: module."""

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
from pixelwise.config import Config
from pixelwise.errors import RunError
from pixelwise.runtime.files import next_free_path, lock_file, atomic_write
from pixelwise.data.spec import DatasetSpec
from pixelwise.models.model import SegmentationModel


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands after an epoch: `model` and `optimizer` as their state_dict(), `rng` by device type."""

    epoch: int
    step: int
    train_seconds: float
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]


def rng_states() -> dict[str, Tensor]:
    """torch's random states by device type, each a uint8 tensor."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_states(states: Mapping[str, Tensor]) -> None:
    """Go on with the random states that `rng_states` gave."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])

