"""Read the pixel values of mask files. They are not mapped to classes here."""

from collections.abc import Callable
from functools import reduce
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from pixelwise.data.io.image import open_image
from pixelwise.data.io.rgb import apply_exif_orientation, check_palette
from pixelwise.data.schema import BytesSource, MergedMask
from pixelwise.errors import DataError
from pixelwise.palette import pack_rgb

T = TypeVar("T")

ValueKind = Literal["index", "rgb", "alpha"]
"""The types of value in image files, see `LabelMap`."""

VALUE_KINDS: tuple[ValueKind, ...] = ("index", "rgb", "alpha")

LOSSY_FORMATS = ("JPEG", "MPO")
"""Pillow's names of formats that always change pixel values. WebP is not among them, because it can be lossless."""


def mask_values(image: Image.Image, kind: str) -> np.ndarray:
    """Return the value of every pixel of a mask image, after its EXIF orientation is applied.

    Args:
        image: the mask image.
        kind: the type of value, see `LabelMap.kind`.

    Returns:
        (H, W) uint8 or uint16. For "rgb": (H, W) uint32.

    Raises:
        DataError: The image has no values of this kind.
    """
    image = apply_exif_orientation(image)
    if kind == "alpha":
        if "A" not in image.getbands():
            raise DataError(f"the other masks use the opacity, but this one has none (mode {image.mode})")
        return np.array(image.getchannel("A"))
    if kind == "rgb":
        check_palette(image)
        return pack_rgb(np.asarray(image.convert("RGB")))
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    if image.mode in ("L", "P") or image.mode.startswith("I;16"):
        return np.array(image)
    if image.mode == "LA":
        return np.array(image.getchannel("L"))
    if image.mode in ("RGB", "RGBA"):
        red, green, blue = (np.asarray(image.getchannel(band)) for band in "RGB")
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            raise DataError("the other masks are gray, but this one has colors")
        return red
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if values.min() >= 0 and values.max() <= 65535 and (image.mode == "I" or (values == values.round()).all()):
            return values.astype(np.uint16)
    raise DataError(f"a mask must have integers of 8 or 16 bits, or colors; this one has mode {image.mode}")


def value_kind(image: Image.Image) -> ValueKind:
    """Determine the type of value of a mask image from its bands and pixels.

    Returns:
        "alpha" if the image has one color and its opacity varies. "rgb" if a pixel is not gray. "index" otherwise.
    """
    bands = image.getbands()
    if "A" in bands:
        opacity = np.asarray(image.getchannel("A"))
        colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
        if opacity.min() != opacity.max() and (colors == colors[0]).all():
            return "alpha"
    if len(bands) < 3:
        return "index"
    red, green, blue = (np.asarray(image.getchannel(band)) for band in image.convert("RGB").getbands())
    return "index" if np.array_equal(red, green) and np.array_equal(red, blue) else "rgb"


def open_mask(mask: BytesSource | MergedMask, read: Callable[[Image.Image], T]) -> T:
    """Open a mask as one image and pass it to a function. See `open_image`.

    Several files are united to one image: gray with 8 or 16 bits, or RGB if a file has colors. A pixel of a gray union
    has the greatest value of all files. A pixel of an RGB union has the color of the last file that is not black there.

    Args:
        mask: a file, or several files to unite.
        read: called with the open image.

    Returns:
        The result of `read`.

    Raises:
        DataError: A file cannot be read, or the files differ in size. The message names a file.
    """
    if not isinstance(mask, MergedMask):
        return open_image(mask, read)
    layers, formats = zip(*(open_image(file, _layer) for file in mask.files), strict=True)
    if len({layer.shape[:2] for layer in layers}) > 1:
        sizes = sorted({f"{layer.shape[1]}x{layer.shape[0]}" for layer in layers})
        raise DataError(f"{mask}: the mask files of one image must have the same size; they have {', '.join(sizes)}")
    if any(layer.ndim == 3 for layer in layers):
        layers = tuple(layer if layer.ndim == 3 else np.stack([np.minimum(layer, 255)] * 3, 2) for layer in layers)
        pixels = reduce(lambda below, above: np.where(above.any(2, keepdims=True), above, below), layers)
        image = Image.fromarray(pixels.astype(np.uint8))
    else:
        image = Image.fromarray(reduce(np.maximum, layers))
    image.format = next((name for name in formats if name in LOSSY_FORMATS), formats[0])
    try:
        return read(image)
    except DataError as error:
        raise DataError(f"{mask}: {error}") from None


def _layer(image: Image.Image) -> tuple[np.ndarray, str | None]:
    """Return the values of one file and Pillow's name of its format. Values are (H, W), or (H, W, 3) with colors."""
    kind = value_kind(image)
    if kind == "rgb":
        return np.asarray(apply_exif_orientation(image).convert("RGB")), image.format
    return mask_values(image, kind), image.format
