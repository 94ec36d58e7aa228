"""Class colors, and masks drawn in them."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.palette import IGNORE_COLOR, IGNORE_INDEX, Palette

Pixels: TypeAlias = npt.NDArray[np.uint8]


_OUTLINE_EVERY = 1000  # the outline grows by a pixel to each side for so many pixels of the longer side


def index_image(mask: Pixels, palette: Palette) -> Image.Image:
    """Return `mask` as an image of mode "P": pixel values are class indices, shown in their colors.

    mask: HW uint8, values in [0, len(palette)) or 255 = ignore, shown in IGNORE_COLOR. Saved as PNG and
    read back, the image holds the same values. Raises ValueError on any other mask.

    >>> np.array(index_image(np.array([[0, 1, 255]], np.uint8), default_palette(2))).tolist()
    [[0, 1, 255]]
    """
    check_mask(mask, palette)
    image = Image.fromarray(np.ascontiguousarray(mask))
    # All 256 entries, even for two classes: with fewer, PNG would pack pixels in bits and 255 would have no
    # color.
    image.putpalette(_color_table(palette).tobytes())
    return image


def color_mask(mask: Pixels, palette: Palette) -> Pixels:
    """Return `mask` as an image: each pixel in the color of its class, or IGNORE_COLOR.

    mask: HW uint8, values in [0, len(palette)) or 255 = ignore. Returns HWC uint8 RGB in [0, 255]. Raises
    ValueError on any other mask.

    >>> color_mask(np.array([[1, 255]], np.uint8), default_palette(2)).tolist()
    [[[86, 180, 233], [200, 200, 200]]]
    """
    check_mask(mask, palette)
    return _color_table(palette)[mask]


def overlay(image: Pixels, mask: Pixels, palette: Palette, opacity: float = 0.5) -> Image.Image:
    """Return `image` with the colors of `mask` blended over it and the class boundaries outlined.

    image: HWC uint8 RGB in [0, 255]; mask: HW uint8 of the same height and width, values in [0,
    len(palette)) or 255 = ignore; opacity: share of the class color, 0 (outlines only) to 1 (image
    hidden). Returns mode "RGB", same size.

    The outline is white with a dark edge on both sides, so that it shows on bright and dark images alike: a
    pixel is white if its right or lower neighbor has another class; the four neighbors of a white pixel
    are halved. Each whole 1000 pixels of the longer side make it two pixels wider.

    Raises ValueError if shapes, dtypes or values are not as above.

    >>> black, mask = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    >>> overlay(black, mask, default_palette(1)).getpixel((0, 0))
    (115, 80, 0)
    """
    check_mask(mask, palette)
    check_image(image, mask)
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is a share from 0 to 1, not {opacity}")
    # In 256ths and uint16: exact at 0 and 1, and an image of 50 megapixels needs no float copy.
    share = round(opacity * 256)
    colors = _color_table(palette).astype(np.uint16) * share + 128
    blended = ((image.astype(np.uint16) * (256 - share) + colors[mask]) >> 8).astype(np.uint8)

    line = _boundary(mask)
    line = _grow(line, max(mask.shape) // _OUTLINE_EVERY)
    edge = _grow(line, 1 + max(mask.shape) // (2 * _OUTLINE_EVERY)) & ~line
    blended[edge] //= 2
    blended[line] = 255
    return Image.fromarray(blended)


def to_display_image(image: Pixels) -> Pixels:
    """An image of any number of channels as HWC uint8 RGB: its first three, or the first alone."""
    if image.shape[2] == 3:
        return image
    return np.ascontiguousarray(image[:, :, :3] if image.shape[2] > 3 else np.repeat(image[:, :, :1], 3, axis=2))


def check_mask(mask: Pixels, palette: Palette) -> None:
    """Raise ValueError unless `mask` is HW uint8, not empty, each value with a color or 255 = ignore."""
    if not 1 <= len(palette) <= IGNORE_INDEX:
        raise ValueError(f"a palette holds 1 to {IGNORE_INDEX} colors, not {len(palette)}")
    if mask.ndim != 2 or mask.size == 0 or mask.dtype != np.uint8:
        raise ValueError(f"a mask is a non-empty HW uint8 array, not {mask.dtype} of shape {mask.shape}")
    unknown = (mask >= len(palette)) & (mask != IGNORE_INDEX)
    if unknown.any():
        raise ValueError(f"the mask holds class {mask[unknown].max()}, the palette only 0 to {len(palette) - 1}")


def check_image(image: Pixels, mask: Pixels) -> None:
    """Raise ValueError unless `image` is HWC uint8 with three channels and the height and width of `mask`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image is an HWC uint8 RGB array, not {image.dtype} of shape {image.shape}")
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"the image is {image.shape[0]}×{image.shape[1]} (height × width), its mask {mask.shape[0]}×{mask.shape[1]}"
        )


def _color_table(palette: Palette) -> Pixels:
    """Return 256×3 uint8: the color of every value of a mask."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[IGNORE_INDEX] = IGNORE_COLOR
    return table


def _boundary(mask: Pixels) -> npt.NDArray[np.bool_]:
    """Return HW bool: True where the right or the lower neighbor has another class."""
    line = np.zeros(mask.shape, bool)
    line[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    line[:-1] |= mask[:-1] != mask[1:]
    return line


def _grow(area: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Return `area` (HW bool) with its four-neighbors added, `steps` times."""
    for _ in range(steps):
        grown = area.copy()
        grown[:, 1:] |= area[:, :-1]
        grown[:, :-1] |= area[:, 1:]
        grown[1:] |= area[:-1]
        grown[:-1] |= area[1:]
        area = grown
    return area
