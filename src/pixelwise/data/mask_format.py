"""The values and the file mode of a data set's masks, to write predicted masks in the same format."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.palette import IGNORE_COLOR, pack_rgb, unpack_rgb

MaskMode = Literal["1", "L", "P", "I;16", "RGB", "LA"]

_IGNORE_RGB = int(pack_rgb(IGNORE_COLOR))


@dataclass(frozen=True)
class MaskFormat:
    """The mode and the values of the mask files of a data set.

    Attributes:
        mode: Pillow's mode of the files: "1" (0 and 255), "L", "P" (palette), "I;16", "RGB", or "LA" if the opacity has
            the class.
        values: the value of each class: a gray value, palette index or opacity, or 0xRRGGBB. For multi-label masks, the
            values of absent and present pixels.
        colors: for "P", the color (red, green, blue) of each value, each channel in [0, 255]. Else ().
        as_stored: True if the masks have the orientation of the stored pixels of their images, see `ReadSpec`.
    """

    mode: MaskMode
    values: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...] = ()
    as_stored: bool = False


@dataclass(frozen=True)
class ObjectScale:
    """The size of the training images and of the objects in them. Both are the square root of an area in pixels.

    Attributes:
        image_side: the median over the training images.
        object_side: the median over the objects of all classes but the background. An object is a connected region.
    """

    image_side: float
    object_side: float


def check_mask_format(mask_format: MaskFormat, count: int) -> None:
    """Check that a mask format has a different value for each class, and that its mode can store them.

    Args:
        mask_format: the format.
        count: number of classes. 2 for multi-label masks.

    Raises:
        ValueError: A value or a color is missing or out of range.
    """
    values, limit = mask_format.values, {"I;16": 0xFFFF, "RGB": 0xFFFFFF}.get(mask_format.mode, 0xFF)
    if len(values) != count or len(set(values)) < count:
        raise ValueError(f"mask_format has {len(set(values))} different values for {count} classes")
    if not all(0 <= value <= limit for value in values) or (mask_format.mode == "1" and not set(values) <= {0, 255}):
        raise ValueError(f"mask_format has values that masks of mode {mask_format.mode} cannot store")
    if mask_format.mode == "P" and len(mask_format.colors) != count:
        raise ValueError(f"mask_format has {len(mask_format.colors)} colors for {count} values")
    if not all(0 <= channel <= 255 for color in mask_format.colors for channel in color):
        raise ValueError("mask_format has colors outside 0..255")


def _ignore_value(mask_format: MaskFormat) -> int:
    """Return the value of pixels to ignore, see `encode_mask`."""
    if mask_format.mode == "1":
        return 0
    if mask_format.mode == "RGB" and _IGNORE_RGB not in mask_format.values:
        return _IGNORE_RGB
    highest = {"I;16": 0xFFFF, "RGB": 0xFFFFFF}.get(mask_format.mode, 0xFF)
    return next(value for value in range(highest, -1, -1) if value not in mask_format.values)


def encode_mask(mask: npt.NDArray[np.uint8], mask_format: MaskFormat) -> Image.Image:
    """Convert class indices to a mask image with the values of the data set.

    Pixels to ignore get the greatest value of 8 or 16 bits that no class has. In mode "RGB", they get
    `IGNORE_COLOR`. If a class has this color, they get the greatest color that no class has. In mode "1", they get 0,
    because there is no value without a class.

    Args:
        mask: (H, W) uint8, indices into `mask_format.values`, or 255 for "ignore".
        mask_format: the mode and the values.

    Returns:
        A PIL image of the mode.

    >>> encode_mask(np.array([[0, 1]], np.uint8), MaskFormat("L", (0, 255))).tobytes()
    b'\\x00\\xff'
    """
    mode, values = mask_format.mode, mask_format.values
    if mode in ("RGB", "I;16"):
        wide = np.full(256, _ignore_value(mask_format), np.int64)
        wide[: len(values)] = values
        return Image.fromarray(
            unpack_rgb(wide).astype(np.uint8)[mask] if mode == "RGB" else wide.astype(np.uint16)[mask]
        )
    table = np.full(256, _ignore_value(mask_format), np.uint8)
    table[: len(values)] = values
    image = Image.fromarray(table[mask])
    if mode == "P":
        colors = np.zeros((256, 3), np.uint8)
        colors[list(values)] = mask_format.colors
        # The palette has 256 entries. With fewer, Pillow would pack several pixels into a byte of the PNG file.
        image.putpalette(colors.tobytes())
    elif mode == "LA":
        image = Image.merge("LA", (Image.new("L", image.size), image))
    elif mode == "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    return image
