"""The views of an image: the inputs of the network, and the computation of the image's logits from its outputs."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.input_size import View, mean_side, to_pair
from pixelwise.data.resize import Scale, resize_image, target_size
from pixelwise.errors import ConfigError
from pixelwise.inference.image_rows import ImageRows
from pixelwise.inference.large_rows import ScaledRows
from pixelwise.inference.tiling import BATCH_SIZE, TileGrid, Window, blend, blend_rows, crop_windows, windows_per_pass
from pixelwise.models.config import MAX_SCALE, ModelConfig

MAX_STRIP_BYTES = 128 << 20
"""Maximum size in bytes of the probabilities of a row of windows in a strip of a large image."""

Forward = Callable[[Tensor], Tensor]
"""A function of (N, channels, height, width) uint8. It returns logits (N, C, height, width) float32."""


class ImageView(Protocol):
    """A way to compute the logits of images."""

    @property
    def name(self) -> View:
        """The name of the view."""
        ...

    @property
    def scale(self) -> float | None:
        """Working pixels per image pixel, or None if they differ between images."""
        ...

    @property
    def size_name(self) -> str:
        """The size of the logits in words, for reports."""
        ...

    @property
    def has_fixed_size(self) -> bool:
        """True if the logits of all images have the same size."""
        ...

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the logits of an image of this size."""
        ...

    def logits(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the logits of images.

        Args:
            images: (H, W, channels) uint8 of any sizes.

        Returns:
            (C, h, w) float32 of each image, of the size that `working_size` returns.
        """
        ...

    def strips(self, width: int) -> int:
        """Return the number of vertical strips in which a large image is computed, to limit the memory.

        Args:
            width: width of the image in pixels.
        """
        ...

    def logit_rows(self, image: ImageRows, columns: range) -> Iterator[tuple[range, Tensor]]:
        """Yield the logits of a large image from top to bottom.

        Args:
            image: the image.
            columns: the columns of the logits to compute.

        Yields:
            The rows of the logits, and (C, rows, columns) float32. Together, they are the columns of `logits`, up to
            rounding.
        """
        ...


class WholeView:
    """Resize each image to the size of the model's input.

    Args:
        forward: the model.
        size: height and width of its input in pixels.
    """

    def __init__(self, forward: Forward, size: tuple[int, int]) -> None:
        self.name: View = "whole"
        self.scale = None
        self.forward, self.size = forward, size

    @property
    def size_name(self) -> str:
        """The size of the model's input, such as "128x128"."""
        return f"{self.size[0]}x{self.size[1]}"

    @property
    def has_fixed_size(self) -> bool:
        """True."""
        return True

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the model's input."""
        return self.size

    def logits(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the logits of images from one forward pass, see `ImageView`."""
        return list(self.forward(torch.stack([resize_image(image, self.size) for image in images])))

    def strips(self, width: int) -> int:
        """Return 1, because the logits have the size of the model's input."""
        return 1

    def logit_rows(self, image: ImageRows, columns: range) -> Iterator[tuple[range, Tensor]]:
        """Yield all logits at once, see `ImageView`."""
        pixels = ScaledRows(image, self.size).read(0, self.size[0])
        yield range(self.size[0]), self.forward(pixels[None])[0, :, :, columns.start : columns.stop]


class TilesView:
    """Resize each image by a scale, predict overlapping windows of it, and blend their probabilities.

    The sides of a window are those of the model, or `ModelConfig.window_factor` times as long if the image is longer
    than that. An image that is not larger than a window has one window, whose pixels outside the image are mirrored.

    Args:
        forward: the model.
        config: the configuration of the model.
        scale: working pixels per image pixel.
    """

    def __init__(self, forward: Forward, config: ModelConfig, scale: float) -> None:
        self.name: View = "tiles"
        self.forward, self.scale = forward, scale
        self.size, self.factor = to_pair(config.size), config.window_factor
        self.task, self.temperature, self.classes = config.task, config.temperature, len(config.classes)

    @property
    def size_name(self) -> str:
        """The scale, such as "scale 0.5"."""
        return f"scale {self.scale:g}"

    @property
    def has_fixed_size(self) -> bool:
        """False."""
        return False

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of an image of this size after scaling."""
        return target_size(Scale(self.scale), height, width)

    def logits(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the logits of images, see `ImageView`. Images of one window share forward passes."""
        resized = [self._resize(image) for image in images]
        grids = [self._grid(image.shape[1], image.shape[2]) for image in resized]
        single = [number for number, grid in enumerate(grids) if grid.count == 1]
        results: dict[int, Tensor] = {}
        for start in range(0, len(single), BATCH_SIZE):
            numbers = single[start : start + BATCH_SIZE]
            windows = torch.cat([crop_windows(resized[number], grids[number].windows, self.size) for number in numbers])
            for number, logits in zip(numbers, self.forward(windows), strict=True):
                results[number] = crop_to_image(logits, grids[number])
        for number, grid in enumerate(grids):
            if number not in results:
                predict = self._predict(resized[number], grid.size)
                results[number] = self.to_logits(
                    blend(grid, predict, batch_size=windows_per_pass(grid.size, self.size))
                )
        return [results[number] for number in range(len(images))]

    def strips(self, width: int) -> int:
        """Return the number of strips for which a row of windows takes at most about `MAX_STRIP_BYTES`."""
        row = 4 * self.classes * self.size[0] * self.factor * self.working_size(1, width)[1]
        return max(1, math.ceil(row / MAX_STRIP_BYTES))

    def logit_rows(self, image: ImageRows, columns: range) -> Iterator[tuple[range, Tensor]]:
        """Yield the logits row of windows by row of windows, see `ImageView`."""
        height, width = self.working_size(image.height, image.width)
        scaled, grid = ScaledRows(image, (height, width)), self._grid(height, width)
        band: tuple[int, Tensor] | None = None

        def predict(windows: Sequence[Window]) -> Tensor:
            nonlocal band
            top = windows[0].top
            first = max(top, 0)
            if band is None or band[0] != top:
                band = top, scaled.read(first, min(top + grid.size[0], height))
            moved = [Window(top - first, left) for _, left in windows]
            return self.probabilities(crop_windows(band[1], moved, grid.size))

        for rows, probabilities in blend_rows(
            grid, predict, columns, batch_size=windows_per_pass(grid.size, self.size)
        ):
            yield rows, self.to_logits(probabilities)

    def probabilities(self, windows: Tensor) -> Tensor:
        """Return the probabilities of windows.

        Args:
            windows: (N, channels, height, width) uint8.

        Returns:
            (N, C, height, width) float32 in [0, 1], see `Task.activate`.
        """
        return self.task.activate(self.forward(windows) / self.temperature)

    def to_logits(self, probabilities: Tensor) -> Tensor:
        """Return logits, before the division by the temperature, that have the given probabilities."""
        return self.task.inverse_activate(probabilities).mul_(self.temperature)

    def _grid(self, height: int, width: int) -> TileGrid:
        """Return the windows of an image of this height and width in working pixels."""

        def window_length(length: int, side: int) -> int:
            return self.factor * side if length > self.factor * side else side

        size = window_length(height, self.size[0]), window_length(width, self.size[1])
        return TileGrid(height, width, size)

    def _predict(self, image: Tensor, size: tuple[int, int]) -> Callable[[Sequence[Window]], Tensor]:
        return lambda windows: self.probabilities(crop_windows(image, windows, size))

    def _resize(self, image: np.ndarray) -> Tensor:
        size = self.working_size(*image.shape[:2])
        return torch.from_numpy(image).permute(2, 0, 1) if size == image.shape[:2] else resize_image(image, size)


def make_view(forward: Forward, config: ModelConfig, view: View | None, scale: float | None) -> ImageView:
    """Return a view for a model: that of its training, or another one.

    Args:
        forward: the model.
        config: its configuration.
        view: "whole" or "tiles", or None for the view of the training.
        scale: working pixels per image pixel for the view "tiles". None for `training_scale`.

    Raises:
        ConfigError: The view is unknown, the scale is out of range, or it is set for the view "whole".
    """
    view = view or config.view
    if view not in get_args(View):
        raise ConfigError(f"`view`: '{view}' is unknown; choose from: {', '.join(get_args(View))}")
    if view == "whole":
        if scale is not None:
            raise ConfigError("`scale` has no effect on whole images; set `view` to tiles, or leave it out")
        return WholeView(forward, to_pair(config.size))
    if scale is not None and not 0 < scale <= MAX_SCALE:
        raise ConfigError(f"`scale` is {scale:g}; it must be greater than 0 and at most {MAX_SCALE:g}")
    return TilesView(forward, config, training_scale(config) if scale is None else scale)


def training_scale(config: ModelConfig) -> float:
    """Return the scale of the training: pixels of the network's input per pixel of the training images.

    For a model of whole images, it is derived from the size of the training images. 1 if this size is not known.
    """
    if config.view == "tiles":
        return config.scale
    return min(mean_side(config.size) / config.object_scale.image_side, MAX_SCALE) if config.object_scale else 1.0


def crop_to_image(values: Tensor, grid: TileGrid) -> Tensor:
    """Return the part of a window that is in the image, for the grid of an image that is not larger than a window.

    Args:
        values: (C, height, width) of the window.
        grid: a grid of one window.

    Returns:
        (C, H, W), a view of the same memory.
    """
    top, left = grid.windows[0]
    return values[:, -top : grid.height - top, -left : grid.width - left]
