"""What mask images hold, before anyone knows what it means: values, counted."""

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
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

ValueKind = Literal["index", "rgb", "alpha"]


MANY = 1024
"""More values than this are not told apart: such an image is an image, or a mask saved as JPEG."""


MAX_VALUES = 1 << 17
"""Values that a survey keeps count of in all; 16-bit masks can have half as many."""


@dataclass(frozen=True)
class MaskStats:
    """What one mask holds.

    Attributes:
        kind: which kind of values the image itself suggests (see `LabelMap`): "rgb" where it has colors,
            "alpha" where only its opacity varies, else "index".
        values: value → number of pixels, the `MANY` commonest at most; of shapes and layers, class index → pixels.
        all_values: how many different values there are.
        colors: palette index → 0xRRGGBB of the values present, where the image has a palette.
        lossy: whether it was saved as JPEG or lossy WebP.
        size: (height, width).
    """

    kind: ValueKind
    values: Mapping[int, int]
    all_values: int
    size: tuple[int, int]
    colors: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False


@dataclass
class MaskValueCounts:
    """What all masks hold together; a small thing, however many masks there are.

    Attributes:
        masks: kind → number of masks that suggest it.
        pixels, shown_in, example: kind → value → how many pixels, in how many masks, and one file that has it.
        colors: palette index → its color (0xRRGGBB) and in how many masks: more than one where palettes differ.
        lossy: how many masks are lossy; `lossy_example` names one.
        most_values: the most values in one mask.
    """

    masks: Counter[str] = field(default_factory=Counter)
    pixels: dict[str, Counter[int]] = field(default_factory=dict)
    shown_in: dict[str, Counter[int]] = field(default_factory=dict)
    example: dict[str, dict[int, str]] = field(default_factory=dict)
    colors: dict[int, Counter[int]] = field(default_factory=dict)
    lossy: int = 0
    lossy_example: str = ""
    most_values: int = 0

    def add(self, mask: MaskSource, look: MaskStats) -> None:
        """Count one more mask."""
        name = str(mask)
        self.masks[look.kind] += 1
        pixels, shown = self.pixels.setdefault(look.kind, Counter()), self.shown_in.setdefault(look.kind, Counter())
        examples = self.example.setdefault(look.kind, {})
        for value, count in look.values.items():
            if value in pixels or len(pixels) < MAX_VALUES:
                pixels[value] += count
                shown[value] += 1
                # The first by name, so that the order in which masks are looked at does not matter.
                examples[value] = min(examples.get(value, name), name)
        self.most_values = max(self.most_values, look.all_values)
        for index, color in look.colors.items():
            self.colors.setdefault(index, Counter())[color] += 1
        if look.lossy:
            self.lossy += 1
            self.lossy_example = min(self.lossy_example or name, name)


def mask_stats(mask: MaskSource, size: tuple[int, int] | None = None) -> MaskStats:
    """What one mask holds; `size` is the image's (height, width), which shapes need. DataError where unreadable.

    Of layers the looks at all images are added up: kind "index", the values of all of them.
    """
    if isinstance(mask, PolygonMask):
        drawn = read_mask(mask, LabelMap("polygons"), size)
        return MaskStats("index", _count(drawn)[0], len(np.unique(drawn)), (drawn.shape[0], drawn.shape[1]))
    if isinstance(mask, MultilabelMask):
        return merge_stats([mask_stats(each) for each in mask.channels if each is not None], size or (0, 0))
    return open_image(mask, look_at_image)


def merge_stats(looks: Sequence[MaskStats], size: tuple[int, int]) -> MaskStats:
    """The looks at the images of one multi-label mask as one; `size` is its size where there is no image."""
    if not looks:
        return MaskStats("index", {}, 0, size)
    total: Counter[int] = Counter()
    for look in looks:
        total.update(look.values)
    kinds = Counter(look.kind for look in looks)
    return MaskStats(
        kinds.most_common(1)[0][0], total, len(total), looks[0].size, lossy=any(look.lossy for look in looks)
    )


def look_at_image(image: Image.Image) -> MaskStats:
    """What an open image of a mask holds."""
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and not _lossless(image))
    kind = _kind_of(image)
    values = mask_values(image, kind)
    counts, found = _count(values)
    colors: dict[int, int] = {}
    if image.mode == "P" and kind == "index":
        table = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
        colors = {index: int(table[index] @ (65536, 256, 1)) for index in counts if 0 <= index < len(table)}
    return MaskStats(kind, counts, found, (values.shape[0], values.shape[1]), colors, lossy)


def _lossless(image: Image.Image) -> bool:
    """Whether a WebP is lossless: its first chunk of pixels is "VP8L" and not "VP8 "."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return False
    place = stream.tell()
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(place)
    return b"VP8L" in head


def _kind_of(image: Image.Image) -> ValueKind:
    """Which kind of values an image suggests."""
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


def _count(values: np.ndarray) -> tuple[dict[int, int], int]:
    """Value → pixels, the `MANY` commonest; and how many values there are."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        present = counts.nonzero()[0]
        counts = counts[present]
    else:
        present, counts = np.unique(values, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:MANY]
    return {int(present[each]): int(counts[each]) for each in sorted(kept)}, len(present)


def count_mask_values(
    records: Sequence[Record], progress: Progress = no_progress
) -> tuple[MaskValueCounts, list[DataError]]:
    """Look at the masks of all records, in threads; and the errors of those that cannot be read."""
    survey, errors = MaskValueCounts(), []
    for record, look in progress(prefetch_map(_try, records), len(records)):
        if isinstance(look, DataError):
            errors.append(look)
        else:
            survey.add(record.mask, look)
    return survey, errors


def _try(record: Record) -> tuple[Record, MaskStats | DataError]:
    try:
        assert record.mask is not None
        return record, mask_stats(record.mask)
    except DataError as error:
        return record, error
