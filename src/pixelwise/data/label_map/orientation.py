"""Masks of images that their EXIF orientation rotates: drawn on the upright image, or on the stored pixels."""

from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import DataIssue


def settle_orientation(counts: MaskValueCounts) -> tuple[bool, str, tuple[DataIssue, ...]]:
    """Decide whether masks have the orientation of the stored pixels of their images.

    A mask that differs in height and width shows it. All other masks follow if these agree.

    Args:
        counts: the value counts of all masks.

    Returns:
        `ReadSpec.masks_as_stored`; a message, or ""; and a warning if no mask shows its orientation.
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
