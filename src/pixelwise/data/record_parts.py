"""Parts of images that have too many pixels to be decoded as a whole, with their masks."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pixelwise.data.io import image
from pixelwise.data.io.image_windows import open_large
from pixelwise.data.io.record_windows import RecordWindows, open_image_windows
from pixelwise.data.schema import ReadSpec, Record

Bytes = npt.NDArray[np.uint8]

PART_SIDE = 1536
"""Side in pixels of the part of an image that is drawn, or whose objects are measured."""

_TRIED_PARTS = 24
"""Number of random parts of which the one with the highest score is taken."""


def open_undecodable(record: Record, read_spec: ReadSpec, keeps_tiles: bool = False) -> RecordWindows | None:
    """Open a record whose image has more than `MAX_PIXELS` pixels, so that it can only be read by windows.

    Args:
        record: a record with a mask.
        read_spec: the parameters with which the data set's files are read. Those of the record have priority.
        keeps_tiles: keep the decoded tiles of the last window, for windows that follow each other.

    Returns:
        The windows. None for other images, and for those that cannot be read by windows.

    Raises:
        DataError: Image and mask differ in size, or the mask cannot be read.
    """
    windows = open_large(record.image)
    if windows is None:
        return None
    with windows:
        if windows.height * windows.width <= image.MAX_PIXELS:
            return None
    readable = open_image_windows(record, read_spec, keeps_tiles)
    return None if readable is None else RecordWindows(record, read_spec, readable, keeps_tiles)


def read_parts(
    windows: RecordWindows, count: int = 1, side: int = PART_SIDE, score: Callable[[Bytes], float] | None = None
) -> list[tuple[Bytes, Bytes]]:
    """Read the best ones of some random parts of an image. The random numbers do not change from call to call.

    Args:
        windows: the image and its mask.
        count: number of parts.
        side: side of a part in pixels.
        score: a function of the mask of a part. The parts with the highest results are the best ones. None for the
            number of values in the mask.

    Returns:
        The images, (side, side, channels), and the masks, (…, side, side), from the best one on.

    Raises:
        DataError: A file is damaged, or its mask has an unknown value. The message names the file.
    """
    places = _random_places(windows.size, side)
    scores = [(score or _count_values)(windows.read_mask(*place)) for place in places]
    best = np.argsort(-np.asarray(scores, float), kind="stable")[:count]
    return [windows.read(*places[index]) for index in best.tolist()]


def _random_places(size: Sequence[int], side: int) -> list[tuple[range, range]]:
    """Return the rows and the columns of `_TRIED_PARTS` random parts."""
    generator = np.random.default_rng(0)
    places = []
    for _ in range(_TRIED_PARTS):
        top, left = (int(generator.integers(0, max(length - side, 0) + 1)) for length in size)
        places.append((range(top, min(top + side, size[0])), range(left, min(left + side, size[1]))))
    return places


def _count_values(mask: Bytes) -> float:
    return float(len(np.unique(mask)))
