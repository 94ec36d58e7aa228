"""Detection of masks in which the value 0 stands for pixels that were never labeled, not for background."""

import numpy as np

from pixelwise.data.analysis.dataset_scan import DatasetScan
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.data.schema import DataIssue

MOSTLY_ZERO = 0.5
"""If more than this fraction of a mask's pixels has the value 0, the mask is mostly 0."""

MIN_MOSTLY_ZERO_MASKS = 0.9
"""In a partly labeled data set, at least this fraction of the masks is mostly 0."""

PARTIAL_CONTACT = (0.02, 0.7)
"""Limits of the fraction of a class's outline that borders on the value 0, in a partly labeled data set.

The fraction is 0.4 to 0.7 for labeled patches. For objects on a background it is 0.7 to 0.9 if they cover each other,
and 1 if they do not.
"""

SCRIBBLE_ZERO = 0.8
"""In masks of scribbles, more than this fraction of the pixels has the value 0."""

MAX_SCRIBBLE_WIDTH = 0.03
"""Maximum median width of the regions of a class of scribbles, as a fraction of the image side."""

MIN_SCRIBBLE_CONTACT = 0.9
"""At least this fraction of the outline of each class of scribbles borders on the value 0."""


def check_partial_labels(
    scanned: DatasetScan, classes: ClassStatsTable, labels: ResolvedLabels, root: str
) -> list[DataIssue]:
    """Return a warning if the value 0 seems to stand for unlabeled pixels instead of background.

    In masks with labeled patches most pixels are 0, and the outline of every class borders partly on 0 and partly on
    other classes. Objects on a background border on 0 nearly everywhere. In masks of scribbles nearly all pixels are 0,
    and there are several classes of thin strokes. Thin objects on a background, such as lane markings of several kinds,
    have the same statistics, so the warning about scribbles is conditional.

    Args:
        scanned: the statistics.
        classes: the statistics by class.
        labels: the classes.
        root: the path of the data set, for the issue.

    Returns:
        The warning, or an empty list. It is empty if the value 0 is not the class "background".
    """
    zero = _class_of_zero(labels)
    if zero is None or zero >= len(labels.classes) or labels.classes[zero] != "background":
        return []
    pixels = np.where(scanned.images.unusable, 0, scanned.images.pixels)
    fractions = classes.class_pixels(zero, len(pixels))[pixels > 0] / pixels[pixels > 0]
    others = [index for index in range(len(labels.classes)) if index != zero]
    if not len(fractions) or len(others) < 2:
        return []
    start = f"{fractions.mean():.0%} of the pixels have the value 0, and "
    if (fractions > MOSTLY_ZERO).mean() >= MIN_MOSTLY_ZERO_MASKS and _are_patches(classes, others):
        message = (
            f"{start}every class borders on it in part only. If 0 means 'not labeled' instead of background, set "
            "`unlabeled` to ignore"
        )
    elif (fractions > SCRIBBLE_ZERO).mean() >= MIN_MOSTLY_ZERO_MASKS and _are_scribbles(classes, others, pixels > 0):
        message = (
            f"{start}every class consists of thin strokes on it. If 0 means 'not labeled', as in masks of scribbles, "
            "set `unlabeled` to ignore. If the strokes are thin objects on a background, nothing needs to be done"
        )
    else:
        return []
    return [DataIssue("partly labeled", root, message, "warning")]


def _are_patches(classes: ClassStatsTable, others: list[int]) -> bool:
    """Return True if the outline of every class borders on 0 in part only."""
    contacts = [classes.zero_contact(index) for index in others]
    low, high = PARTIAL_CONTACT
    return all(contact is not None and low < contact < high for contact in contacts)


def _are_scribbles(classes: ClassStatsTable, others: list[int], usable: np.ndarray) -> bool:
    """Return True if every class has thin regions that border on 0, and the median mask has at least two of them."""
    for index in others:
        width, contact = classes.median_width(index, usable), classes.zero_contact(index)
        if width is None or width > MAX_SCRIBBLE_WIDTH or contact is None or contact < MIN_SCRIBBLE_CONTACT:
            return False
    presence = classes.presence(len(usable), max(others) + 1)[usable][:, others]
    return bool(np.median(presence.sum(1)) >= 2)


def _class_of_zero(labels: ResolvedLabels) -> int | None:
    """Return the class index of the value 0, or of pixels outside all polygons. Return None if they have no class."""
    if labels.label_map.kind == "polygons":
        return labels.source_to_class[0] if labels.source_to_class else 0
    return labels.label_map.value_to_class.get(0) if labels.label_map.kind in ("index", "rgb") else None
