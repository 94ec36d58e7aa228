"""Histograms of the pixel values in mask files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pixelwise.data.io.exif import MaskOrientation
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.mask_stats import MaskStats, color_stats, mask_stats, with_orientation
from pixelwise.data.schema import MaskSource, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

MAX_VALUES_PER_DATASET = 1 << 17
"""Maximum number of distinct values that are counted over all masks of one kind.

16-bit masks have at most half as many. Only colors can reach the maximum.
"""


@dataclass
class MaskValueCounts:
    """Value counts over all masks. The memory that they take does not grow with the number of masks.

    Attributes:
        mask_counts: kind → number of masks.
        pixel_counts: kind → value → number of pixels.
        masks_with_value: kind → value → number of masks.
        examples: kind → value → one file that has the value, the first by name.
        palette_colors: palette index → 0xRRGGBB → number of masks. Several colors if palettes differ.
        palette_masks: number of masks with a palette.
        lossy_count: number of lossy masks.
        lossy_example: the first lossy file by name, or "".
        total_pixels: number of pixels of all masks.
        merging_palettes: number of masks in which two values have the same color.
        numbered: n → number of masks whose values are exactly 1..n, see `MaskStats.numbered`.
        value_counts: number of distinct values in a mask → number of such masks.
        by_color: the counts of masks with a palette by color instead of palette index. None if there is no such mask.
        orientations: for images that their EXIF orientation rotates or mirrors, the orientation of the mask → number
            of masks. Only local JPEG files are read.
        orientation_examples: orientation of the mask → the first such mask by name.
    """

    mask_counts: Counter[ValueKind] = field(default_factory=Counter)
    pixel_counts: dict[ValueKind, Counter[int]] = field(default_factory=dict)
    masks_with_value: dict[ValueKind, Counter[int]] = field(default_factory=dict)
    examples: dict[ValueKind, dict[int, str]] = field(default_factory=dict)
    palette_colors: dict[int, Counter[int]] = field(default_factory=dict)
    palette_masks: int = 0
    lossy_count: int = 0
    lossy_example: str = ""
    total_pixels: int = 0
    merging_palettes: int = 0
    numbered: Counter[int] = field(default_factory=Counter)
    value_counts: Counter[int] = field(default_factory=Counter)
    by_color: "MaskValueCounts | None" = None
    orientations: Counter[MaskOrientation] = field(default_factory=Counter)
    orientation_examples: dict[MaskOrientation, str] = field(default_factory=dict)

    def add(self, mask: MaskSource, stats: MaskStats) -> None:
        """Add the value counts of one more mask.

        Args:
            mask: the mask. Its name becomes an example.
            stats: the value counts of the mask.
        """
        name = str(mask)
        self.mask_counts[stats.kind] += 1
        self.total_pixels += stats.size[0] * stats.size[1]
        self.numbered[stats.numbered] += 1
        self.value_counts[len(stats.values)] += 1
        pixels = self.pixel_counts.setdefault(stats.kind, Counter())
        masks = self.masks_with_value.setdefault(stats.kind, Counter())
        examples = self.examples.setdefault(stats.kind, {})
        for value, count in stats.values.items():
            if value in pixels or len(pixels) < MAX_VALUES_PER_DATASET:
                pixels[value] += count
                masks[value] += 1
                # Keep the first name in alphabetical order, so that the result does not depend on the order of masks.
                examples[value] = min(examples.get(value, name), name)
        for index, color in stats.colors.items():
            self.palette_colors.setdefault(index, Counter())[color] += 1
        if stats.colors:
            self.palette_masks += 1
            self.merging_palettes += len(set(stats.colors.values())) < len(stats.colors)
            if self.by_color is None:
                self.by_color = MaskValueCounts()
            self.by_color.add(mask, color_stats(stats))
        if stats.lossy:
            self.lossy_count += 1
            self.lossy_example = min(self.lossy_example or name, name)
        if stats.orientation:
            self.orientations[stats.orientation] += 1
            first = self.orientation_examples.get(stats.orientation, name)
            self.orientation_examples[stats.orientation] = min(first, name)

    def values(self, kind: ValueKind) -> dict[int, int]:
        """Return value → number of pixels over all masks, sorted by value. For "rgb", gray masks are included."""
        values = Counter(self.pixel_counts.get(kind, {}))
        if kind == "rgb":
            for gray, pixels in self.pixel_counts.get("index", {}).items():
                values[gray_to_rgb(gray)] += pixels
        return dict(sorted(values.items()))

    def masks(self, kind: ValueKind, value: int) -> int:
        """Return the number of masks that have a value.

        Args:
            kind: the type of the value. "rgb" includes gray masks.
            value: the value.
        """
        count = self.masks_with_value.get(kind, Counter())[value]
        if kind == "rgb" and value % 0x010101 == 0:
            count += self.masks_with_value.get("index", Counter())[value // 0x010101]
        return count

    def example(self, kind: ValueKind, value: int | None = None) -> str:
        """Return the name of an example mask, for messages.

        Args:
            kind: the type of the mask's values.
            value: a value that the mask must have, or None for a mask with any values.

        Returns:
            The first such name in alphabetical order, or "a mask" if there is none.
        """
        examples = self.examples.get(kind, {})
        if value is None:
            return min(examples.values(), default="a mask")
        if value not in examples and kind == "rgb":
            return self.examples.get("index", {}).get(value // 0x010101, "a mask")
        return examples.get(value, "a mask")

    def any_example(self) -> str:
        """Return the name of one mask of any kind, for messages. At least one mask must have been added."""
        return self.example(next(iter(self.mask_counts)))


def gray_to_rgb(gray: int) -> int:
    """Return a gray value in [0, 255] as 0xRRGGBB. Greater values give white.

    >>> f"{gray_to_rgb(0x80):06x}"
    '808080'
    """
    return min(gray, 255) * 0x010101


def count_mask_values(
    records: Sequence[Record], progress: Progress = no_progress
) -> tuple[MaskValueCounts, list[DataError]]:
    """Count the values in the masks of all records. Several threads read the masks.

    Args:
        records: records that have a mask.
        progress: see `Progress`.

    Returns:
        The counts over all readable masks, and one error for each of the other masks.
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
        return record, with_orientation(mask_stats(record.mask), record)
    except DataError as error:
        return record, error
