"""Which images are not kept in memory as a whole, from the headers of their files. It does not import torch."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.image_windows import WINDOW_SUFFIXES, can_read_windows, stated_pixels
from pixelwise.inference.image_predictor import ImagePredictor, Output
from pixelwise.inference.large_tiff import has_georeference
from pixelwise.inference.sources import ImageSource

LARGE_PIXELS = 1 << 26
"""Number of pixels from which on a file is read in parts, and its mask is a TIFF file. See also `is_large_file`."""

_MAX_LOGITS_BYTES = 256 << 20
"""Size in bytes of the logits of an image from which on they are not kept, but converted to the mask row by row."""


def is_large_file(path: ImageSource) -> bool:
    """Return True if an image is a file that is read in parts, see `open_windows`, and whose mask is a TIFF file.

    Such a file has more than `LARGE_PIXELS`, or a georeference, which its mask keeps. A file that cannot be read in
    parts is decoded at once if it has at most `MAX_PIXELS`. A virtual mosaic (VRT) is always read in parts.
    """
    if not isinstance(path, Path) or path.suffix.lower() not in WINDOW_SUFFIXES:
        return False
    if path.suffix.lower() == ".vrt":
        return True
    pixels = stated_pixels(path) or 0
    return pixels > MAX_PIXELS or (pixels > LARGE_PIXELS and can_read_windows(path)) or has_georeference(path)


def has_large_logits(path: ImageSource, predictor: ImagePredictor[Output]) -> bool:
    """Return True if the logits of an image in a local file take more than `_MAX_LOGITS_BYTES`."""
    if not isinstance(path, Path) or predictor.has_fixed_size:
        return False
    with suppress(Exception), Image.open(path, formats=PILLOW_FORMATS) as image:  # a bad header can raise any error
        height, width = predictor.working_size(image.height, image.width)
        return 4 * len(predictor.classes) * height * width > _MAX_LOGITS_BYTES
    return False
