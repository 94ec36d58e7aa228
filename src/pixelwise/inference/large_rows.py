"""The rows of images that are too large to decode at once, and their rows at another size."""

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pixelwise.data.antialias import antialias_weights
from pixelwise.data.io.image_windows import open_windows
from pixelwise.data.io.record_windows import RecordWindows
from pixelwise.errors import DataError
from pixelwise.inference.image_rows import ImageRows
from pixelwise.inference.inputs import from_array
from pixelwise.models.config import ModelConfig

_MAX_RESIZED_BYTES = 64 << 20
"""Maximum size in bytes of one channel, as float32, of the rows that are resized at once."""


class FileRows:
    """The rows of an image file. Only the tiles or strips of these rows are decoded.

    Args:
        path: the file.
        config: the configuration of the model, for the conversion of pixels.

    Attributes:
        windows: the open file.

    Raises:
        DataError: The file cannot be read, or cannot be read by rows. The message names the file.
    """

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self.path, self._config = path, config
        # Successive ranges of rows overlap.
        self.windows = open_windows(path, keeps_tiles=True)
        self.height, self.width = self.windows.height, self.windows.width

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.windows.close()

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, see `ImageRows`.

        Raises:
            DataError: The rows are damaged, or the model cannot use them. The message names the file.
        """
        pixels = self.windows.read(range(start, stop), range(self.width))
        palette = self.windows.palette
        try:
            if palette is not None:
                return from_array(palette[pixels[..., 0]], self._config)
            masked = self.windows.masked(range(start, stop), range(self.width))
            return from_array(pixels, self._config, self.windows.nodata, masked)
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from None


class RecordRows:
    """The rows of the image of a record.

    Args:
        windows: the image and its mask.
    """

    def __init__(self, windows: RecordWindows) -> None:
        self._windows = windows
        self.height, self.width = windows.size

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, see `ImageRows`. Raises DataError."""
        return self._windows.read_image(range(start, stop), range(self.width))


class ScaledRows:
    """The rows of an image at another size, like those of `resize_image` up to rounding.

    Args:
        image: the image.
        size: height and width in pixels to which it is resized.
    """

    def __init__(self, image: ImageRows, size: tuple[int, int]) -> None:
        self.image, (self.height, self.width) = image, size

    def read(self, start: int, stop: int) -> Tensor:
        """Return the rows from start to stop, (channels, stop - start, width) uint8."""
        if (self.image.height, self.image.width) == (self.height, self.width):
            return torch.from_numpy(self.image.read(start, stop)).permute(2, 0, 1)
        first, weights = antialias_weights(self.image.height, self.height, start, stop)
        step = max(1, _MAX_RESIZED_BYTES // (max(self.image.width, self.width) * 4))
        total: Tensor | None = None
        for offset in range(0, weights.shape[1], step):
            part = torch.from_numpy(np.ascontiguousarray(weights[:, offset : offset + step]))
            pixels = torch.from_numpy(self.image.read(first + offset, first + offset + part.shape[1])).permute(2, 0, 1)
            resized = F.resize_image(
                pixels, [part.shape[1], self.width], InterpolationMode.BILINEAR, antialias=True
            ).float()
            product = torch.matmul(part, resized)
            total = product if total is None else total.add_(product)
        assert total is not None, "there is at least one row"
        return total.round_().clamp_(0, 255).to(torch.uint8)
