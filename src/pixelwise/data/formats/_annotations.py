"""Steps that the annotation formats (COCO, YOLO, labelme, Label Studio) share: sizes, class indices, the result."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pixelwise.data.formats._json import is_index
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.mask import coco_mask_module
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, Record, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

BACKGROUND = "background"


def require_pycocotools(path: Path) -> None:
    """Raise DataError, which names the path, if pycocotools is not installed. It draws all annotations."""
    try:
        coco_mask_module()
    except AnnotationError as error:
        raise DataError(f"{path}: {error}") from None


def check_image_size(height: object, width: object, names: tuple[str, str] = ("height", "width")) -> tuple[int, int]:
    """Return the size (height, width) of an image as an annotation file states it.

    Args:
        height: the value for the height in pixels.
        width: the value for the width in pixels.
        names: what the file calls the two values.

    Raises:
        AnnotationError: They are not positive integers, or the image has more than `MAX_PIXELS` pixels.
    """
    if not (isinstance(height, int) and isinstance(width, int) and is_index(height) and is_index(width)):
        raise AnnotationError(f"{names[0]} and {names[1]} must be positive integers")
    if not 0 < height * width <= MAX_PIXELS:
        raise AnnotationError(f"{names[0]} and {names[1]} must be positive, with at most {MAX_PIXELS:,} pixels in all")
    return height, width


def assign_class_ids(
    names: Iterable[str], background_names: Iterable[str] = (BACKGROUND,)
) -> tuple[list[str], dict[str, int]]:
    """Number the classes of a data set. Class 0 is "background".

    Index 255 means "ignore" in masks. In a data set with that many classes, a name without objects takes index 255.

    Args:
        names: class names in the order of the file. Duplicates are counted once.
        background_names: names in lower case that mean class 0, in any case.

    Returns:
        The class names in index order, and the index of each name.

    >>> assign_class_ids(["cat", "Background", "dog"])
    (['background', 'cat', 'dog'], {'cat': 1, 'Background': 0, 'dog': 2})
    """
    classes, index_of = [BACKGROUND], dict[str, int]()
    for name in dict.fromkeys(names):
        if name.casefold() in background_names:
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
        issues: images without annotations and the like.
    """
    train, val, test = (tuple(records[split]) for split in SPLITS)
    # The default palette has fewer than 255 colors. The user can select some of the classes later.
    palette = voc_palette(len(classes)) if len(classes) >= IGNORE_INDEX else ()
    return FormatResult(train, val, test, tuple(classes), LabelMap("polygons"), palette=palette, issues=tuple(issues))
