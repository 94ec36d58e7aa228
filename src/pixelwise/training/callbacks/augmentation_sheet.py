"""Callback that draws augmented training images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelwise.registry import name_of
from pixelwise.training.callbacks.base import Callback, warn_on_failure
from pixelwise.training.state import TrainState
from pixelwise.visualization import save_image, to_display_image
from pixelwise.visualization.augmentation_grid import augmentation_grid

IMAGES, VERSIONS = 4, 6
"""Maximum number of images in the drawing, and the number of versions of each."""

FILE = "augmentations.jpg"

_Pair = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class AugmentationSheet(Callback):
    """Draw augmentations.jpg when a training starts: a few training images, and random versions of each.

    Masks are drawn over the images. The versions have the augmentation of the training and fixed random seeds. Without
    an augmentation there is no drawing.
    """

    def on_train_start(self, state: TrainState) -> None:
        if state.epoch > 0 or not state.datasets or state.datasets[0].transform is None:
            return
        with warn_on_failure(FILE):
            images = state.datasets[0]
            count = min(IMAGES, len(images))
            indices = [number * len(images) // count for number in range(count)]
            versions = [list(_versions(state, index)) for index in indices]
            classes, palette = state.model.config.task.display_classes(state.data.classes, state.data.palette)
            background = state.model.config.task.display_background(len(state.data.classes), state.data.background)
            title = f"augmentation {_describe(state.run.config.augmentation)}"
            save_image(augmentation_grid(versions, classes, palette, title, background), state.run.path / FILE)


def _versions(state: TrainState, index: int) -> Iterator[_Pair]:
    """Yield augmented versions of a training image, each with its mask, for display."""
    for version in range(VERSIONS):
        image, mask, *_ = state.datasets[0][index, VERSIONS * index + version]
        yield to_display_image(_array(image.permute(1, 2, 0))), _to_display(state, _array(mask))


def _array(tensor: Tensor) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(tensor.numpy())


def _to_display(state: TrainState, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return state.model.config.task.to_display(state.data.read_spec.partial_labels.to_background(mask))


def _describe(spec: Any) -> str:
    """Return the name of an augmentation and its parameters.

    >>> _describe({"name": "crop", "rotate": 15, "quarter_turns": True})
    'crop (rotate 15, quarter_turns true)'
    """
    if isinstance(spec, str):
        return spec
    values = [f"{name} {str(value).lower()}" for name, value in spec.items() if name != "name"]
    return f"{name_of(spec)} ({', '.join(values)})"
