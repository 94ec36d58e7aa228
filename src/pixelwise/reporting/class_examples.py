"""Example images of each class, encoded as data URLs for the report of a data set."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixelwise.data.analysis.class_stats import EXAMPLES_PER_CLASS, ClassStats
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.record_parts import PART_SIDE, open_undecodable, read_parts
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.visualization import html, overlay_pair, to_display_image

PAIR_WIDTH = 640
"""Maximum width in pixels of the pair of an image and its overlay."""

MAX_EXAMPLES = 96
"""Maximum number of examples over all classes. Each class has at least one. An example takes about 30 kB."""

_WEBP_QUALITY = 70


@dataclass(frozen=True)
class Example:
    """An image that shows a class.

    Attributes:
        name: the file's name.
        fraction: the fraction of the image that the class covers, in [0, 1].
        url: the pair of the image and its overlay, as a data URL.
        size: (width, height) of the pair in pixels.
    """

    name: str
    fraction: float
    url: str
    size: tuple[int, int]


def class_examples(stats: ClassStats, index: int, read_spec: ReadSpec, class_count: int) -> list[Example]:
    """Draw a class in its color on its example images. All other pixels are left untouched.

    Args:
        stats: the statistics of the class, with its examples.
        index: the index of the class.
        read_spec: the parameters for reading images and masks.
        class_count: number of classes. `MAX_EXAMPLES` is divided among them.

    Returns:
        The examples from the largest fraction to the smallest. Files that cannot be read are left out.
    """
    count = min(len(stats.examples), EXAMPLES_PER_CLASS, max(1, MAX_EXAMPLES // class_count))
    records = [stats.examples[number * len(stats.examples) // count] for number in range(count)]
    drawn = [draw_example(record, stats, index, read_spec) for record in records]
    return [example for example in drawn if example is not None]


def draw_example(record: Record, stats: ClassStats, index: int, read_spec: ReadSpec) -> Example | None:
    """Draw one example.

    Args:
        record: the image and its mask.
        stats: the statistics of the class.
        index: the index of the class.
        read_spec: the parameters for reading images and masks.

    Returns:
        The example, or None if a file cannot be read, because it was removed or changed after the scan.
    """
    try:
        image, mask, name = _read_example(record, index, read_spec)
    except DataError:
        return None
    region = read_spec.task.class_region(mask, index)
    if isinstance(record.mask, MultilabelMask) and read_spec.task is not MULTILABEL:
        region = np.logical_or.reduce(region)  # classes are raw values here, which can be in any of the files
    # Drawing at full size takes seconds. The image gets at most half of PAIR_WIDTH in the pair.
    step = max(1, max(region.shape) // PAIR_WIDTH)
    small, shown = image[::step, ::step], np.where(region[::step, ::step], 0, 1).astype(np.uint8)
    display = np.ascontiguousarray(to_display_image(small))
    pair = overlay_pair(display, shown, (stats.color, stats.color), PAIR_WIDTH, uncolored=(1,))
    return Example(name, float(region.mean()), encode_image(pair), pair.size)


def _read_example(record: Record, index: int, read_spec: ReadSpec) -> tuple[np.ndarray, np.ndarray, str]:
    """Return an image, its mask and its name. Of an image that is too large to be decoded, return a part."""
    windows = open_undecodable(record, read_spec)
    if windows is None:
        return *read_image_and_mask(record, read_spec), record.image.name
    with windows:
        shown = read_parts(windows, score=lambda mask: float(np.mean(read_spec.task.class_region(mask, index))))[0]
    return *shown, f"{record.image.name} (a part of {PART_SIDE} px)"


def encode_image(image: Image.Image) -> str:
    """Return an image as a data URL, compressed as WebP."""
    return html.data_url(image, "webp", _WEBP_QUALITY)
