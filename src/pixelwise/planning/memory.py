"""The number of images of a training step that fit into memory."""

import math
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from pixelwise.config import Config
from pixelwise.data.input_size import InputSize, to_pair
from pixelwise.runtime.device import resolve_device

_BYTES_PER_PIXEL = 1500
"""Memory of a training step in bytes per pixel of a batch, with the default encoder and decoder. Measurements at 128 to
384 px gave 1,110 to 1,290 bytes."""


def step_bytes(size: InputSize) -> int:
    """Return the memory of a training step in bytes per image.

    Args:
        size: side of the images in pixels, or their height and width.

    >>> step_bytes(128)
    24576000
    """
    return _BYTES_PER_PIXEL * math.prod(to_pair(size))


def device_memory(settings: Mapping[str, Any]) -> tuple[int, float, str]:
    """Return the memory of the device in bytes, the fraction of it that a step may take, and the name of the memory.

    Args:
        settings: the settings of the training. `device` can be missing.
    """
    device = resolve_device(settings.get("device", Config().device))
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory, 0.6, "GPU memory"
    return psutil.virtual_memory().total, 0.25, "memory"


def max_batch(size: InputSize, settings: Mapping[str, Any]) -> int:
    """Return the number of images that fit into a training step.

    Args:
        size: side of the images in pixels, or their height and width.
        settings: see `device_memory`.
    """
    memory, usable, _ = device_memory(settings)
    return int(memory * usable / step_bytes(size))
