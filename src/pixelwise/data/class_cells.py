"""An index of the places of each class in the masks of a data set, to draw windows that contain rare classes.

Masks are divided into square cells. For each class, the index has the cells with a pixel of the class. It takes four
bytes per class and cell, about a thousandth of the mask.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pixelwise.palette import IGNORE_INDEX

CELL_SIDE = 64
"""Side of a cell in pixels."""


@dataclass(frozen=True, eq=False)
class ClassCells:
    """The cells of each class in N masks.

    Attributes:
        cells: (M,) uint32, the numbers of cells. The cells of a mask are numbered row by row.
        starts: (N, C + 1) uint64. The cells of class c in mask i are `cells[starts[i, c]:starts[i, c + 1]]`.
    """

    cells: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.uint64]

    @staticmethod
    def of(masks: Sequence["dict[int, npt.NDArray[np.uint32]]"]) -> "ClassCells":
        """Build the index from the results of `find_cells`, one for each mask."""
        classes = max((value + 1 for cells in masks for value in cells), default=0)
        counts = np.zeros((len(masks), classes), np.uint64)
        for row, cells in zip(counts, masks, strict=True):
            for value, numbers in cells.items():
                row[value] = len(numbers)
        ends = np.cumsum(counts.ravel(), dtype=np.uint64).reshape(counts.shape)
        starts = np.empty((len(masks), classes + 1), np.uint64)
        starts[:, 1:], starts[:, 0] = (
            ends,
            np.concatenate([[np.uint64(0)], counts.sum(1, dtype=np.uint64).cumsum()[:-1]]),
        )
        found = [cells[value] for cells in masks for value in sorted(cells)]
        return ClassCells(np.concatenate(found) if found else np.zeros(0, np.uint32), starts)

    @cached_property
    def images(self) -> list[npt.NDArray[np.int64]]:
        """The indices of the masks that contain each class."""
        counts = np.diff(self.starts.astype(np.int64), axis=1)
        return [np.flatnonzero(column) for column in counts.T]

    def of_class(self, image: int, value: int) -> npt.NDArray[np.uint32]:
        """Return the numbers of the cells that have a pixel of a class in a mask.

        Args:
            image: index of the mask.
            value: index of the class.
        """
        start, stop = self.starts[image, value : value + 2]
        return self.cells[int(start) : int(stop)]


def find_cells(mask: npt.NDArray[np.uint8]) -> dict[int, npt.NDArray[np.uint32]]:
    """Return the cells of each class in a mask.

    Args:
        mask: (H, W) uint8 class indices, 255 = ignore. Multi-label: (C, H, W) with 1 for present.

    Returns:
        Class → ascending numbers of cells. Classes without pixels are left out.

    >>> {value: cells.tolist() for value, cells in find_cells(np.eye(100, dtype=np.uint8)).items()}
    {0: [0, 1, 2, 3], 1: [0, 3]}
    """
    height = mask.shape[-2]
    return find_cells_of_bands(mask[..., top : top + CELL_SIDE, :] for top in range(0, height, CELL_SIDE))


def find_cells_of_bands(bands: Iterable[npt.NDArray[np.uint8]]) -> dict[int, npt.NDArray[np.uint32]]:
    """Return the cells of each class in a mask that is read in bands of `CELL_SIDE` rows, see `find_cells`.

    Args:
        bands: the bands from top to bottom. Only the last one can have fewer rows.
    """
    found: dict[int, list[npt.NDArray[np.uint32]]] = {}
    for row, band in enumerate(bands):
        width = band.shape[-1]
        first = row * -(-width // CELL_SIDE)
        for value, present in _present_columns(band).items():
            cells = np.flatnonzero(np.logical_or.reduceat(present, np.arange(0, width, CELL_SIDE)))
            found.setdefault(value, []).append((cells + first).astype(np.uint32))
    return {value: np.concatenate(parts) for value, parts in sorted(found.items())}


def _present_columns(band: npt.NDArray[np.uint8]) -> dict[int, npt.NDArray[np.bool_]]:
    """Return class → (W,) bool, True if the column of a band of rows has a pixel of the class."""
    if band.ndim == 3:
        present = (band == 1).any(1)
        return {value: present[value] for value in np.flatnonzero(present.any(1)).tolist()}
    values = np.flatnonzero(np.bincount(band.ravel(), minlength=256)[:IGNORE_INDEX]).tolist()
    return {value: (band == value).any(0) for value in values}


def cell_region(cell: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of a cell in a mask.

    Args:
        cell: number of the cell.
        width: width of the mask in pixels.

    >>> cell_region(3, 100)
    (slice(64, 128, None), slice(64, 128, None))
    """
    row, column = divmod(cell, -(-width // CELL_SIDE))
    return tuple(slice(index * CELL_SIDE, (index + 1) * CELL_SIDE) for index in (row, column))  # type: ignore[return-value]
