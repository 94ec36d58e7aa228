"""Choice between index and color for masks with palettes: by index if all palettes agree, otherwise by color."""

from collections import Counter
from dataclasses import replace

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.errors import DataError

MAX_PALETTE_COLORS = 64
"""Maximum number of distinct colors in all masks. With more, masks whose palettes differ are not read by color unless
the user's label map names colors."""


def settle_palettes(counts: MaskValueCounts, options: LabelOptions) -> tuple[MaskValueCounts, str]:
    """Decide whether masks with palettes are read by index or by color.

    Args:
        counts: the value counts of all masks.
        options: the user's options. If palettes differ, a label map of indices selects the index and a label map of
            colors selects the color.

    Returns:
        The counts, and a message for the user or "". If masks are read by color, the counts are those of the colors.

    Raises:
        DataError: Palettes differ, and neither the label map nor the colors identify the classes.
    """
    differing = sorted(index for index, colors in counts.palette_colors.items() if len(colors) > 1)
    if "rgb" in counts.mask_counts and counts.by_color is not None and _all_have_palettes(counts):
        if set(counts.by_color.pixel_counts["rgb"]) <= set(counts.pixel_counts["rgb"]):
            return count_colors(counts), "masks with a palette are read by color, as the other masks have colors"
        return counts, ""
    if not differing:
        return counts, ""
    if options.instances and 0 not in differing:
        return counts, ""
    shown = ", ".join(format_value(color, "rgb") for color in sorted(counts.palette_colors[differing[0]])[:3])
    fault = f"palettes differ: {differing[0]} is {shown} in different masks"
    keys = [text for text, _ in options.label_map]
    if keys and not any(text.startswith("#") for text in keys):
        return counts, f"{fault}; masks are read by index, as `label_map` names indices"
    if not _all_have_palettes(counts) or not (keys or _are_reordered(counts)):
        by_color = ", or by color: #ff0000=CLASS …" if _all_have_palettes(counts) else ""
        raise DataError(
            f"{counts.example('index', differing[0])}: {fault}; save the masks as RGB or with one palette, or set "
            f"`label_map` (by index: 0=CLASS …{by_color})"
        )
    return count_colors(counts), f"{fault}; masks are read by color"


def _all_have_palettes(counts: MaskValueCounts) -> bool:
    return counts.palette_masks == counts.mask_counts["index"]


def _are_reordered(counts: MaskValueCounts) -> bool:
    """Return True if palettes have the same colors in another order, so that colors identify classes.

    False if there are more than `MAX_PALETTE_COLORS` colors, or if a palette has one color for two values of a mask.
    """
    assert counts.by_color is not None
    indices = Counter(color for colors in counts.palette_colors.values() for color in colors)
    is_reordered = max(indices.values()) > 1 and not counts.merging_palettes
    return is_reordered and len(counts.by_color.pixel_counts["rgb"]) <= MAX_PALETTE_COLORS


def count_colors(counts: MaskValueCounts) -> MaskValueCounts:
    """Return the counts of the colors of all masks. Each mask must have a palette or colors."""
    assert counts.by_color is not None
    by_color = counts.by_color
    return replace(
        counts,
        mask_counts=Counter({"rgb": counts.mask_counts["index"] + counts.mask_counts["rgb"]}),
        pixel_counts={"rgb": by_color.pixel_counts["rgb"] + counts.pixel_counts.get("rgb", Counter())},
        masks_with_value={"rgb": by_color.masks_with_value["rgb"] + counts.masks_with_value.get("rgb", Counter())},
        examples={"rgb": by_color.examples["rgb"] | counts.examples.get("rgb", {})},
        palette_colors={},
        numbered=Counter({-1: counts.mask_counts.total()}),
    )
