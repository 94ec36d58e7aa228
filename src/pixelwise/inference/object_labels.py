"""The objects of a mask as an image of numbers."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.task import Task
from pixelwise.inference.large_tiff import TILE
from pixelwise.inference.objects import ObjectFinder, counted_values, paint_regions

_Channel = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The numbers of the objects of a mask, from 1 on, in the order of `Prediction.objects`.

    Attributes:
        channels: the channels of the mask.
        counted: for each channel the values that have objects, see `counted_values`.
        numbers: for each channel the number of the object of each region, see `ObjectFinder.numbers`.
        class_ids: for each object its class.
    """

    channels: Sequence[_Channel]
    counted: Sequence[npt.NDArray[np.bool_]]
    numbers: Sequence[npt.NDArray[np.int64]]
    class_ids: npt.NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.class_ids)

    def bands(self, dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
        """Yield the numbers of `TILE` rows at a time, (rows, W), for each channel from top to bottom. 0 is no object.

        Args:
            dtype: the type of the numbers.
        """
        for channel, counted, numbers in zip(self.channels, self.counted, self.numbers, strict=True):
            # The last value is that of -1, a pixel without an object.
            lookup, first = np.append(numbers, 0).astype(dtype), 0
            for start in range(0, len(channel), TILE):
                count, regions = paint_regions(np.asarray(channel[start : start + TILE]), counted)
                regions[regions >= 0] += first
                yield lookup[regions]
                first += count

    def describe(self, classes: Sequence[str]) -> str:
        """Return the numbers of each class as text: one line for each class with objects.

        Args:
            classes: class names in index order.

        >>> from pixelwise.data.task import MULTICLASS
        >>> image_labels([np.array([[1, 0, 1, 0, 2]], np.uint8)], MULTICLASS, 3, (0,)).describe(["none", "cat", "dog"])
        '1-2: cat\\n3: dog'
        """
        lines = []
        for index, name in enumerate(classes):
            own = np.flatnonzero(self.class_ids == index) + 1
            if len(own):
                lines.append(f"{own[0]}-{own[-1]}: {name}" if len(own) > 1 else f"{own[0]}: {name}")
        return "\n".join(lines)


def image_labels(channels: Sequence[_Channel], task: Task, classes: int, background: Collection[int]) -> ImageLabels:
    """Number the objects of a mask. The memory depends on the number of objects, not on the size of the mask.

    Args:
        channels: the channels of the mask, (H, W) uint8 each.
        task: the task.
        classes: number of classes C.
        background: indices of classes without objects, see `find_objects`.
    """
    counted = counted_values(task, classes, background)
    numbers, class_ids, total = [], [], 0
    for index, channel in enumerate(channels):
        finder = ObjectFinder(counted[index])
        for start in range(0, len(channel), TILE):
            finder.add(np.asarray(channel[start : start + TILE]))
        table = finder.table()
        numbers.append(finder.numbers() + total)
        class_ids.append(
            table.class_ids
            if len(counted) == 1 and len(task.mask_shape(classes, 1, 1)) == 2
            else np.full(len(table.labels), index)
        )
        total += len(table.labels)
    return ImageLabels(channels, counted, numbers, np.concatenate(class_ids))
