"""Read the annotations of one image in a COCO file: crowds, outlines, drawing order."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import LeftOut, check_image_size, is_background
from pixelwise.data.formats._geometry import polygon_area, to_points
from pixelwise.data.formats._json import is_index, quote
from pixelwise.data.formats._rle import check_rle, empty_rle
from pixelwise.data.schema import Annotation, DataIssue
from pixelwise.errors import AnnotationError
from pixelwise.palette import IGNORE_INDEX

NEARLY_ALL = 0.9
"""If at least this fraction of the annotations of a class, or of all, has "iscrowd": 1, they are not crowds."""


@dataclass(frozen=True)
class CrowdRule:
    """The rule that classifies an annotation with "iscrowd": 1 as a crowd, whose pixels are ignored, or as an object.

    COCO stores crowds as run lengths. Other programs, such as CVAT, set "iscrowd": 1 for every mask that they store as
    run lengths, even if it is one object.

    Attributes:
        objects: ids of the categories whose annotations are objects, because nearly all of them have the flag.
    """

    objects: frozenset[int] = frozenset()

    @staticmethod
    def of(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> "CrowdRule":
        """Derive the rule from all annotations of a data set.

        Args:
            annotations: the annotations.
            names: category id → name. Background categories are not counted.

        Returns:
            The rule. Its `objects` never contain a background category.
        """
        totals, crowds = Counter[int](), Counter[int]()
        for item in annotations:
            category = _category(item, names)
            if category is not None and not is_background(names[category]):
                totals[category] += 1
                crowds[category] += _has_flag(item)
        if crowds.total() and crowds.total() >= NEARLY_ALL * totals.total():
            return CrowdRule(frozenset(totals))
        return CrowdRule(frozenset(key for key, total in totals.items() if crowds[key] >= NEARLY_ALL * total))

    def is_crowd(self, annotation: Mapping[str, Any]) -> bool:
        """Return True if an annotation is a crowd, whose pixels are ignored."""
        if not _has_flag(annotation) or annotation.get("category_id") in self.objects:
            return False
        attributes = annotation.get("attributes")
        return not (isinstance(attributes, dict) and "occluded" in attributes)  # CVAT writes this attribute

    def issues(
        self, annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str], source: object
    ) -> list[DataIssue]:
        """Return a warning with the number of annotations that have "iscrowd": 1 and are read as objects.

        Args:
            annotations: the annotations.
            names: category id → name.
            source: the file that the warning names.

        Returns:
            The warning, or an empty list if there are no such annotations.
        """
        counts = Counter[str]()
        for item in annotations:
            category = _category(item, names)
            if category is not None and _has_flag(item) and not self.is_crowd(item):
                counts[names[category]] += 1
        if not counts:
            return []
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        message = (
            f"iscrowd is 1 in nearly all annotations of a class, or in masks from CVAT ({shown}); they are read as "
            "objects and not as crowds; to ignore a class, name it in `ignore_values`"
        )
        return [DataIssue("iscrowd in objects", str(source), message, severity="warning")]


def _category(annotation: Mapping[str, Any], names: Mapping[int, str]) -> int | None:
    """Return the category id of an annotation, or None if the data set has no such category."""
    category = annotation.get("category_id")
    return category if isinstance(category, int) and category in names else None


def _has_flag(annotation: Mapping[str, Any]) -> bool:
    return annotation.get("iscrowd") in (1, True)


def read_annotations(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    labels: Mapping[int, int],
    crowds: CrowdRule,
    left_out: LeftOut,
    entry: str,
) -> tuple[Annotation, ...]:
    """Return the annotations of an image in drawing order: first crowds, then objects from the largest to the smallest.

    Args:
        image: the image's entry in the file.
        annotations: the entries of its annotations.
        labels: category id → class index.
        crowds: the rule that detects crowds.
        left_out: counts the annotations without an outline.
        entry: the file and the image's id, for warnings.

    Returns:
        The annotations. The first one is empty and has the image's size, if the entry states it; see `empty_rle`.

    Raises:
        AnnotationError: An annotation is damaged, or there are annotations but none has an outline.
    """
    height, width = image.get("height"), image.get("width")
    size = None if height is None and width is None else check_image_size(height, width)
    drawn, omitted = [], list[tuple[str, str]]()
    for index, item in enumerate(annotations):
        number = item.get("id", index)
        try:
            category = item.get("category_id")
            if not (isinstance(category, int) and category in labels):
                raise AnnotationError("its category_id is not one of the categories")
            reason = _reason_to_leave_out(item.get("segmentation"))
            if reason is not None:
                omitted.append((quote(number), reason))
                continue
            area, polygons, rle = _read_segmentation(item.get("segmentation"), size)
        except AnnotationError as error:
            raise AnnotationError(f"annotation {quote(number)}: {error}") from None
        if size is not None:
            left_out.add_outside(polygons, size, entry)
        is_crowd = crowds.is_crowd(item)
        annotation = Annotation(IGNORE_INDEX if is_crowd else labels[category], polygons, rle)
        drawn.append((not is_crowd, -area, number if is_index(number) else index, index, annotation))
    if omitted and not drawn:
        raise AnnotationError(f"annotation {omitted[0][0]}: {omitted[0][1]}")
    for _, reason in omitted:
        left_out.add("annotation", reason, entry)
    first = (empty_rle(*size),) if size else ()
    return first + tuple(annotation for *_, annotation in sorted(drawn, key=lambda item: item[:-1]))


def _reason_to_leave_out(segmentation: object) -> str | None:
    """Return the reason why an annotation has no area. Return None if it has an outline. The outline can be damaged."""
    if isinstance(segmentation, dict):
        return None
    if not isinstance(segmentation, list) or not segmentation:
        return "has no outline (an empty segmentation), only a box or points"
    # Annotation tools leave polygons of one or two points behind.
    if all(isinstance(points, list) and _count_points(points) <= 2 for points in segmentation):
        return "a polygon of fewer than 3 points encloses nothing"
    return None


def _count_points(values: Sequence[object]) -> float:
    """Return the number of points in a list x, y, x, y, … or in a list of pairs (x, y)."""
    return len(values) if values and isinstance(values[0], list) else len(values) / 2


def _read_segmentation(
    segmentation: object, size: tuple[int, int] | None
) -> tuple[float, tuple[np.ndarray, ...], dict[str, Any] | None]:
    """Return the area in pixels, and the polygons or the run lengths."""
    if isinstance(segmentation, dict):
        area, rle = check_rle(segmentation, size)
        return area, (), rle
    assert isinstance(segmentation, list)
    polygons = [points for points in map(to_points, segmentation) if len(points) >= 3]
    if not polygons:
        raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
    return sum(map(polygon_area, polygons)), tuple(polygons), None
