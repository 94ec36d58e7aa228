"""Masks whose values are the numbers of objects: background, and one class for all objects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.mask_sample import measure_masks
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import LabelMap, MaskSource, Record
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX, default_palette

MIN_MASKS = 4
"""Fewer masks with objects prove nothing."""

CERTAIN_MASKS, CERTAIN_OBJECTS, CERTAIN_COUNTS = 6, 4, 3
"""Values 1..n are surely numbers of objects if at least `CERTAIN_MASKS` masks have objects, one of them at least
`CERTAIN_OBJECTS`, with at least `CERTAIN_COUNTS` different n. With less, the user decides."""

MAX_EQUAL = 0.6
"""Values are classes if more than this fraction of the masks has the same number of values."""

MIN_UNIQUE = 0.9
"""Values are unique numbers if at least this fraction of them is in a single mask."""

MIN_UNIQUE_VALUES, MIN_GAPPED_VALUES, MAX_SEQUENCE = 8, 8, 1024

MAX_DISORDER = 0.15
"""Numbers with gaps: the number of masks falls with the value, but for this fraction."""

SAMPLED_VALUES, MAX_SIDE = 32, 512
"""Connected regions are searched for at most this number of values per mask, reduced to this longest side."""

MIN_CONNECTED, MIN_CERTAIN_CONNECTED = 0.9, 0.8
"""The fraction of values that must be one connected region each. Objects can be divided by others in front of them."""

MIN_PART, MIN_OBJECT_PIXELS = 0.05, 5
"""Parts of a region below this fraction of its area do not count. Smaller regions than this are no objects."""


@dataclass(frozen=True)
class NumberedObjects:
    """Evidence that values are the numbers of objects.

    Attributes:
        is_certain: False if values can also be classes.
        reason: the evidence as text, for the user.
    """

    is_certain: bool
    reason: str


def find_numbered_objects(
    kind: ValueKind, values: Sequence[int], records: Sequence[Record], counts: MaskValueCounts
) -> NumberedObjects | None:
    """Search for evidence that values are the numbers of objects. Masks are read only if the counts suggest it.

    Args:
        kind: the type of value.
        values: the values that can be numbers.
        records: the records that were counted.
        counts: the value counts of all masks.

    Returns:
        None if values are classes: they are not 1..n with different n, not unique either, or have several regions.
    """
    if counts.lossy_count or kind == "alpha":
        return None
    found = _find_sequences(kind, counts) or _find_unique_values(kind, values, counts)
    if found is None:
        return None
    connected = connected_fraction([record.mask for record in records], kind)
    many = found.is_certain or len(values) >= MIN_GAPPED_VALUES
    if connected < (MIN_CERTAIN_CONNECTED if many else MIN_CONNECTED):
        return None
    return found


def _find_sequences(kind: ValueKind, counts: MaskValueCounts) -> NumberedObjects | None:
    """Return evidence if each mask has the first n values of one sequence, and n differs. 1..n can be certain."""
    numbers = +Counter({n: masks for n, masks in counts.numbered.items() if n > 0})
    is_numbered = kind == "index" and not counts.numbered[-1]
    if not is_numbered:
        if len(counts.mask_counts) > 1 or not (_is_sequence(kind, counts) or _has_gaps(kind, counts)):
            return None
        numbers = Counter({n - 1: masks for n, masks in counts.value_counts.items() if n > 1})
    masks, largest = numbers.total(), max(numbers, default=0)
    if masks < MIN_MASKS or len(numbers) < 2 or max(numbers.values()) > MAX_EQUAL * masks:
        return None
    if largest == 2 and masks < 2 * MIN_MASKS:
        return None
    certain = masks >= CERTAIN_MASKS and largest >= CERTAIN_OBJECTS and len(numbers) >= CERTAIN_COUNTS
    shown = "the values 1..n" if is_numbered else "nearly the first n values of one sequence"
    reason = f"each mask has {shown} with n from {min(numbers)} to {largest}, and each value is one region"
    return NumberedObjects(certain and is_numbered, reason)


def _is_sequence(kind: ValueKind, counts: MaskValueCounts) -> bool:
    """Return True if the value sets of all masks are nested: the k-th frequent value is in all masks with k values."""
    with_value = sorted((counts.masks(kind, value) for value in counts.values(kind)), reverse=True)
    at_least = [
        sum(masks for number, masks in counts.value_counts.items() if number >= rank)
        for rank in range(1, len(with_value) + 1)
    ]
    return len(with_value) <= MAX_SEQUENCE and with_value == at_least


def _has_gaps(kind: ValueKind, counts: MaskValueCounts) -> bool:
    """Return True if values are 1..n but for some that are hidden behind others: large values are in few masks."""
    values = [value for value in counts.values(kind) if value not in (0, IGNORE_INDEX)]
    if kind != "index" or not MIN_GAPPED_VALUES <= len(values) <= MAX_SEQUENCE or values[-1] > 1.2 * len(values):
        return False
    with_value = np.array([counts.masks(kind, value) for value in values])
    expected = np.sort(with_value)[::-1]
    return bool(np.abs(with_value - expected).sum() <= MAX_DISORDER * with_value.sum())


def _find_unique_values(kind: ValueKind, values: Sequence[int], counts: MaskValueCounts) -> NumberedObjects | None:
    """Return evidence if nearly every value is in a single mask."""
    background = background_value(kind, counts)
    masks = {value: counts.masks(kind, value) for value in values if value != background}
    unique = [value for value, count in masks.items() if count == 1]
    examples = {counts.example(kind, value) for value in unique}
    if len(unique) < max(MIN_UNIQUE_VALUES, MIN_UNIQUE * len(masks)) or len(examples) < MIN_MASKS:
        return None
    return NumberedObjects(
        False, f"{len(unique)} of {len(masks)} values are in a single mask each, and each value is one region"
    )


def background_value(kind: ValueKind, counts: MaskValueCounts) -> int:
    """Return the value of the background: 0, or the color with most pixels if no mask has black."""
    values = counts.values(kind)
    return 0 if 0 in values or kind != "rgb" else max(values, key=lambda value: values[value])


def connected_fraction(masks: Sequence[MaskSource | None], kind: ValueKind) -> float:
    """Return the fraction of values that are one connected region, in a sample of masks.

    Args:
        masks: the mask files.
        kind: the type of value.

    Returns:
        In [0, 1]. 0 if no mask of the sample has an object. Files that cannot be read are skipped.
    """
    connected = [each for values in measure_masks(masks, kind, _connected_values) for each in values]
    return float(np.mean(connected)) if connected else 0.0


def _connected_values(values: np.ndarray) -> list[bool]:
    """Return True for each value except 0 and 255 that is one connected region."""
    from scipy import ndimage  # takes 0.2 s, and most data sets do not need it

    step = -(-max(values.shape) // MAX_SIDE)
    present, places = np.unique(values[::step, ::step], return_inverse=True)
    places = places.reshape(values[::step, ::step].shape) + 1
    boxes = ndimage.find_objects(places)
    chosen = [index for index, value in enumerate(present.tolist()) if value not in (0, IGNORE_INDEX)][:SAMPLED_VALUES]
    connected = []
    for index in chosen:
        regions, _ = ndimage.label(places[boxes[index]] == index + 1, np.ones((3, 3), int))
        areas = np.bincount(regions.ravel())[1:]
        large = int((areas >= MIN_PART * areas.sum()).sum())
        connected.append(large == 1 and areas.sum() >= MIN_OBJECT_PIXELS)
    return connected


def resolve_instances(
    kind: ValueKind, ignored: set[int], counts: MaskValueCounts, options: LabelOptions, reason: str = ""
) -> ResolvedLabels:
    """Return the label map of masks whose values are the numbers of objects: 0 is background, the others foreground.

    Args:
        kind: the type of value.
        ignored: the values that the user ignores.
        counts: the value counts of all masks.
        options: the user's options. `classes` can rename the two classes.
        reason: the evidence, if the user has not set `instances`.

    Raises:
        DataError: Masks are lossy, or have no object.
        ConfigError: An option does not fit.
    """
    if options.label_map:
        raise ConfigError("`instances` and `label_map` exclude each other; name the two classes by `classes`")
    if options.unlabeled == "ignore":
        raise ConfigError("`instances` needs the background, but `unlabeled` ignores it; leave one of them out")
    names = tuple(options.classes) or ("background", "foreground")
    if len(names) != 2:
        raise ConfigError(f"`instances` gives 2 classes, but `classes` has {len(names)} names; name two")
    if counts.lossy_count:
        raise DataError(f"{counts.lossy_example}: a mask saved as JPEG has no numbers of objects; save masks as PNG")
    values, background = counts.values(kind), background_value(kind, counts)
    ignored = ignored | _usual_ignored(kind, background, values)
    objects = [value for value in values if value != background and value not in ignored]
    if not objects or background in ignored:
        raise DataError(f"{counts.any_example()}: masks have no object; remove `instances`")
    label_map = LabelMap(kind, {background: 0} | dict.fromkeys(sorted(ignored), IGNORE_INDEX), other_class=1)
    shown = "".join(f", {format_value(value, kind)} → ignore" for value in sorted(ignored))
    message = (
        f"masks ({kind}): values are the numbers of objects: {format_value(background, kind)} → {names[0]}{shown}, all "
        f"others → {names[1]}"
    )
    if reason:
        message += f". The reason: {reason}. If values are classes, name them by `classes` or `label_map`"
    return ResolvedLabels(label_map, names, default_palette(2), (message,))


def _usual_ignored(kind: ValueKind, background: int, values: dict[int, int]) -> set[int]:
    """Return {255} if it is not the number of an object: 254 does not occur, but other numbers do."""
    others = [value for value in values if value not in (background, IGNORE_INDEX)]
    return {IGNORE_INDEX} if kind == "index" and IGNORE_INDEX in values and others and 254 not in values else set()
