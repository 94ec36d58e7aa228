"""Example files of folders, encoded as data URLs for the report on a folder that cannot be read as a data set."""

from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.analysis.file_survey import FolderContent
from pixelwise.data.band_ranges import measure_scale
from pixelwise.data.io.image import count_channels, open_image, read_image
from pixelwise.data.io.mask_values import mask_values, value_kind
from pixelwise.data.schema import Record
from pixelwise.errors import DataError
from pixelwise.palette import default_palette
from pixelwise.reporting.class_examples import Example, encode_image
from pixelwise.visualization import color_mask, to_display_image

THUMBNAIL_SIDE = 320
"""Maximum width and height of an example in pixels."""

MAX_MASK_VALUES = 64
"""Maximum number of distinct gray values in a file that is drawn as a mask, with one color per value."""


def folder_examples(content: FolderContent) -> list[Example]:
    """Draw the example files of a folder. Files that cannot be read are left out.

    Gray files with at most `MAX_MASK_VALUES` values are drawn in colors, because a mask with the values 0, 1, 2 …
    appears black.

    Args:
        content: the folder.

    Returns:
        The examples with the fraction 0, because the files have no classes.
    """
    drawn = [(path, _draw(path)) for path in content.examples]
    return [Example(path.name, 0.0, encode_image(image), image.size) for path, image in drawn if image is not None]


def _draw(path: Path) -> Image.Image | None:
    try:
        image = open_image(path, _draw_mask) or _read(path)
    except DataError:
        return None
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return image


def _read(path: Path) -> Image.Image:
    pixels = read_image(path, count_channels(path), measure_scale([Record(path, None)]), THUMBNAIL_SIDE)
    return Image.fromarray(np.ascontiguousarray(to_display_image(pixels)))


def _draw_mask(image: Image.Image) -> Image.Image | None:
    """Return a gray image with few values in colors. Return None for other images."""
    if len(image.getbands()) > 2 or value_kind(image) != "index":
        return None
    values = mask_values(image, "index")
    step = max(1, max(values.shape) // THUMBNAIL_SIDE)
    present, indices = np.unique(values[::step, ::step], return_inverse=True)
    if len(present) > MAX_MASK_VALUES:
        return None
    mask = indices.reshape(values[::step, ::step].shape).astype(np.uint8)
    return Image.fromarray(color_mask(mask, default_palette(len(present))))
