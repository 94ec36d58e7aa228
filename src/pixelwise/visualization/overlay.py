"""Draw masks in class colors, alone or over an image."""

from collections.abc import Collection
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.palette import IGNORE_COLOR, IGNORE_INDEX, Palette

Pixels: TypeAlias = npt.NDArray[np.uint8]

_OUTLINE_SCALE = 1000
"""The outline becomes two pixels wider for each full 1000 pixels of the image's longer side."""

_BLENDED_PIXELS = 1 << 20
"""Maximum number of pixels that are drawn, with their outlines, at a time. Each needs about 30 bytes of memory."""

_BLOCK_PIXELS = 1 << 15
"""Maximum number of pixels that are blended at a time, so that intermediate results stay in the CPU's cache."""


def index_image(mask: Pixels) -> Image.Image:
    """Convert a mask to a grayscale image whose gray values are class indices. A PNG file stores these values.

    Pillow, OpenCV, scikit-image and matplotlib read the same array from such a file. They convert the indices of an
    image with a palette to colors.

    Args:
        mask: (H, W) uint8, class indices or 255 = ignore.

    Returns:
        A PIL image of mode "L".

    Raises:
        ValueError: The mask has a wrong shape or dtype.

    >>> np.array(index_image(np.array([[0, 1, 255]], np.uint8))).tolist()
    [[0, 1, 255]]
    """
    _check_array(mask)
    return Image.fromarray(np.ascontiguousarray(mask))


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
    [[[153, 34, 255], [200, 200, 200]]]
    """
    check_mask(mask, palette)
    return _color_table(palette)[mask]


def overlay(
    image: Pixels, mask: Pixels, palette: Palette, opacity: float = 0.5, uncolored: Collection[int] = ()
) -> Image.Image:
    """Blend the class colors of a mask over an image and outline the class boundaries.

    The outline is white with a dark edge on both sides, so that it is visible on bright and on dark images. It contains
    each pixel whose right or lower neighbor has another class. It is one pixel wide, and two pixels wider for each full
    1000 pixels of the image's longer side.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, values in [0, len(palette)) or 255 = ignore.
        palette: one (red, green, blue) in [0, 255] per class.
        opacity: weight of the class color in [0, 1]. 0 draws only outlines, 1 hides the image.
        uncolored: class indices without a color, such as those of `background_classes`. The outline between two of
            them is left out too.

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
    weights = np.full(256, round(opacity * 256), np.uint16)
    weights[list(uncolored)] = 0
    rows = max(1, _BLENDED_PIXELS // mask.shape[1])
    if len(mask) <= rows:
        return Image.fromarray(_draw_rows(image, mask, slice(0, len(mask)), _color_table(palette), weights, uncolored))
    drawn = Image.new("RGB", (mask.shape[1], mask.shape[0]))
    for start in range(0, len(mask), rows):
        band = slice(start, min(start + rows, len(mask)))
        drawn.paste(
            Image.fromarray(_draw_rows(image, mask, band, _color_table(palette), weights, uncolored)), (0, start)
        )
    return drawn


def _draw_rows(
    image: Pixels,
    mask: Pixels,
    rows: slice,
    colors: Pixels,
    weights: npt.NDArray[np.uint16],
    uncolored: Collection[int],
) -> Pixels:
    """Return the drawn pixels of a range of rows, (rows, W, 3) uint8. For `colors` and `weights` see `_blend`."""
    drawn = np.empty((rows.stop - rows.start, mask.shape[1], 3), np.uint8)
    _blend(image[rows], mask[rows], colors, weights, drawn)
    line_steps, edge_steps = max(mask.shape) // _OUTLINE_SCALE, 1 + max(mask.shape) // (2 * _OUTLINE_SCALE)
    # An outline can reach these rows from as many rows above and below.
    margin = line_steps + edge_steps + 1
    top = max(0, rows.start - margin)
    line = _grow(_boundary(mask[top : rows.stop + margin], uncolored), line_steps)
    edge = _grow(line, edge_steps) & ~line
    inner = slice(rows.start - top, rows.stop - top)
    # Few pixels are on a line. Indexing by their numbers is faster than by a mask of all pixels.
    pixels = drawn.reshape(-1, 3)
    pixels[np.flatnonzero(edge[inner])] >>= 1
    pixels[np.flatnonzero(line[inner])] = 255
    return drawn


def _blend(
    image: Pixels, mask: Pixels, colors: Pixels, weights: npt.NDArray[np.uint16], out: npt.NDArray[np.uint8]
) -> None:
    """Blend the color of each mask value over an image.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8.
        colors: (256, 3) uint8, the color of each mask value.
        weights: (256,) uint16, the weight of the color in 256ths. Blending is exact for the weights 0 and 256.
        out: (H, W, 3) uint8, the result.
    """
    kept_of, added_of = 256 - weights, colors * weights[:, None] + np.uint16(128)
    rows = max(1, _BLOCK_PIXELS // mask.shape[1])
    for start in range(0, len(mask), rows):
        block = slice(start, start + rows)
        index = mask[block].astype(np.intp)  # `take` would convert the mask each time
        kept = kept_of.take(index, mode="clip")
        for channel in range(3):
            blended = image[block, :, channel] * kept
            blended += added_of[:, channel].take(index, mode="clip")
            blended >>= 8
            out[block, :, channel] = blended


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
        palette: one color per class.

    Raises:
        ValueError: The mask is not a non-empty (H, W) uint8 array, a value other than 255 has no color, or the palette
            does not have 1 to 255 colors.
    """
    if not 1 <= len(palette) <= IGNORE_INDEX:
        raise ValueError(f"a palette has 1 to {IGNORE_INDEX} colors, not {len(palette)}")
    _check_array(mask)
    highest = mask.max()  # needs no memory, unlike a comparison of each pixel
    if highest == IGNORE_INDEX:
        highest = mask[mask != IGNORE_INDEX].max(initial=0)
    if highest >= len(palette):
        raise ValueError(f"the mask has the class index {highest}, but the palette ends at {len(palette) - 1}")


def _check_array(mask: Pixels) -> None:
    """Raise ValueError unless a mask is a non-empty (H, W) uint8 array."""
    if mask.ndim != 2 or mask.size == 0 or mask.dtype != np.uint8:
        raise ValueError(f"a mask is a non-empty (H, W) uint8 array, not {mask.dtype} of shape {mask.shape}")


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


def _boundary(mask: Pixels, merged: Collection[int] = ()) -> npt.NDArray[np.bool_]:
    """Return (H, W) bool: True for a pixel whose right or lower neighbor has another class.

    Args:
        mask: (H, W) uint8.
        merged: classes that are treated as one class.
    """
    if len(merged) > 1:
        table = np.arange(256, dtype=np.uint8)
        table[list(merged)] = min(merged)
        mask = table[mask]
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
