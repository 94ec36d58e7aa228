"""Common functions of the annotation formats (COCO, YOLO, labelme, Label Studio): image sizes, class ids, results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.formats._json import is_index
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.mask import coco_mask_module
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, Record, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

BACKGROUND = "background"


def require_pycocotools(path: Path) -> None:
    """Raise DataError that names `path` if pycocotools is not installed. It converts all annotations to masks."""
    try:
        coco_mask_module()
    except AnnotationError as error:
        raise DataError(f"{path}: {error}") from None


def check_image_size(height: object, width: object, names: tuple[str, str] = ("height", "width")) -> tuple[int, int]:
    """Check the image size that an annotation file contains.

    Args:
        height: value of the height in pixels.
        width: value of the width in pixels.
        names: names of the two values in the file, for the error message.

    Returns:
        The checked (height, width) in pixels.

    Raises:
        AnnotationError: A value is not a positive integer, or the image has more than `MAX_PIXELS` pixels.
    """
    if not (isinstance(height, int) and isinstance(width, int) and is_index(height) and is_index(width)):
        raise AnnotationError(f"{names[0]} and {names[1]} must be positive integers")
    if not 0 < height * width <= MAX_PIXELS:
        raise AnnotationError(f"{names[0]} and {names[1]} must be positive, with at most {MAX_PIXELS:,} pixels in all")
    return height, width


class LeftOut:
    """Regions of annotation files that cannot be drawn, or only in part. Each kind becomes one warning with counts.

    >>> left_out = LeftOut()
    >>> left_out.add("point", "it encloses nothing", "a.json")
    >>> left_out.add("point", "it encloses nothing", "b.json", 2)
    >>> print(*left_out.issues())
    a.json: 3 regions are left out, here and in 1 other place (point: it encloses nothing)
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, int]] = {}
        self._outside: dict[str, dict[str, int]] = {}

    def add_outside(self, polygons: Sequence[np.ndarray], size: tuple[float, float], place: str) -> None:
        """Count a region if no point of it is in the image, or if it reaches farther outside than the image is large.

        Args:
            polygons: (K, 2) arrays of x, y.
            size: (height, width) of the image in the unit of the points.
            place: the file, or the place in the file.
        """
        extent = np.array(size[::-1])
        if any(((points < -extent) | (points > 2 * extent)).any() for points in polygons):
            fault = "reach far outside the image and are clipped"
        elif polygons and all(((p.max(0) < 0) | (p.min(0) > extent)).any() for p in polygons if len(p)):
            fault = "are outside the image"
        else:
            return
        places = self._outside.setdefault(fault, {})
        places[place] = places.get(place, 0) + 1

    def add(self, what: str, reason: str, place: str, count: int = 1) -> None:
        """Count regions that are left out.

        Args:
            what: their kind, for example "point".
            reason: the reason, and the option that changes it.
            place: the file, or the place in the file.
            count: number of regions.
        """
        places = self._counts.setdefault((what, reason), {})
        places[place] = places.get(place, 0) + count

    def issues(self) -> list[DataIssue]:
        """Return one warning for each kind and reason. It names the first place."""
        issues = []
        for (what, reason), places in self._counts.items():
            place, total, others = next(iter(places)), sum(places.values()), len(places) - 1
            regions = f"{total} region{'s are' if total > 1 else ' is'} left out"
            where = f", here and in {others} other place{'s' * (others > 1)}" if others else ""
            issues.append(DataIssue("region left out", place, f"{regions}{where} ({what}: {reason})", "warning"))
        for fault, places in self._outside.items():
            total, others = sum(places.values()), len(places) - 1
            where = f", here and in {others} other place{'s' * (others > 1)}" if others else ""
            message = f"outlines {fault} ({total} region{'s' * (total > 1)}{where}); check the annotations"
            issues.append(DataIssue("outline outside the image", next(iter(places)), message, "warning"))
        return issues


def is_background(name: str) -> bool:
    """Return True for the names of the background class. Case, and underscores around the name, do not matter.

    >>> is_background("_background_"), is_background("sky")
    (True, False)
    """
    return name.strip(" _").casefold() == BACKGROUND


def assign_class_ids(names: Iterable[str], has_background: bool = True) -> tuple[list[str], dict[str, int]]:
    """Number the classes of a data set. Class 0 is "background", unless there is none.

    Index 255 means "ignore" in masks. If there are more than 255 classes, the placeholder "ignore (255)" has index 255.

    Args:
        names: class names in the order of the file. Duplicates are counted once. Names of the background, see
            `is_background`, have index 0.
        has_background: True if there is a background in any case. False if only `names` can have it.

    Returns:
        The class names in index order, and the index of each name.

    >>> assign_class_ids(["cat", "Background", "dog"])
    (['background', 'cat', 'dog'], {'cat': 1, 'Background': 0, 'dog': 2})
    """
    names = list(dict.fromkeys(names))
    has_background = has_background or any(map(is_background, names))
    classes, index_of = [BACKGROUND] if has_background else [], dict[str, int]()
    for name in names:
        if is_background(name):
            index_of[name] = 0
            continue
        if len(classes) == IGNORE_INDEX:
            classes.append("ignore (255)")
        index_of[name] = len(classes)
        classes.append(name)
    return classes, index_of


def polygon_result(
    records: Mapping[Split, Sequence[Record]], classes: Sequence[str], issues: Sequence[DataIssue]
) -> FormatResult:
    """Return the result of a format whose masks are drawn from annotations.

    Args:
        records: the records of each split. Their masks are `PolygonMask`s.
        classes: class names in index order.
        issues: faults, for example images without annotations.

    Returns:
        A result with the label map "polygons". If `default_palette` has too few colors, the palette is Pascal VOC's.
    """
    train, val, test = (tuple(records[split]) for split in SPLITS)
    # `default_palette` has at most 255 colors. More classes are allowed here: the user can select some of them later.
    palette = voc_palette(len(classes)) if len(classes) >= IGNORE_INDEX else ()
    return FormatResult(train, val, test, tuple(classes), LabelMap("polygons"), palette=palette, issues=tuple(issues))
