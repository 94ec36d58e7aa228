"""Mask values of pixels with several possible classes, in data sets that are joined.

In a data set without the class "cat", cats are labeled background. If it is joined with a data set that has this class,
its background pixels can be background or cat. This module defines their mask values. In all functions, a multiclass
mask with C classes has the values:

    0 … C−1       class indices
    C … C+K−1     several possible classes. Each value stands for one set of classes
    255           ignore

Multi-label masks need no such values: the channel of a class without labels has the value 255.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX

if TYPE_CHECKING:
    from torch import Tensor

_COMPARED_PIXELS = 1 << 22
"""Number of pixels that are compared at a time, to limit memory."""


@dataclass(frozen=True)
class PartialLabels:
    """The meaning of the mask values from C on. By default there are none.

    Attributes:
        classes: number of classes C.
        possible: for each of the mask values C, C+1, …, the indices of the possible classes. The first is that of the
            background, which is the label of these pixels in their data set. The others are classes without labels in
            this data set.

    Raises:
        DataError: The values do not fit below 255.
    """

    classes: int = 0
    possible: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.classes + len(self.possible) > IGNORE_INDEX:
            raise DataError(
                f"{self.classes} classes and {len(self.possible)} different lists of unknown classes are more than the "
                f"{IGNORE_INDEX} values of a mask; join fewer data sets, or merge classes by `label_map`"
            )

    @cached_property
    def backgrounds(self) -> npt.NDArray[np.uint8]:
        """(256,) uint8: mask value → the same value, or the class index of the background if several are possible."""
        table = np.arange(256, dtype=np.uint8)
        table[self.classes : self.classes + len(self.possible)] = [classes[0] for classes in self.possible]
        return table

    @cached_property
    def possible_classes(self) -> npt.NDArray[np.bool_]:
        """(256, C) bool: True for the possible classes of a mask value. 255 and unused values have only class 0."""
        table = np.zeros((256, self.classes), bool)
        table[:, 0] = True
        table[: self.classes] = np.eye(self.classes, dtype=bool)
        for value, classes in enumerate(self.possible, start=self.classes):
            table[value] = np.isin(np.arange(self.classes), classes)
        return table

    def to_background(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a mask in which pixels with several possible classes are background.

        Args:
            mask: uint8 of any shape.

        Returns:
            uint8 of the same shape: class indices and 255. The argument itself if no pixel can have several classes.

        >>> PartialLabels(3, ((0, 2),)).to_background(np.array([0, 1, 2, 3, 255], np.uint8)).tolist()
        [0, 1, 2, 0, 255]
        """
        return self.backgrounds[mask] if self.possible else mask

    def count_as_background(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Add the pixel counts of values with several possible classes to the count of the background.

        Args:
            counts: (256,) pixel counts of the mask values. For multi-label masks, (C,) counts, returned unchanged.

        Returns:
            Counts of the same shape.
        """
        if not self.possible:
            return counts
        return np.bincount(self.backgrounds, weights=counts, minlength=256).astype(np.int64)

    def to_comparable(self, mask: "Tensor", prediction: "Tensor") -> "Tensor":
        """Return the mask with which a prediction is compared.

        In a pixel with several possible classes, a predicted class without labels in the data set can be right or
        wrong. Such a pixel is ignored. With any other prediction, the pixel is background.

        Args:
            mask: (..., H, W) uint8.
            prediction: uint8 class indices of the same shape.

        Returns:
            uint8 of the same shape: class indices and 255.

        >>> import torch
        >>> mask, prediction = torch.tensor([[3, 3, 3, 1]]).byte(), torch.tensor([[0, 1, 2, 2]]).byte()
        >>> PartialLabels(3, ((0, 2),)).to_comparable(mask, prediction).tolist()
        [[0, 0, 255, 1]]
        """
        if not self.possible:
            return mask
        import torch

        table = np.repeat(self.backgrounds[:, None], self.classes, axis=1)
        for value, classes in enumerate(self.possible, start=self.classes):
            table[value, list(classes[1:])] = IGNORE_INDEX
        lookup = torch.from_numpy(table).to(mask.device)
        blocks = zip(mask.flatten().split(_COMPARED_PIXELS), prediction.flatten().split(_COMPARED_PIXELS), strict=True)
        return torch.cat([lookup[true.long(), predicted.long()] for true, predicted in blocks]).view(mask.shape)


FULL_LABELS = PartialLabels()
"""The labels of a single data set: a pixel has one class or is ignored."""
