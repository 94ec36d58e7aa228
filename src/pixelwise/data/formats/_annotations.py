"""Common functions of the annotation formats (COCO, YOLO, labelme, CVAT, …): image sizes, class ids, results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.formats._json import is_index
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.rasterize import coco_mask_module
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, Record, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

BACKGROUND = "background"


def require_pycocotools(path: Path) -> None:
    """Raise DataError that names `path` if pycocotools is not installed. All annotations are rasterized with it."""
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
    """Counts of regions that are not drawn or are clipped at the image border. Each kind of region has one warning.

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
        """Count a region if its polygons are all outside the image, or if it extends far outside the image.

        "Far" is more than the width of the image to the left or right, or more than its height above or below.

        Args:
            polygons: (K, 2) arrays of x, y.
            size: (height, width) of the image in the unit of the points.
            place: the annotation file, or the file and the entry, for the message.
        """
        height, width = size
        # Numbers of Python: a comparison of two numbers by numpy takes 20 times as long, and there are many polygons.
        bounds = [(*points.min(0).tolist(), *points.max(0).tolist()) for points in polygons if len(points)]
        if any(x0 < -width or y0 < -height or x1 > 2 * width or y1 > 2 * height for x0, y0, x1, y1 in bounds):
            fault = "reach far outside the image and are clipped"
        elif polygons and all(x1 < 0 or y1 < 0 or x0 > width or y0 > height for x0, y0, x1, y1 in bounds):
            fault = "are outside the image"
        else:
            return
        places = self._outside.setdefault(fault, {})
        places[place] = places.get(place, 0) + 1

    def add(self, what: str, reason: str, place: str, count: int = 1) -> None:
        """Count regions that are left out.

        Args:
            what: the kind of region, for example "point".
            reason: the reason, and the option that includes such regions, if there is one.
            place: the annotation file, or the file and the entry, for the message.
            count: number of regions.
        """
        places = self._counts.setdefault((what, reason), {})
        places[place] = places.get(place, 0) + count

    def issues(self) -> list[DataIssue]:
        """Return one warning for each kind and reason. Each warning names the first place and counts the others."""
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
    """Return True for a name of the background class. Case and surrounding underscores or spaces are ignored.

    >>> is_background("_background_"), is_background("sky")
    (True, False)
    """
    return name.strip(" _").casefold() == BACKGROUND


def assign_class_ids(names: Iterable[str], has_background: bool = True) -> tuple[list[str], dict[str, int]]:
    """Assign an index to each class of a data set. If there is a background class, its index is 0.

    Index 255 means "ignore" in masks. With more than 255 classes, the placeholder "ignore (255)" gets index 255.

    Args:
        names: class names in the order of the file. Duplicates are counted once. A name of the background class (see
            `is_background`) gets index 0.
        has_background: True to always add a background class. False to add one only if `names` contains it.

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
        records: the records of each split, with `PolygonMask`s as masks.
        classes: class names in index order.
        issues: faults, for example images without annotations.

    Returns:
        A result with the label map "polygons". Its palette is Pascal VOC's if there are 255 classes or more, otherwise
        the default palette.
    """
    train, val, test = (tuple(records[split]) for split in SPLITS)
    # `default_palette` has at most 255 colors. More classes are valid here, because the user can select a subset later.
    palette = voc_palette(len(classes)) if len(classes) >= IGNORE_INDEX else ()
    return FormatResult(train, val, test, tuple(classes), LabelMap("polygons"), palette=palette, issues=tuple(issues))
