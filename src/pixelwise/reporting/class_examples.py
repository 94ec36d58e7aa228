"""Example images of each class, encoded for the report of a data set."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixelwise.data.analysis.class_stats import EXAMPLES_PER_CLASS, ClassStats
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.visualization import overlay_pair, to_display_image

PAIR_WIDTH = 640
"""Width of an image beside its overlay, in pixels."""

MAX_EXAMPLES = 96
"""Number of examples over all classes at most, but at least one per class. A pair takes about 30 kB."""

_WEBP_QUALITY = 70


@dataclass(frozen=True)
class Example:
    """An image that shows a class.

    Attributes:
        name: the file's name.
        fraction: the class's fraction of the image, in [0, 1].
        url: the image beside its overlay, as a data URL.
        size: (width, height) of it in pixels.
    """

    name: str
    fraction: float
    url: str
    size: tuple[int, int]


def class_examples(stats: ClassStats, index: int, read_spec: ReadSpec, class_count: int) -> list[Example]:
    """Draw a class in its color on its example images, with all other pixels darkened or brightened.

    Args:
        stats: the class.
        index: its index.
        read_spec: how images and masks are read.
        class_count: number of classes, which share `MAX_EXAMPLES`.

    Returns:
        The examples from the largest fraction to the smallest, without those that cannot be read.
    """
    count = min(len(stats.examples), EXAMPLES_PER_CLASS, max(1, MAX_EXAMPLES // class_count))
    records = [stats.examples[number * len(stats.examples) // count] for number in range(count)]
    drawn = [draw_example(record, stats, index, read_spec) for record in records]
    return [example for example in drawn if example is not None]


def draw_example(record: Record, stats: ClassStats, index: int, read_spec: ReadSpec) -> Example | None:
    """Return one example, or None if the file was removed or changed after the scan.

    Args:
        record: the image and its mask.
        stats: the class.
        index: its index.
        read_spec: how images and masks are read.
    """
    try:
        image, mask = read_image_and_mask(record, read_spec)
    except DataError:
        return None
    region = read_spec.task.class_region(mask, index)
    if isinstance(record.mask, MultilabelMask) and read_spec.task is not MULTILABEL:
        region = np.logical_or.reduce(region)  # a raw value in any of the files: the classes are not decided
    # A full-size photo costs seconds, and the pair shows at most half its width.
    step = max(1, max(region.shape) // PAIR_WIDTH)
    small, shown = image[::step, ::step], np.where(region[::step, ::step], 0, 1).astype(np.uint8)
    # The rest is dark for bright class colors and bright for dark ones: a class drawn in black must be visible too.
    rest = (0, 0, 0) if max(stats.color) > 80 else (255, 255, 255)
    display = np.ascontiguousarray(to_display_image(small))
    pair = overlay_pair(display, shown, (stats.color, rest), PAIR_WIDTH)
    return Example(record.image.name, float(region.mean()), _data_url(pair), pair.size)


def _data_url(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "WEBP", quality=_WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
