"""Callback that draws augmented training images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.mosaic import join_batch
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
        if state.epoch > 0 or not state.datasets:
            return
        if state.datasets[0].transform is None and not state.run.config.mosaic:
            return
        with warn_on_failure(FILE):
            images = state.datasets[0]
            count = min(IMAGES, len(images))
            indices = [number * len(images) // count for number in range(count)]
            versions = _versions(state, indices)
            classes, palette = state.model.config.task.display_classes(state.data.classes, state.data.palette)
            background = state.model.config.task.display_background(len(state.data.classes), state.data.background)
            config = state.run.config
            mosaics = f", mosaic {config.mosaic:g}" if config.mosaic else ""
            title = f"augmentation {_describe(config.augmentation)}{mosaics}"
            save_image(augmentation_grid(versions, classes, palette, title, background), state.run.path / FILE)


def _versions(state: TrainState, indices: Sequence[int]) -> list[list[_Pair]]:
    """Return the augmented versions of each of some training images with their masks, for display."""
    items = [state.datasets[0][index, VERSIONS * index + version] for index in indices for version in range(VERSIONS)]
    images, masks = (torch.stack(each) for each in tuple(zip(*items, strict=True))[:2])
    if state.run.config.mosaic:
        images, masks = join_batch(images, masks, state.run.config.mosaic, torch.Generator().manual_seed(0))
    pairs = [
        (to_display_image(_array(image.permute(1, 2, 0))), _to_display(state, _array(mask)))
        for image, mask in zip(images, masks, strict=True)
    ]
    return [pairs[start : start + VERSIONS] for start in range(0, len(pairs), VERSIONS)]


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
