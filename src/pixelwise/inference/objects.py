"""The objects in a predicted mask: connected regions of one class, with their area, box and centroid."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pixelwise.data.task import Task

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MaskObject:
    """A connected region of one class. Pixels that touch at a corner are connected.

    Attributes:
        class_name: the class.
        label: number of the object among those of its class in the image, from 1. The order is that of the objects'
            first pixels, by row and then by column.
        area: number of pixels.
        bbox: (top, left, bottom, right) in pixels. Bottom and right are the first row and column below and beside it.
        centroid: (row, column), the mean over its pixels. The center of the upper left pixel is (0, 0).
    """

    class_name: str
    label: int
    area: int
    bbox: tuple[int, int, int, int]
    centroid: tuple[float, float]


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """The N objects of a mask in columns, in the order of classes and then of labels. For the columns see `MaskObject`.

    Attributes:
        class_ids: (N,) class indices.
        labels: (N,) int64.
        areas: (N,) int64.
        boxes: (N, 4) int64.
        centroids: (N, 2) float64.
    """

    class_ids: _Ints
    labels: _Ints
    areas: _Ints
    boxes: _Ints
    centroids: npt.NDArray[np.float64]


def find_objects(mask: npt.NDArray[np.uint8], task: Task, classes: int, background: Collection[int]) -> ObjectTable:
    """Find the objects of all classes but the background.

    Runs of pixels of one class in a row are the nodes of a graph, so the time and the memory depend on the number of
    runs. For predicted masks, this is many times faster than labeling the pixels of each class.

    Args:
        mask: a predicted mask of the task, (H, W) uint8, or (C, H, W) uint8 for multi-label masks.
        task: the task.
        classes: number of classes C.
        background: indices of classes without objects, see `background_classes`. Not used for multi-label masks.

    Returns:
        The objects. They are equal to those of `scipy.ndimage.label` with 8 neighbors.

    >>> from pixelwise.data.task import MULTICLASS
    >>> find_objects(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8), MULTICLASS, 2, (0,)).areas.tolist()
    [2]
    """
    if mask.ndim == 2:
        counted = np.ones(256, bool)
        counted[classes:] = False
        counted[list(background)] = False
        return _objects(mask, counted)
    present = np.zeros(256, bool)
    present[1] = True
    tables = [_objects(channel, present) for channel in mask]
    return ObjectTable(
        class_ids=np.repeat(np.arange(classes), [len(table.labels) for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
        areas=np.concatenate([table.areas for table in tables]),
        boxes=np.concatenate([table.boxes for table in tables]),
        centroids=np.concatenate([table.centroids for table in tables]),
    )


def _objects(mask: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_]) -> ObjectTable:
    """Return the objects of the values for which `counted`, a (256,) bool array, is True."""
    row, left, right, value = _runs(mask, counted)
    count, component = _connect(row, left, right, value, mask.shape[1])
    length = right - left
    areas = np.bincount(component, length, count)
    center = np.stack([row, (left + right - 1) / 2])
    centroids = np.stack([np.bincount(component, length * axis, count) for axis in center], 1)
    top, first = np.full(count, len(mask)), np.full(count, mask.shape[1])
    bottom, last, class_ids = (np.zeros(count, np.int64) for _ in range(3))
    np.minimum.at(top, component, row)
    np.minimum.at(first, component, left)
    np.maximum.at(bottom, component, row + 1)
    np.maximum.at(last, component, right)
    class_ids[component] = value
    order = np.argsort(class_ids, kind="stable")
    per_class = np.bincount(class_ids, minlength=256)
    starts = np.repeat(np.cumsum(per_class) - per_class, per_class)
    return ObjectTable(
        class_ids=class_ids[order],
        labels=np.arange(count) - starts + 1,
        areas=areas[order].astype(np.int64),
        boxes=np.stack([top, first, bottom, last], 1)[order],
        centroids=(centroids / np.maximum(areas, 1)[:, None])[order],
    )


def _runs(mask: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_]) -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Return the row, the first column, the column after the last one and the value of each run, in reading order."""
    is_first = np.ones(mask.shape, bool)
    np.not_equal(mask[:, 1:], mask[:, :-1], out=is_first[:, 1:])
    start = np.flatnonzero(is_first)
    value = mask.ravel()[start]
    length = np.diff(start, append=mask.size)
    kept = counted[value]
    row, left = np.divmod(start[kept], mask.shape[1])
    return row, left, left + length[kept], value[kept].astype(np.int64)


def _connect(row: _Ints, left: _Ints, right: _Ints, value: _Ints, width: int) -> tuple[int, _Ints]:
    """Join runs of one value that touch in successive rows, also at a corner.

    Returns:
        The number of components and the component of each run. Components are numbered by their first run.
    """
    # Positions of runs on one line, with a gap between rows, so that `searchsorted` finds the neighbors above.
    start, stop = row * (width + 2) + left, row * (width + 2) + right
    low = np.searchsorted(stop, start - (width + 2), "left")
    high = np.searchsorted(start, stop - (width + 2), "right")
    low = np.maximum(low, np.searchsorted(row, row - 1, "left"))
    high = np.minimum(high, np.searchsorted(row, row, "left"))
    neighbors = np.maximum(high - low, 0)
    below = np.repeat(np.arange(len(row)), neighbors)
    above = np.arange(len(below)) - np.repeat(np.cumsum(neighbors) - neighbors, neighbors) + np.repeat(low, neighbors)
    same = value[below] == value[above]
    edges = coo_array((np.ones(np.count_nonzero(same), np.int8), (below[same], above[same])), (len(row), len(row)))
    count, component = connected_components(edges, directed=False)
    return int(count), component.astype(np.int64)
