"""Histograms of the pixel values in mask files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask import mask_values, read_mask
from pixelwise.data.schema import LabelMap, MaskSource, MultilabelMask, PolygonMask, Record
from pixelwise.errors import DataError
from pixelwise.palette import pack_rgb
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

ValueKind = Literal["index", "rgb", "alpha"]
"""The types of value in image files, see `LabelMap`."""

VALUE_KINDS: tuple[ValueKind, ...] = ("index", "rgb", "alpha")

MAX_VALUES_PER_MASK = 1024
"""Number of distinct values counted per mask, the most frequent ones. A mask with more is a photograph or was saved as
JPEG."""

MAX_VALUES_PER_DATASET = 1 << 17
"""Number of distinct values counted over all masks of one kind. 16-bit masks have at most half as many."""


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
    """

    kind: ValueKind
    values: Mapping[int, int]
    size: tuple[int, int]
    colors: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False


@dataclass
class MaskValueCounts:
    """Value counts over all masks. Its size does not grow with the number of masks.

    Attributes:
        mask_counts: kind → number of masks.
        pixel_counts: kind → value → number of pixels.
        masks_with_value: kind → value → number of masks.
        examples: kind → value → one file that has the value, the first by name.
        palette_colors: palette index → 0xRRGGBB → number of masks. Several colors if palettes differ.
        lossy_count: number of lossy masks.
        lossy_example: the first lossy file by name, or "".
    """

    mask_counts: Counter[ValueKind] = field(default_factory=Counter)
    pixel_counts: dict[ValueKind, Counter[int]] = field(default_factory=dict)
    masks_with_value: dict[ValueKind, Counter[int]] = field(default_factory=dict)
    examples: dict[ValueKind, dict[int, str]] = field(default_factory=dict)
    palette_colors: dict[int, Counter[int]] = field(default_factory=dict)
    lossy_count: int = 0
    lossy_example: str = ""

    def add(self, mask: MaskSource, stats: MaskStats) -> None:
        """Add the values of one more mask."""
        name = str(mask)
        self.mask_counts[stats.kind] += 1
        pixels = self.pixel_counts.setdefault(stats.kind, Counter())
        masks = self.masks_with_value.setdefault(stats.kind, Counter())
        examples = self.examples.setdefault(stats.kind, {})
        for value, count in stats.values.items():
            if value in pixels or len(pixels) < MAX_VALUES_PER_DATASET:
                pixels[value] += count
                masks[value] += 1
                # The first by name, so that the order of the masks does not matter.
                examples[value] = min(examples.get(value, name), name)
        for index, color in stats.colors.items():
            self.palette_colors.setdefault(index, Counter())[color] += 1
        if stats.lossy:
            self.lossy_count += 1
            self.lossy_example = min(self.lossy_example or name, name)

    def values(self, kind: ValueKind) -> dict[int, int]:
        """Return value → number of pixels over all masks, sorted by value. "rgb" includes the gray masks' values."""
        values = Counter(self.pixel_counts.get(kind, {}))
        if kind == "rgb":
            for gray, pixels in self.pixel_counts.get("index", {}).items():
                values[gray_to_rgb(gray)] += pixels
        return dict(sorted(values.items()))

    def example(self, kind: ValueKind, value: int | None = None) -> str:
        """Return the name of one mask of this kind, for messages. With `value`, one that has the value.

        Returns "a mask" if no mask is known.
        """
        examples = self.examples.get(kind, {})
        return min(examples.values(), default="a mask") if value is None else examples.get(value, "a mask")

    def any_example(self) -> str:
        """Return the name of one mask of any kind, for messages."""
        return self.example(next(iter(self.mask_counts)))


def gray_to_rgb(gray: int) -> int:
    """Return a gray value in [0, 255] as 0xRRGGBB. Greater values give white.

    >>> f"{gray_to_rgb(0x80):06x}"
    '808080'
    """
    return min(gray, 255) * 0x010101


def mask_stats(mask: MaskSource, size: tuple[int, int] | None = None) -> MaskStats:
    """Count the values of one mask.

    Args:
        mask: the mask. The files of a multi-label mask are counted together.
        size: (height, width) of the image in pixels. Polygons need it.

    Raises:
        DataError: A file cannot be read.
    """
    if isinstance(mask, PolygonMask):
        return class_mask_stats(read_mask(mask, LabelMap("polygons"), size))
    if isinstance(mask, MultilabelMask):
        return merge_stats([mask_stats(channel) for channel in mask.channels if channel is not None], size or (0, 0))
    return open_image(mask, image_mask_stats)


def class_mask_stats(mask: np.ndarray) -> MaskStats:
    """Count the class indices of a mask, (H, W) uint8."""
    return MaskStats("index", _count_values(mask), (mask.shape[0], mask.shape[1]))


def merge_stats(channels: Sequence[MaskStats], size: tuple[int, int]) -> MaskStats:
    """Add the counts of a multi-label mask's files.

    Args:
        channels: the counts of each file.
        size: (height, width) to use if there is no file.

    Returns:
        The sums, with the most frequent kind and the first file's size.
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
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and not _is_lossless_webp(image))
    kind = _value_kind(image)
    values = mask_values(image, kind)
    counts = _count_values(values)
    colors: dict[int, int] = {}
    if image.mode == "P" and kind == "index":
        palette = pack_rgb(np.array(image.getpalette("RGB") or [], np.uint32).reshape(-1, 3)).tolist()
        colors = {index: palette[index] for index in counts if index < len(palette)}
    return MaskStats(kind, counts, (values.shape[0], values.shape[1]), colors, lossy)


def _is_lossless_webp(image: Image.Image) -> bool:
    """Return True if the first pixel chunk of a WebP is "VP8L" (lossless) and not "VP8 "."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return False
    position = stream.tell()
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(position)
    return b"VP8L" in head


def _value_kind(image: Image.Image) -> ValueKind:
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


def _count_values(values: np.ndarray) -> dict[int, int]:
    """Return value → number of pixels for the most frequent values, sorted by value."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        present = counts.nonzero()[0]
        counts = counts[present]
    else:
        present, counts = np.unique(values, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MAX_VALUES_PER_MASK]
    return {int(present[index]): int(counts[index]) for index in sorted(frequent)}


def count_mask_values(
    records: Sequence[Record], progress: Progress = no_progress
) -> tuple[MaskValueCounts, list[DataError]]:
    """Count the values in the masks of all records. Masks are read in threads.

    Args:
        records: records that have a mask.
        progress: see `Progress`.

    Returns:
        The counts over all readable masks, and the errors of the others.
    """
    counts, errors = MaskValueCounts(), []
    for record, stats in progress(prefetch_map(_stats_or_error, records), len(records)):
        if isinstance(stats, DataError):
            errors.append(stats)
        else:
            counts.add(record.mask, stats)
    return counts, errors


def _stats_or_error(record: Record) -> tuple[Record, MaskStats | DataError]:
    try:
        assert record.mask is not None
        return record, mask_stats(record.mask)
    except DataError as error:
        return record, error
