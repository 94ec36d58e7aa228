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
        correct: number of correctly predicted pixels. For multilabel masks, a pixel counts once per class.
    """

    true_positives: "Tensor"
    true: "Tensor"
    predicted: "Tensor"
    correct: int


class Task(ABC):
    """A kind of segmentation: the conversion of logits to masks, and the counts, weights and display of masks.

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
        """Return the shape of one mask: (height, width), or (classes, height, width) for multilabel masks.

        Args:
            classes: the number of classes.
            height: the height in pixels.
            width: the width in pixels.
        """

    @abstractmethod
    def activate(self, logits: "Tensor") -> "Tensor":
        """Return the probability of each class: softmax over classes, or a sigmoid for each class.

        Args:
            logits: (..., C, H, W) float, any real values.

        Returns:
            (..., C, H, W) float in [0, 1].
        """

    @abstractmethod
    def inverse_activate(self, probabilities: "Tensor") -> "Tensor":
        """Return logits for which `activate` returns the given probabilities.

        Args:
            probabilities: (..., C, H, W) float32 in [0, 1], see `activate`.

        Returns:
            (..., C, H, W) float32. They are finite, because the probabilities are clamped.
        """

    @abstractmethod
    def label_probability(self, probabilities: "Tensor", mask: "Tensor") -> "Tensor":
        """Return the probability of the mask's label at each pixel.

        Args:
            probabilities: (..., C, H, W) float in [0, 1], see `activate`.
            mask: a mask of this task, or a batch of masks, uint8, of the same height and width.

        Returns:
            float of the mask's shape in [0, 1]. The values of pixels to ignore have no meaning.
        """

    @abstractmethod
    def confidence(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability of the prediction at each pixel.

        Args:
            probabilities: (C, H, W) float32 in [0, 1], see `activate`.

        Returns:
            (H, W) float32 in [0, 1]: the probability of the most likely class. For multilabel masks, each class has the
            probability of its predicted state (present or absent), and the minimum over the classes is returned.
        """

    @abstractmethod
    def logits_to_mask(self, logits: "Tensor") -> "Tensor":
        """Return the predicted mask: the most likely class, or for multilabel masks each class with probability > 0.5.

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
            prediction: the predicted mask or batch of the same shape, integers, without 255.
            classes: the number of classes C.

        Returns:
            int64 counts: (C, C) with true classes as rows and predicted classes as columns. For multilabel masks,
            (C, 2, 2): for each class a matrix with true states as rows and predicted states as columns. State 0 is
            absent, and 1 is present.
        """

    @abstractmethod
    def class_counts(self, confusion: "Tensor") -> ClassCounts:
        """Return the pixel counts of each class from a confusion matrix, see `confusion`."""

    @abstractmethod
    def class_pixels(self, mask: MaskArray) -> npt.NDArray[np.int64]:
        """Count the pixels of each class.

        Args:
            mask: one mask of this task.

        Returns:
            (256,) pixel counts of the mask values. For a multilabel mask, (C,) counts of the pixels with each class.
        """

    @abstractmethod
    def class_region(self, mask: MaskArray, index: int) -> npt.NDArray[np.bool_]:
        """Return the region of one class.

        Args:
            mask: one mask of this task.
            index: the index of the class.

        Returns:
            (H, W) bool, True for pixels that have the class.
        """

    @abstractmethod
    def pixel_weights(self, mask: "Tensor", class_weights: "Tensor") -> "Tensor":
        """Return the loss weight of each pixel, 0 for pixels to ignore.

        Args:
            mask: a mask of this task, or a batch of masks, uint8.
            class_weights: (C,) float32 that sum to 1.

        Returns:
            float32 of the mask's shape: the weight of the pixel's class. For a multilabel mask, the weight of the
            channel's class times C, so that the mean over classes is 1.
        """

    @abstractmethod
    def mask_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the index images of one mask: a single "", or the class names for multilabel masks."""

    @abstractmethod
    def index_masks(self, mask: MaskArray, palette: Palette) -> list[tuple[MaskArray, Palette]]:
        """Split a mask into index images.

        Args:
            mask: one mask of this task.
            palette: one color per class.

        Returns:
            (index image, its palette) pairs in the order of `mask_names`. An index image is (H, W) uint8. A multilabel
            mask has one per class, with the values 0 (absent, black) and 1 (present, in the color of the class).
        """

    @abstractmethod
    def to_display(self, mask: MaskArray) -> MaskArray:
        """Return one (H, W) index mask for display. Its classes are those of `display_classes`.

        The classes of a multilabel mask are drawn over each other, the one with the most pixels first. Pixels without
        a class get the index C. Pixels that are ignored in all channels get 255.

        >>> from pixelwise.data.task import MULTILABEL
        >>> MULTILABEL.to_display(np.array([[[1, 0]], [[1, 1]]], np.uint8)).tolist()
        [[0, 1]]
        """

    @abstractmethod
    def display_background(self, classes: int, background: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of the classes of `display_classes` that are background. Overlays do not color them.

        Args:
            classes: the number of classes C of the mask.
            background: indices of the classes of the mask that are background.

        Returns:
            `background`. For multilabel masks, the index of "none".
        """

    @abstractmethod
    def class_confidence(self, logits: "Tensor") -> list[float | None]:
        """Return the mean probability of each class over the pixels that the predicted mask assigns to it.

        Args:
            logits: (C, H, W) float, any real values.

        Returns:
            C values in [0, 1]. None for a class without pixels.
        """

    @abstractmethod
    def display_classes(self, classes: Sequence[str], palette: Palette) -> tuple[tuple[str, ...], Palette]:
        """Return the class names and the colors of `to_display`. For multilabel masks, "none" (black) is added.

        Args:
            classes: C names, in index order.
            palette: one color per class.
        """

    def fractions(self, mask: MaskArray, classes: Sequence[str]) -> dict[str, float]:
        """Return the fraction of pixels of each class, in [0, 1]. Ignored pixels count in the total.

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
