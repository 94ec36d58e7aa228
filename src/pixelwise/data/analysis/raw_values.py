"""The raw values of masks as provisional classes, for the report on a data set whose classes are not yet known."""

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import LabelMap
from pixelwise.palette import IGNORE_INDEX, Palette, default_palette, unpack_rgb

MAX_RAW_VALUES = 30
"""Maximum number of values that become classes. The most frequent values are used, and the others are ignored."""


def raw_value_labels(counts: MaskValueCounts) -> ResolvedLabels:
    """Return labels that make each of the most frequent mask values a class with the value as its name.

    Args:
        counts: the value counts of all masks. If there are no masks, there are no classes.

    >>> from pathlib import Path
    >>> from pixelwise.data.label_map.value_counts import MaskStats
    >>> counts = MaskValueCounts()
    >>> counts.add(Path("a.png"), MaskStats("index", {0: 9, 7: 1}, (1, 10)))
    >>> raw_value_labels(counts).classes
    ('0', '7')
    """
    if not counts.mask_counts:
        return ResolvedLabels(LabelMap("index"), (), ())
    kind = "rgb" if "rgb" in counts.mask_counts else counts.mask_counts.most_common(1)[0][0]
    pixels = counts.values(kind)
    values = sorted(sorted(pixels, key=lambda value: -pixels[value])[:MAX_RAW_VALUES])
    palette: Palette = default_palette(len(values))
    if kind == "rgb":
        palette = tuple((red, green, blue) for red, green, blue in unpack_rgb(values).tolist())
    value_to_class = {value: index for index, value in enumerate(values)}
    label_map = LabelMap(kind, value_to_class, other_class=IGNORE_INDEX)
    names = tuple(format_value(value, kind) for value in values)
    message = "the classes of the table are the raw values of the masks"
    if len(values) < len(pixels):
        message += f"; the {len(values)} most frequent of {len(pixels)} values are listed"
    return ResolvedLabels(label_map, names, palette, (message,))
