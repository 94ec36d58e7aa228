"""The pixel values of one mask."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from pixelwise.data.io.exif import MaskOrientation, find_mask_orientation
from pixelwise.data.io.image_windows import open_large
from pixelwise.data.io.large_mask import LargeMask, count_values, is_gray, open_mask_windows, to_gray
from pixelwise.data.io.mask import read_mask, stated_size
from pixelwise.data.io.mask_values import LOSSY_FORMATS, ValueKind, mask_values, open_mask, value_kind
from pixelwise.data.schema import LabelMap, MaskSource, MultilabelMask, PolygonMask, Record
from pixelwise.palette import IGNORE_INDEX, pack_rgb

MAX_VALUES_PER_MASK = 1024
"""Maximum number of distinct values that are counted per mask. Only the most frequent values are kept.

A file with more values is a photograph, or a mask that was saved as JPEG.
"""


@dataclass(frozen=True)
class MaskStats:
    """The pixel values of one mask.

    Attributes:
        kind: the type of value that the file suggests (see `LabelMap`): "rgb" if it has colors, "alpha" if only its
            opacity varies, else "index".
        values: value → number of pixels, for the `MAX_VALUES_PER_MASK` most frequent values. For polygons: class
            index → number of pixels.
        size: (height, width) in pixels.
        colors: palette index → 0xRRGGBB for the values present, if the image has a palette.
        lossy: True if the file is a JPEG or a lossy WebP.
        numbered: n if the values are exactly 1..n, with or without 0 and 255. 0 if there are no values apart from 0
            and 255. Otherwise −1. Multi-label masks have −1.
        orientation: the orientation of the mask if its image is stored rotated or mirrored, see
            `find_mask_orientation`. Else None.
    """

    kind: ValueKind
    values: Mapping[int, int]
    size: tuple[int, int]
    colors: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False
    numbered: int = -1
    orientation: MaskOrientation | None = None


def mask_stats(mask: MaskSource, size: tuple[int, int] | None = None) -> MaskStats:
    """Count the values of one mask.

    Args:
        mask: the mask. The counts of a multi-label mask are the sums over its files.
        size: (height, width) of the image in pixels. It is needed for polygons. A multi-label mask
            without files has this size, or (0, 0).

    Returns:
        The counts, without the orientation.

    Raises:
        DataError: A file cannot be read.
    """
    if isinstance(mask, PolygonMask):
        return class_mask_stats(read_mask(mask, LabelMap("polygons"), size))
    if isinstance(mask, MultilabelMask):
        return merge_stats([mask_stats(channel) for channel in mask.channels if channel is not None], size or (0, 0))
    windows = open_large(mask)
    if windows is None:
        return open_mask(mask, image_mask_stats)
    with windows:
        large = open_mask_windows(windows)
        return large_mask_stats(large, sum((count_values(values) for _, values, _ in large.bands()), Counter()))


def large_mask_stats(mask: LargeMask, counts: Counter[int]) -> MaskStats:
    """Return the statistics of a large mask from the counts of its values.

    Args:
        mask: the mask. If it has colors and all of them are gray, the kind of the statistics is "index".
        counts: value → number of pixels.
    """
    kind = mask.kind
    if kind == "rgb" and all(is_gray(value) for value in counts):
        counts, kind = to_gray(counts), "index"
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES_PER_MASK]
    values = dict(sorted(frequent))
    colors = {value: int(mask.colors[value]) for value in values if value < len(mask.colors)}
    return MaskStats(kind, values, mask.size, colors, False, highest_number(np.array(sorted(counts), np.int64)))


def class_mask_stats(mask: np.ndarray) -> MaskStats:
    """Count the class indices in a mask, an (H, W) uint8 array."""
    return MaskStats("index", _count_values(mask)[0], (mask.shape[0], mask.shape[1]))


def merge_stats(channels: Sequence[MaskStats], size: tuple[int, int]) -> MaskStats:
    """Add the counts of the files of a multi-label mask.

    Args:
        channels: the counts of each file.
        size: (height, width) of the result in pixels if there is no file.

    Returns:
        The sums over all files, with the most frequent kind and the size of the first file. They have no colors.
    """
    if not channels:
        return MaskStats("index", {}, size)
    total: Counter[int] = Counter()
    for stats in channels:
        total.update(stats.values)
    kinds = Counter(stats.kind for stats in channels)
    return MaskStats(kinds.most_common(1)[0][0], total, channels[0].size, lossy=any(stats.lossy for stats in channels))


def image_mask_stats(image: Image.Image) -> MaskStats:
    """Count the values of an open mask image."""
    lossy = image.format in LOSSY_FORMATS or (image.format == "WEBP" and not _is_lossless_webp(image))
    kind = value_kind(image)
    values = mask_values(image, kind)
    counts, numbered = _count_values(values)
    colors: dict[int, int] = {}
    if image.mode == "P" and kind == "index":
        palette = pack_rgb(np.array(image.getpalette("RGB") or [], np.uint32).reshape(-1, 3)).tolist()
        colors = {index: palette[index] for index in counts if index < len(palette)}
    return MaskStats(kind, counts, (values.shape[0], values.shape[1]), colors, lossy, numbered)


def color_stats(stats: MaskStats) -> MaskStats:
    """Convert the counts of a mask with a palette from palette indices to colors.

    Args:
        stats: the counts by palette index.

    Returns:
        0xRRGGBB → number of pixels, with kind "rgb" and the size. Indices without a color count as black.
    """
    values: Counter[int] = Counter()
    for index, count in stats.values.items():
        values[stats.colors.get(index, 0)] += count
    return MaskStats("rgb", dict(sorted(values.items())), stats.size)


def _is_lossless_webp(image: Image.Image) -> bool:
    """Return True if "VP8L", the name of a chunk of lossless pixels, is in the first 4096 bytes of a WebP file."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return False
    position = stream.tell()
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(position)
    return b"VP8L" in head


def _count_values(values: np.ndarray) -> tuple[dict[int, int], int]:
    """Return value → number of pixels for the most frequent values, sorted by value, and `MaskStats.numbered`."""
    if values.dtype == np.uint8:
        total = sorted(count_values(values).items())
        present, counts = (np.array(column) for column in zip(*total, strict=True))
    else:
        present, counts = np.unique(values, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MAX_VALUES_PER_MASK]
    return {int(present[index]): int(counts[index]) for index in sorted(frequent)}, highest_number(present)


def highest_number(present: np.ndarray) -> int:
    """Return `MaskStats.numbered` for the distinct values of a mask, which must be sorted."""
    count, last = len(present) - int(present[0] == 0), int(present[-1])
    if last == IGNORE_INDEX and count < last:
        count, last = count - 1, int(present[-2]) if len(present) > 1 else 0
    return count if count == last else -1


def with_orientation(stats: MaskStats, record: Record) -> MaskStats:
    """Return the statistics of a mask with its orientation added.

    Args:
        stats: the statistics of the record's mask.
        record: the record. The header of its image is read.

    Returns:
        The statistics with `orientation`, or `stats` if the orientation of the mask cannot be determined or polygons
        have no size of their own.
    """
    if isinstance(record.mask, PolygonMask) and stated_size(record.mask) is None:
        return stats
    orientation = find_mask_orientation(record.image, stats.size)
    return replace(stats, orientation=orientation) if orientation else stats
