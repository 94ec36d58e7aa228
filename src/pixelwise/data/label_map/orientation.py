"""Determine the orientation of masks whose images have an EXIF orientation: upright, or as the stored pixels."""

from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import DataIssue


def settle_orientation(counts: MaskValueCounts) -> tuple[bool, str, tuple[DataIssue, ...]]:
    """Determine whether masks have the orientation of the stored pixels of their images.

    The size of a mask determines its orientation if the rotated size is different. If all such masks have the same
    orientation, the other masks are assumed to have it too.

    Args:
        counts: the value counts of all masks.

    Returns:
        The value of `ReadSpec.masks_as_stored`, a message for the user or "", and the issues. The issues are a warning
        if the orientation of some masks cannot be determined.
    """
    stored, upright, unknown = (counts.orientations[key] for key in ("stored", "upright", "unknown"))
    rotated = stored if upright else stored + unknown
    message = ""
    if stored:
        masks = "1 mask is" if rotated == 1 else f"{rotated} masks are"
        message = f"{masks} rotated by the EXIF orientation of the image: the size is that of the stored pixels"
    if not unknown or bool(stored) != bool(upright):
        return stored > 0 and not upright, message, ()
    fault = (
        f"the EXIF orientation rotates or mirrors {unknown} images whose masks fit the upright image and the stored "
        "pixels alike: it cannot be verified that these masks are upright; look at them with pixelwise preview"
    )
    issue = DataIssue("orientation of masks", counts.orientation_examples["unknown"], fault, "warning")
    return False, "; ".join(filter(None, (message, fault))), (issue,)
