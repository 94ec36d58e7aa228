"""Masks whose values number the objects (instance masks). They become two classes, background and foreground."""

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
"""Minimum number of masks with objects. Fewer masks are no evidence."""

CERTAIN_MASKS, CERTAIN_OBJECTS, CERTAIN_COUNTS = 6, 4, 3
"""Minimum evidence that values 1..n are certainly numbers of objects. With less evidence, the user has to decide.

At least `CERTAIN_MASKS` masks have objects, at least one mask has `CERTAIN_OBJECTS` objects, and at least
`CERTAIN_COUNTS` different n occur.
"""

MAX_EQUAL = 0.6
"""Values are classes if more than this fraction of the masks with objects has the same number of values."""

MIN_UNIQUE = 0.9
"""Values are unique numbers if at least this fraction of the values occurs in one mask only."""

MIN_UNIQUE_VALUES, MIN_GAPPED_VALUES, MAX_SEQUENCE = 8, 8, 1024

MAX_DISORDER = 0.15
"""The maximum deviation from a number of masks that falls with the value, for numbers with gaps.

It is the sum of the differences between the numbers of masks per value and the same numbers in descending order, as a
fraction of the sum of the numbers.
"""

SAMPLED_VALUES, MAX_SIDE = 32, 512
"""Limits of the search for connected regions: values per mask, and longest side of the reduced mask in pixels."""

MIN_CONNECTED, MIN_CERTAIN_CONNECTED = 0.9, 0.8
"""Minimum fraction of values that are one connected region each. The second applies to strong evidence.

It is below 1, because an object in front can divide another object.
"""

MIN_PART, MIN_OBJECT_PIXELS = 0.05, 5
"""Parts below this fraction of a value's pixels do not count. Values of fewer pixels than this are no objects."""


@dataclass(frozen=True)
class NumberedObjects:
    """Evidence that values are the numbers of objects.

    Attributes:
        is_certain: True if values cannot be classes.
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
        values: the values that can be numbers of objects.
        records: the records whose masks were counted.
        counts: the value counts of all masks.

    Returns:
        The evidence, or None if there is none. There is evidence if nearly every value is one connected region, and if
        each mask has nearly the first values of one sequence, or nearly every value occurs in one mask only. Lossy
        masks and masks of opacity never give evidence.
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
    """Return evidence if each mask has the first n values of one sequence, and n differs between masks.

    Only the sequence 1..n can be certain evidence.
    """
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
    """Return True if the value sets of all masks are nested.

    They are if the k-th most frequent value is in as many masks as have at least k values.
    """
    with_value = sorted((counts.masks(kind, value) for value in counts.values(kind)), reverse=True)
    at_least = [
        sum(masks for number, masks in counts.value_counts.items() if number >= rank)
        for rank in range(1, len(with_value) + 1)
    ]
    return len(with_value) <= MAX_SEQUENCE and with_value == at_least


def _has_gaps(kind: ValueKind, counts: MaskValueCounts) -> bool:
    """Return True if values are 1..n with gaps, which objects hidden behind others leave.

    Larger values must be in fewer masks, up to `MAX_DISORDER`.
    """
    values = [value for value in counts.values(kind) if value not in (0, IGNORE_INDEX)]
    if kind != "index" or not MIN_GAPPED_VALUES <= len(values) <= MAX_SEQUENCE or values[-1] > 1.2 * len(values):
        return False
    with_value = np.array([counts.masks(kind, value) for value in values])
    expected = np.sort(with_value)[::-1]
    return bool(np.abs(with_value - expected).sum() <= MAX_DISORDER * with_value.sum())


def _find_unique_values(kind: ValueKind, values: Sequence[int], counts: MaskValueCounts) -> NumberedObjects | None:
    """Return evidence if nearly every value occurs in one mask only."""
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
    """Return the value of the background.

    It is 0, except for colors if no mask has black. Then it is the color with the most pixels.

    Args:
        kind: the type of value.
        counts: the value counts of all masks.
    """
    values = counts.values(kind)
    return 0 if 0 in values or kind != "rgb" else max(values, key=lambda value: values[value])


def connected_fraction(masks: Sequence[MaskSource | None], kind: ValueKind) -> float:
    """Return the fraction of values that are one connected region, in a sample of masks.

    Args:
        masks: the mask files.
        kind: the type of value.

    Returns:
        The fraction in [0, 1], or 0 if no mask of the sample has an object. Files that cannot be read are skipped.
    """
    connected = [each for values in measure_masks(masks, kind, _connected_values) for each in values]
    return float(np.mean(connected)) if connected else 0.0


def _connected_values(values: np.ndarray) -> list[bool]:
    """Return, for each of the first `SAMPLED_VALUES` values except 0 and 255, True if it is one connected region."""
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
    """Return the label map of masks whose values are the numbers of objects.

    The value of `background_value` is the class background, and all other values are foreground.

    Args:
        kind: the type of value.
        ignored: the values that the user ignores.
        counts: the value counts of all masks.
        options: the user's options. `classes` can rename the two classes.
        reason: the evidence for the message, or "" if the user set `instances`.

    Raises:
        DataError: A mask is lossy, no mask has an object, or the background is ignored.
        ConfigError: An option contradicts `instances`.
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
    """Return {255} if 255 occurs and is not the number of an object, else an empty set.

    It is not such a number if 254 does not occur and other numbers do.
    """
    others = [value for value in values if value not in (background, IGNORE_INDEX)]
    return {IGNORE_INDEX} if kind == "index" and IGNORE_INDEX in values and others and 254 not in values else set()
