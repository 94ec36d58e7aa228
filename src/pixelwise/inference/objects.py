"""The objects in a predicted mask: connected regions of one class, with their area, box and centroid."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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

    def __repr__(self) -> str:
        return f"ObjectTable({len(self.areas)} object{'s' * (len(self.areas) != 1)})"


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
    channels = [mask] if mask.ndim == 2 else mask
    tables = []
    for channel, counted in zip(channels, counted_values(task, classes, background), strict=True):
        finder = ObjectFinder(counted)
        finder.add(channel)
        tables.append(finder.table())
    return join_channels(tables)


def counted_values(task: Task, classes: int, background: Collection[int]) -> list[npt.NDArray[np.bool_]]:
    """Return the values of a mask that have objects.

    Args:
        task: the task of the mask.
        classes: number of classes C.
        background: see `find_objects`.

    Returns:
        (256,) bool for each channel of a mask: one, or C for a multi-label mask.
    """
    counted = np.zeros(256, bool)
    names = task.mask_names([""] * classes)
    if len(task.mask_shape(classes, 1, 1)) == 2:
        counted[:classes] = True
        counted[list(background)] = False
    else:
        counted[1] = True
    return [counted] * len(names)


def join_channels(tables: Sequence[ObjectTable]) -> ObjectTable:
    """Join the objects of the channels of a mask. With several channels, the class of an object is its channel."""
    return (
        tables[0]
        if len(tables) == 1
        else ObjectTable(
            class_ids=np.repeat(np.arange(len(tables)), [len(table.labels) for table in tables]),
            labels=np.concatenate([table.labels for table in tables]),
            areas=np.concatenate([table.areas for table in tables]),
            boxes=np.concatenate([table.boxes for table in tables]),
            centroids=np.concatenate([table.centroids for table in tables]),
        )
    )


class _Regions(NamedTuple):
    """N connected regions in columns. `first` is the index of the first pixel, counted row by row.

    `sums` are the sums of the rows and of the columns of the pixels, (N, 2).
    """

    class_ids: _Ints
    areas: _Ints
    boxes: _Ints
    sums: npt.NDArray[np.float64]
    first: _Ints


class ObjectFinder:
    """Find the objects in one channel of a mask, band by band from top to bottom.

    The memory depends on the size of a band and on the number of objects, not on the size of the mask.

    Args:
        counted: (256,) bool, the values that have objects.
        corners: True if pixels that touch at a corner are connected.
    """

    def __init__(self, counted: npt.NDArray[np.bool_], corners: bool = True) -> None:
        self._counted, self._corners = counted, corners
        self._regions: list[_Regions] = []
        self._edges: list[_Ints] = []
        self._rows = self._count = 0
        self._last_row: tuple[_Ints, _Ints, _Ints, _Ints] | None = None

    def add(self, band: npt.NDArray[np.uint8]) -> None:
        """Add the next rows of the mask.

        Args:
            band: (rows, W) uint8.
        """
        row, left, right, value = _runs(band, self._counted)
        count, component = _connect(row, left, right, value, band.shape[1], self._corners)
        length = right - left
        areas = np.bincount(component, length, count).astype(np.int64)
        position = row + self._rows
        center = np.stack([position, (left + right - 1) / 2])
        boxes = np.zeros((count, 4), np.int64)
        boxes[:, 0], boxes[:, 1] = self._rows + len(band), band.shape[1]
        np.minimum.at(boxes[:, 0], component, position)
        np.minimum.at(boxes[:, 1], component, left)
        np.maximum.at(boxes[:, 2], component, position + 1)
        np.maximum.at(boxes[:, 3], component, right)
        class_ids, first = np.zeros(count, np.int64), np.zeros(count, np.int64)
        class_ids[component] = value
        # In reverse, so that the first run of each component is written last.
        first[component[::-1]] = (position * band.shape[1] + left)[::-1]
        sums = np.stack([np.bincount(component, length * axis, count).astype(np.float64) for axis in center], 1)
        self._regions.append(_Regions(class_ids, areas, boxes, sums, first))
        runs = (left, right, value, component + self._count)
        self._join_rows(tuple(column[row == 0] for column in runs), band.shape[1])
        self._last_row = tuple(column[row == len(band) - 1] for column in runs)
        self._rows += len(band)
        self._count += count

    def _join_rows(self, runs: tuple[_Ints, _Ints, _Ints, _Ints], width: int) -> None:
        """Join the objects of the last row with those of the next one. The columns are left, right, value, object."""
        if self._last_row is None or not len(runs[0]) or not len(self._last_row[0]):
            return
        left, right, value, region = (np.concatenate(pair) for pair in zip(self._last_row, runs, strict=True))
        row = np.repeat([0, 1], [len(self._last_row[0]), len(runs[0])])
        count, component = _connect(row, left, right, value, width, self._corners)
        representative = np.zeros(count, np.int64)
        representative[component] = region
        self._edges.append(np.stack([representative[component], region]))

    def _joined(self) -> tuple[_Regions, _Ints]:
        """Return the objects, and the index of the object of each region that `add` found."""
        columns = _Regions(*(np.concatenate(part) for part in zip(*self._regions, strict=True)))
        return _merge(columns, self._edges) if self._edges else (columns, np.arange(len(columns.areas)))

    def numbers(self) -> _Ints:
        """Return for each region that `add` found the number of its object in `table`, from 1."""
        regions, label = self._joined()
        numbers = np.empty(len(regions.areas), np.int64)
        numbers[np.lexsort((regions.first, regions.class_ids))] = np.arange(1, len(numbers) + 1)
        return numbers[label]

    def table(self) -> ObjectTable:
        """Return the objects."""
        regions, _ = self._joined()
        order = np.lexsort((regions.first, regions.class_ids))
        class_ids, areas = regions.class_ids[order], regions.areas[order]
        per_class = np.bincount(class_ids, minlength=256)
        starts = np.repeat(np.cumsum(per_class) - per_class, per_class)
        return ObjectTable(
            class_ids=class_ids,
            labels=np.arange(len(order)) - starts + 1,
            areas=areas,
            boxes=regions.boxes[order],
            centroids=regions.sums[order] / np.maximum(areas, 1)[:, None],
        )


def _merge(regions: _Regions, edges: Sequence[_Ints]) -> tuple[_Regions, _Ints]:
    """Join regions that are one object. Each edge is a pair of numbers of regions.

    Returns:
        The objects, and the index of the object of each region.
    """
    from scipy.sparse import coo_array  # takes 0.3 s, and predictions without tables do not need it
    from scipy.sparse.csgraph import connected_components

    total = len(regions.areas)
    pairs = np.concatenate(edges, 1)
    graph = coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), (total, total))
    count, label = connected_components(graph, directed=False)
    class_ids = np.zeros(count, np.int64)
    class_ids[label] = regions.class_ids
    boxes, first = np.zeros((count, 4), np.int64), np.full(count, np.iinfo(np.int64).max)
    boxes[:, :2] = np.iinfo(np.int64).max
    for column in (0, 1):
        np.minimum.at(boxes[:, column], label, regions.boxes[:, column])
        np.maximum.at(boxes[:, column + 2], label, regions.boxes[:, column + 2])
    np.minimum.at(first, label, regions.first)
    areas = np.zeros(count, np.int64)
    np.add.at(areas, label, regions.areas)
    sums = np.stack([np.bincount(label, axis, count).astype(np.float64) for axis in regions.sums.T], 1)
    return _Regions(class_ids, areas, boxes, sums, first), label.astype(np.int64)


def paint_regions(
    band: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_], corners: bool = True
) -> tuple[int, npt.NDArray[np.int32]]:
    """Number the regions of a band as `ObjectFinder.add` does.

    Args:
        band: (rows, W) uint8.
        counted: (256,) bool, the values that have objects.
        corners: see `ObjectFinder`.

    Returns:
        The number of regions, and the region of each pixel, (rows, W) int32. Pixels without an object are -1.
    """
    row, left, right, value = _runs(band, counted)
    count, component = _connect(row, left, right, value, band.shape[1], corners)
    length = right - left
    regions = np.full(band.size, -1, np.int32)
    before = np.cumsum(length) - length
    pixels = np.arange(length.sum()) + np.repeat(row * band.shape[1] + left - before, length)
    regions[pixels] = np.repeat(component, length)
    return count, regions.reshape(band.shape)


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


def _connect(row: _Ints, left: _Ints, right: _Ints, value: _Ints, width: int, corners: bool) -> tuple[int, _Ints]:
    """Join runs of one value that touch in successive rows, with `corners` also at a corner.

    Returns:
        The number of components and the component of each run. Components are numbered by their first run.
    """
    from scipy.sparse import csr_array  # see `_merge`
    from scipy.sparse.csgraph import connected_components

    # Positions of runs on one line, with a gap between rows, so that `searchsorted` finds the neighbors above.
    start, stop = row * (width + 2) + left, row * (width + 2) + right
    low = np.searchsorted(stop, start - (width + 2), "left" if corners else "right")
    high = np.searchsorted(start, stop - (width + 2), "right" if corners else "left")
    low = np.maximum(low, np.searchsorted(row, row - 1, "left"))
    high = np.minimum(high, np.searchsorted(row, row, "left"))
    neighbors = np.maximum(high - low, 0)
    below = np.repeat(np.arange(len(row)), neighbors)
    above = np.arange(len(below)) - np.repeat(np.cumsum(neighbors) - neighbors, neighbors) + np.repeat(low, neighbors)
    same = value[below] == value[above]
    # `below` is sorted, so this is the graph in the format that SciPy computes with. Converting it takes twice as long.
    pointers = np.zeros(len(row) + 1, np.int32)
    np.cumsum(np.bincount(below[same], minlength=len(row)), out=pointers[1:])
    targets = above[same].astype(np.int32)
    edges = csr_array((np.ones(len(targets)), targets, pointers), (len(row), len(row)))
    count, component = connected_components(edges, directed=False)
    return int(count), component.astype(np.int64)
