"""Draw masks in class colors, alone or over an image."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.palette import IGNORE_COLOR, IGNORE_INDEX, Palette

Pixels: TypeAlias = npt.NDArray[np.uint8]

_OUTLINE_SCALE = 1000
"""The outline becomes two pixels wider for each full 1000 pixels of the image's longer side."""

_BLENDED_PIXELS = 1 << 20
"""Number of pixels that are blended at a time. Each takes 18 bytes."""


def index_image(mask: Pixels, palette: Palette) -> Image.Image:
    """Convert a mask to a palette image whose pixel values are class indices. A PNG file stores these values.

    Args:
        mask: (H, W) uint8, values in [0, len(palette)) or 255 = ignore.
        palette: one (red, green, blue) in [0, 255] per class.

    Returns:
        A PIL image of mode "P". Ignored pixels have the color IGNORE_COLOR.

    Raises:
        ValueError: The mask has a wrong shape, dtype or value.

    >>> from pixelwise.palette import default_palette
    >>> np.array(index_image(np.array([[0, 1, 255]], np.uint8), default_palette(2))).tolist()
    [[0, 1, 255]]
    """
    check_mask(mask, palette)
    image = Image.fromarray(np.ascontiguousarray(mask))
    # The palette always has 256 entries. With fewer, Pillow would pack several pixels into a byte of the PNG file, and
    # the value 255 would have no color.
    image.putpalette(_color_table(palette).tobytes())
    return image


def color_mask(mask: Pixels, palette: Palette) -> Pixels:
    """Convert a mask to an RGB image with each pixel in the color of its class.

    Args:
        mask: (H, W) uint8, values in [0, len(palette)) or 255 = ignore.
        palette: one (red, green, blue) in [0, 255] per class.

    Returns:
        (H, W, 3) uint8 RGB. Ignored pixels have the color IGNORE_COLOR.

    Raises:
        ValueError: The mask has a wrong shape, dtype or value.

    >>> from pixelwise.palette import default_palette
    >>> color_mask(np.array([[1, 255]], np.uint8), default_palette(2)).tolist()
    [[[86, 180, 233], [200, 200, 200]]]
    """
    check_mask(mask, palette)
    return _color_table(palette)[mask]


def overlay(image: Pixels, mask: Pixels, palette: Palette, opacity: float = 0.5) -> Image.Image:
    """Blend the class colors of a mask over an image and outline the class boundaries.

    The outline is white with a dark edge on both sides, so that it is visible on bright and on dark images. It contains
    each pixel whose right or lower neighbor has another class. It is one pixel wide, and two pixels wider for each full
    1000 pixels of the image's longer side.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, values in [0, len(palette)) or 255 = ignore.
        palette: one (red, green, blue) in [0, 255] per class.
        opacity: weight of the class color in [0, 1]. 0 draws only outlines, 1 hides the image.

    Returns:
        A PIL image of mode "RGB" with the image's size.

    Raises:
        ValueError: An argument has a wrong shape, dtype or value.

    >>> from pixelwise.palette import default_palette
    >>> black, mask = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    >>> overlay(black, mask, default_palette(1)).getpixel((0, 0))
    (115, 80, 0)
    """
    check_mask(mask, palette)
    check_image(image, mask)
    if not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` is {opacity}; it must be from 0 to 1")
    # Blend in uint16 with a weight in 256ths: this is exact for opacity 0 and 1. A photo is blended in bands of rows.
    weight = round(opacity * 256)
    colors = _color_table(palette).astype(np.uint16) * weight + 128
    blended = np.empty_like(image)
    rows = max(1, _BLENDED_PIXELS // mask.shape[1])
    for start in range(0, len(mask), rows):
        band = slice(start, start + rows)
        blended[band] = (image[band].astype(np.uint16) * (256 - weight) + colors[mask[band]]) >> 8

    line = _grow(_boundary(mask), max(mask.shape) // _OUTLINE_SCALE)
    edge = _grow(line, 1 + max(mask.shape) // (2 * _OUTLINE_SCALE)) & ~line
    blended[edge] //= 2
    blended[line] = 255
    del line, edge  # the next line copies the image
    return Image.fromarray(blended)


def to_display_image(image: Pixels) -> Pixels:
    """Convert an image with any number of channels to RGB for display.

    Args:
        image: (H, W, channels) uint8.

    Returns:
        (H, W, 3) uint8: the first three channels, or the first channel three times if there are fewer than three.
    """
    if image.shape[2] == 3:
        return image
    return np.ascontiguousarray(image[:, :, :3] if image.shape[2] > 3 else np.repeat(image[:, :, :1], 3, axis=2))


def check_mask(mask: Pixels, palette: Palette) -> None:
    """Check the shape, dtype and values of a mask.

    Args:
        mask: the mask.
        palette: the color of each class.

    Raises:
        ValueError: The mask is not a non-empty (H, W) uint8 array, or a value other than 255 has no color.
    """
    if not 1 <= len(palette) <= IGNORE_INDEX:
        raise ValueError(f"a palette has 1 to {IGNORE_INDEX} colors, not {len(palette)}")
    if mask.ndim != 2 or mask.size == 0 or mask.dtype != np.uint8:
        raise ValueError(f"a mask is a non-empty (H, W) uint8 array, not {mask.dtype} of shape {mask.shape}")
    unknown = (mask >= len(palette)) & (mask != IGNORE_INDEX)
    if unknown.any():
        raise ValueError(
            f"the mask has the class index {mask[unknown].max()}, but the palette ends at {len(palette) - 1}"
        )


def check_image(image: Pixels, mask: Pixels) -> None:
    """Check the shape and dtype of an image.

    Args:
        image: the image.
        mask: (H, W), the mask of the image.

    Raises:
        ValueError: The image is not an (H, W, 3) uint8 array with the height and width of the mask.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image is an (H, W, 3) uint8 RGB array, not {image.dtype} of shape {image.shape}")
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"the image is {image.shape[0]}×{image.shape[1]} pixels (height × width), "
            f"but its mask is {mask.shape[0]}×{mask.shape[1]}"
        )


def _color_table(palette: Palette) -> Pixels:
    """Return the color of each mask value, (256, 3) uint8."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[IGNORE_INDEX] = IGNORE_COLOR
    return table


def _boundary(mask: Pixels) -> npt.NDArray[np.bool_]:
    """Return (H, W) bool: True for a pixel whose right or lower neighbor has another class."""
    line = np.zeros(mask.shape, bool)
    line[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    line[:-1] |= mask[:-1] != mask[1:]
    return line


def _grow(area: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Dilate an (H, W) bool array `steps` times by its four-neighbors."""
    for _ in range(steps):
        grown = area.copy()
        grown[:, 1:] |= area[:, :-1]
        grown[:, :-1] |= area[:, 1:]
        grown[1:] |= area[:-1]
        grown[:-1] |= area[1:]
        area = grown
    return area
