"""The interface of a segmentation task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelwise.palette import Palette

if TYPE_CHECKING:
    from torch import Tensor

MaskArray: TypeAlias = npt.NDArray[np.uint8]


class ClassCounts(NamedTuple):
    """Pixel counts of a confusion matrix.

    Attributes:
        true_positives: (C,) int64, pixels that have the class in the mask and in the prediction.
        true: (C,) int64, pixels that have the class in the mask.
        predicted: (C,) int64, pixels that have the class in the prediction.
        correct: number of correct decisions, over all classes.
    """

    true_positives: "Tensor"
    true: "Tensor"
    predicted: "Tensor"
    correct: int


class Task(ABC):
    """A kind of segmentation: how logits become masks, and how masks are counted, weighted and displayed.

    Attributes:
        name: "multiclass" or "multilabel".
        description: the task in words, for messages.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __reduce__(self) -> str:
        return self.name.upper()  # pickle and copy return the module's object

    @abstractmethod
    def mask_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one mask: (height, width), or (classes, height, width) for multilabel masks."""

    @abstractmethod
    def activate(self, logits: "Tensor") -> "Tensor":
        """Return the probability of each class: softmax over classes, or a sigmoid for each class.

        Args:
            logits: (..., C, H, W) float, any real values.

        Returns:
            (..., C, H, W) float in [0, 1].
        """

    @abstractmethod
    def confidence(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability of the prediction at each pixel.

        Args:
            probabilities: (C, H, W) float32 in [0, 1], see `activate`.

        Returns:
            (H, W) float32 in [0, 1]: the probability of the most likely class. Multilabel: the smallest over the
            classes of the probability of the predicted answer (present or absent).
        """

    @abstractmethod
    def logits_to_mask(self, logits: "Tensor") -> "Tensor":
        """Return the predicted mask: the most likely class, or every class with a probability above 0.5.

        Args:
            logits: (..., C, H, W) float, any real values.

        Returns:
            A mask of this task, uint8, on the device of the logits.
        """

    @abstractmethod
    def zero_matrix(self, classes: int) -> "Tensor":
        """Return a confusion matrix of zeros, int64: (C, C), or (C, 2, 2) for multilabel masks."""

    @abstractmethod
    def confusion(self, mask: "Tensor", prediction: "Tensor", classes: int) -> "Tensor":
        """Count pixels by true and predicted class. Pixels to ignore are left out.

        Args:
            mask: a mask of this task, or a batch of masks, uint8.
            prediction: predicted masks of the same shape, integers, without 255.
            classes: the number of classes C.

        Returns:
            int64 counts: (C, C) with true classes as rows and predicted classes as columns. For multilabel masks,
            (C, 2, 2): for each class the counts by (truly present, predicted present).
        """

    @abstractmethod
    def class_counts(self, confusion: "Tensor") -> ClassCounts:
        """Return the pixel counts of each class from a confusion matrix of `confusion`."""

    @abstractmethod
    def class_pixels(self, mask: MaskArray) -> npt.NDArray[np.int64]:
        """Count the pixels of each class.

        Args:
            mask: one mask of this task.

        Returns:
            (256,) counts by mask value, or (C,) counts of present pixels for a multilabel mask.
        """

    @abstractmethod
    def class_region(self, mask: MaskArray, index: int) -> npt.NDArray[np.bool_]:
        """Return the pixels that have the class with this index, (H, W) bool."""

    @abstractmethod
    def pixel_weights(self, mask: "Tensor", class_weights: "Tensor") -> "Tensor":
        """Return the loss weight of each pixel, 0 for pixels to ignore.

        Args:
            mask: a mask of this task, or a batch of masks, uint8.
            class_weights: (C,) float32 that sum to 1.

        Returns:
            float32 of the mask's shape: the weight of the pixel's class. In a multilabel mask it is multiplied by C,
            so that the mean over classes is 1.
        """

    @abstractmethod
    def mask_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the index images of one mask: one "", or the class names for multilabel masks."""

    @abstractmethod
    def index_masks(self, mask: MaskArray, palette: Palette) -> list[tuple[MaskArray, Palette]]:
        """Split a mask into (H, W) index images and their palettes, in the order of `mask_names`.

        A multilabel mask gives one image per class with the values 0 (absent, black) and 1 (present).
        """

    @abstractmethod
    def to_display(self, mask: MaskArray) -> MaskArray:
        """Return one (H, W) index mask that shows the mask; see `display_classes` for its classes.

        The classes of a multilabel mask are drawn over each other, the one with most pixels first. Pixels without a
        class get the index C.

        >>> from pixelwise.data.task import MULTILABEL
        >>> MULTILABEL.to_display(np.array([[[1, 0]], [[1, 1]]], np.uint8)).tolist()
        [[0, 1]]
        """

    @abstractmethod
    def display_classes(self, classes: Sequence[str], palette: Palette) -> tuple[tuple[str, ...], Palette]:
        """Return the class names and colors of `to_display`: for multilabel masks with "none" (black) added."""

    def fractions(self, mask: MaskArray, classes: Sequence[str]) -> dict[str, float]:
        """Return the fraction of the image's pixels that each class has, in [0, 1].

        Args:
            mask: one mask of this task.
            classes: C names, in index order.

        Returns:
            Class name → fraction. The fractions of a multiclass mask without ignored pixels sum to 1.

        >>> from pixelwise.data.task import MULTICLASS
        >>> MULTICLASS.fractions(np.array([[0, 1], [1, 1]], np.uint8), ["cat", "rest"])
        {'cat': 0.25, 'rest': 0.75}
        """
        height, width = mask.shape[-2:]
        return {
            name: int(count) / (height * width) for name, count in zip(classes, self.class_pixels(mask), strict=False)
        }
