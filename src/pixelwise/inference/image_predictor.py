"""The interface and the common part of all predictors: of runs, and of exported files. It does not import torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np

from pixelwise.data.input_size import to_pair
from pixelwise.data.io.image_size import GROUP_BYTES, READ_AHEAD_BYTES, decoded_bytes
from pixelwise.data.task import Task
from pixelwise.errors import DataError, is_out_of_memory
from pixelwise.inference.inputs import ImageInput, UrlImage, open_file, read_input, read_inputs, read_or_error
from pixelwise.inference.orientation import with_orientation
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig
from pixelwise.runtime.threads import batched, prefetch_map

T = TypeVar("T")


class ModelOutput(Protocol):
    """The output of a model for one image, from which its mask is computed. For a run, it is a tensor of logits."""

    @property
    def nbytes(self) -> int:
        """The size in memory in bytes."""
        ...


Output = TypeVar("Output", bound=ModelOutput)


class ImagePredictor(ABC, Generic[Output]):
    """A model that predicts the masks of images at their own sizes.

    A subclass computes the outputs of several images, and makes a prediction of each output. This class reads images,
    forms batches, and handles errors.

    Attributes:
        options: the arguments that change masks, as text. Empty for the defaults.
    """

    options: str = ""

    @property
    @abstractmethod
    def config(self) -> ModelConfig:
        """The configuration of the model."""

    @property
    @abstractmethod
    def has_fixed_size(self) -> bool:
        """True if all images are resized to the model's size, see `ImageView`."""

    @property
    def uses_accelerator(self) -> bool:
        """True if a copy of the predictor on a machine with an accelerator computes on it."""
        return False

    @abstractmethod
    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the logits of an image of this size, see `ImageView`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything that determines the masks of an image."""

    @abstractmethod
    def outputs(self, images: Sequence[np.ndarray]) -> list[Output]:
        """Return the output of the model for each image.

        Args:
            images: (H, W, channels) uint8 arrays of any sizes.
        """

    @abstractmethod
    def make(
        self, image: np.ndarray, output: Output, probabilities: bool, packed: bool, keep_logits: bool
    ) -> Prediction:
        """Return the prediction of an image from its output, see `to_prediction`."""

    def check_needs(self, needs: Collection[str]) -> None:
        """Raise ConfigError if the model cannot compute what the outputs of `predict_folder` need.

        Args:
            needs: "confidence" and "probabilities", if they are needed.
        """

    def leave_one_core(self) -> AbstractContextManager[None]:
        """Use one thread less in the block, because other threads of this process compute too."""
        return nullcontext()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.config.classes

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.config.task

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the model's input: a resized image, or a window of an image."""
        return to_pair(self.config.size)

    @overload
    def __call__(self, source: ImageInput, probabilities: bool = False) -> Prediction: ...

    @overload
    def __call__(self, source: list[Any] | tuple[Any, ...], probabilities: bool = False) -> list[Prediction]: ...

    def __call__(
        self, source: ImageInput | list[Any] | tuple[Any, ...], probabilities: bool = False
    ) -> Prediction | list[Prediction]:
        """Predict the mask of one image or of a list of images.

        Args:
            source: a path, a URL, the bytes of an image file, a file that is open in binary mode, a PIL image, an array
                or a tensor, see `pixelwise.inference.inputs.ImageInput`. Or a list of these.
            probabilities: also return the probability of each class at each pixel.

        Returns:
            The image and its mask. For a list, one prediction per image in order.

        Raises:
            DataError: A file cannot be read, and the message names it. Or the model cannot use this type or shape of
                source.
        """
        if not isinstance(source, list | tuple):
            image = read_input(source, self.config)
            return with_orientation(self.predict_batch([image], probabilities)[0], source)
        predictions: list[Prediction] = []
        for group in batched(read_inputs(source, self.config), 16, lambda image: image.nbytes, GROUP_BYTES):
            predictions += self.predict_batch(group, probabilities)
        return [with_orientation(*pair) for pair in zip(predictions, source, strict=True)]

    def predict_batch(self, images: Sequence[np.ndarray], probabilities: bool = False) -> list[Prediction]:
        """Predict the masks of several images.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model. They are not
                copied.
            probabilities: also return the probability of each class at each pixel.

        Returns:
            The prediction of each image, in order.
        """
        pairs = zip(images, self.outputs(images), strict=True)
        return [self.make(image, output, probabilities, packed=False, keep_logits=True) for image, output in pairs]

    def predict_each(
        self, images: Sequence[np.ndarray], probabilities: bool = False
    ) -> Iterator[Prediction | DataError]:
        """Predict like `predict_batch`, with one prediction in memory at a time.

        If the memory does not suffice for all images at once, each one is computed alone.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model. They are not
                copied.
            probabilities: also return the probability of each class at each pixel.

        Yields:
            The prediction of each image in order, or a DataError if the memory does not suffice for this image. The
            error's message has no file name.
        """
        for image, output in zip(images, self.outputs_each(images), strict=True):
            yield output if isinstance(output, DataError) else self.to_prediction(image, output, probabilities)

    def outputs_each(self, images: Sequence[np.ndarray]) -> Iterator[Output | DataError]:
        """Yield the output of each image in order.

        If the memory does not suffice for all images at once, each one is computed alone.

        Args:
            images: see `outputs`.

        Yields:
            The output, see `outputs`, or a DataError if the memory does not suffice for this image. The error's message
            has no file name.
        """
        batch = self._or_error(images, lambda: self.outputs(images))
        if isinstance(batch, DataError) and len(images) > 1:
            for image in images:
                yield from self.outputs_each([image])
        elif isinstance(batch, DataError):
            yield batch
        else:
            yield from batch

    def to_prediction(
        self,
        image: np.ndarray,
        output: Output,
        probabilities: bool = False,
        packed: bool = False,
        keep_logits: bool = False,
    ) -> Prediction | DataError:
        """Return the prediction of an image from its output.

        Args:
            image: (H, W, channels) uint8.
            output: an item of `outputs` or `outputs_each`.
            probabilities: also return the probability of each class at each pixel.
            packed: True to pack a large multi-label mask, see `resize_to_small_mask`. Not used with `probabilities`.
            keep_logits: True to keep what `Prediction.confidence` is computed from.

        Returns:
            The prediction, or a DataError if the memory does not suffice.
        """
        return self._or_error([image], lambda: self.make(image, output, probabilities, packed, keep_logits))

    def _or_error(self, images: Sequence[np.ndarray], compute: Callable[[], T]) -> T | DataError:
        """Return the result of a function, or a DataError with the size of the first image if memory ran out."""
        try:
            return compute()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        height, width = images[0].shape[:2]
        return DataError(f"not enough memory for {width}x{height} pixels; cut the image into tiles, or make it smaller")

    def iter_predictions(
        self, paths: Iterable[str | Path | UrlImage], batch_size: int = 16, probabilities: bool = False
    ) -> Iterator[tuple[Path | UrlImage, Prediction | DataError]]:
        """Predict many image files in order.

        Threads read the next images while the model computes. They read ahead at most two batches and at most
        `READ_AHEAD_BYTES` of decoded images. No other image is read at the same time as an image that exceeds this
        limit by itself. A batch ends with the image that brings its total size to `GROUP_BYTES`.

        Args:
            paths: image files, also by their URLs. A generator is read no further ahead than needed.
            batch_size: maximum number of images per forward pass.
            probabilities: also return the probability of each class at each pixel.

        Yields:
            Each path with its prediction, or with a DataError if the file cannot be read or the memory does not
            suffice.
        """
        for path, result in self.iter_outputs(paths, batch_size):
            if isinstance(result, DataError):
                yield path, result
                continue
            prediction = self.to_prediction(*result, probabilities)
            del result
            if isinstance(prediction, DataError):
                yield path, DataError(f"{path}: {prediction}")
            else:
                yield path, with_orientation(prediction, path)
            del prediction

    def iter_outputs(
        self, paths: Iterable[str | Path | UrlImage], batch_size: int = 16
    ) -> Iterator[tuple[Path | UrlImage, tuple[np.ndarray, Output] | DataError]]:
        """Compute the outputs of many image files in order, see `iter_predictions`.

        Args:
            paths: image files, also by their URLs. A generator is read no further ahead than needed.
            batch_size: maximum number of images per forward pass.

        Yields:
            Each path with its image and its output, see `to_prediction`, or with a DataError.
        """
        files = (open_file(path) for path in paths)
        to_array = partial(read_or_error, config=self.config)
        read = prefetch_map(to_array, files, 2 * batch_size, self._decoded_bytes, READ_AHEAD_BYTES)
        for group in batched(read, batch_size, lambda item: getattr(item[1], "nbytes", 0), GROUP_BYTES):
            images = [image for _, image in group if isinstance(image, np.ndarray)]
            batch = self.outputs_each(images) if images else iter(())
            for path, image in group:
                if isinstance(image, DataError):
                    yield path, image
                    continue
                output = next(batch)
                yield path, DataError(f"{path}: {output}") if isinstance(output, DataError) else (image, output)
                del image, output
            # Large images must not stay in memory while the next ones are read.
            group.clear()
            del images, batch

    def _decoded_bytes(self, file: Path | UrlImage) -> int:
        return decoded_bytes(file, len(self.config.mean))
