"""Masks whose values combine a class and the number of an object: class × 1000 + number, as Cityscapes writes them."""

from collections import defaultdict
from collections.abc import Sequence

from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.errors import AmbiguousDataError

FACTOR = 1000
"""Factor of the class in a mask value."""

MAX_PLAIN_VALUES = 256
"""Maximum number of values below `FACTOR`. Cityscapes has one for each class whose objects are not numbered."""

MAX_LISTED_VALUES = 64
"""Maximum number of values for which the error has a choice with a class for each value."""


def check_class_times_1000(values: Sequence[int], counts: MaskValueCounts) -> None:
    """Raise an error if values are probably class × 1000 + number of the object.

    This is probable if the numbers of each class are nearly 0, 1, 2 … or 1, 2, 3 …, and a class has several numbers.

    Args:
        values: the values in the masks.
        counts: the value counts of all masks.

    Raises:
        AmbiguousDataError: The values are probably such sums.
    """
    numbers: dict[int, list[int]] = defaultdict(list)
    for value in values:
        if value >= FACTOR:
            numbers[value // FACTOR].append(value % FACTOR)
    plain = [value for value in values if value < FACTOR]
    is_dense = all(max(each) <= 2 * len(each) for each in numbers.values())
    if not numbers or not is_dense or len(plain) > MAX_PLAIN_VALUES or max(map(len, numbers.values())) < 2:
        return
    classes = ", ".join(map(str, list(numbers)[:8])) + (" …" if len(numbers) > 8 else "")
    first = next(value for value in values if value >= FACTOR)
    names = {value: f"class_{value // FACTOR if value >= FACTOR else value}" for value in values}
    label_map = {str(value): "background" if value == 0 else name for value, name in names.items()}
    raise AmbiguousDataError(
        f"{counts.example('index', first)}: {sum(map(len, numbers.values()))} values such as {first} are probably "
        f"class × {FACTOR} + number of the object, with the classes {classes}; save the masks with the numbers of "
        f"classes only, or set `label_map` ({first}={names[first]} …)",
        [{"label_map": label_map}] if len(values) <= MAX_LISTED_VALUES else [],
    )
