"""Prediction of masks at the images' own sizes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch

from pixelwise.data.input_size import View, to_pair
from pixelwise.data.io.image_size import GROUP_BYTES, READ_AHEAD_BYTES, decoded_bytes
from pixelwise.data.task import Task
from pixelwise.errors import DataError, is_out_of_memory
from pixelwise.inference.flip_average import FlipAverage
from pixelwise.inference.inputs import ImageInput, UrlImage, open_file, read_input, read_inputs, read_or_error
from pixelwise.inference.make_prediction import make_prediction
from pixelwise.inference.model_location import load_model
from pixelwise.inference.orientation import with_orientation
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.views import ImageView, make_view
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.fold_batchnorm import FoldedModel
from pixelwise.models.model import SegmentationModel
from pixelwise.runtime.cpu import limit_threads_to_idle_cores
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.threads import batched, prefetch_map

T = TypeVar("T")


class Predictor:
    """Predict masks at the images' own sizes with a trained model.

    On a CPU, a call uses at most as many threads as cores are idle, see `limit_threads_to_idle_cores`.

    Args:
        model: the model. It is switched to evaluation mode and moved to the device.
        device: "auto" (the first accelerator, else the CPU), a device name such as "cuda:1", or a torch.device.
        precision: "bf16-mixed", "32-true", or "auto" for bfloat16 if the hardware computes it faster than float32.
            Masks of the two precisions differ in a few pixels along class boundaries.
        view: "whole" to resize whole images to the model's input, "tiles" for overlapping windows of this size, or None
            for the view of the training.
        scale: working pixels per image pixel for the view "tiles", see `ModelConfig`. None for the scale of the
            training images.
        tta: average the predictions of each image and of its mirror image ("test-time augmentation").

    Attributes:
        model: the model.
        device: the torch.device of the model.
        bfloat16: True if the model computes in bfloat16.
        image_view: the view.
        tta: see above.
        options: the arguments that change masks, as text. Empty for the defaults.

    >>> predictor = Predictor.load("runs/pets")  # doctest: +SKIP
    >>> predictor("cat.jpg").overlay().save("cat.png")  # doctest: +SKIP
    >>> predictor("cat.jpg", probabilities=True).confidence.mean()  # doctest: +SKIP
    0.97
    """

    def __init__(
        self,
        model: SegmentationModel | SegmentationEnsemble,
        device: str | torch.device = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
    ) -> None:
        self.device = resolve_device(device) if isinstance(device, str) else device
        self.bfloat16 = use_bfloat16(self.device, precision)
        with limit_threads_to_idle_cores():  # the first use starts the measurement
            self.model = model.eval().to(self.device)
        self.tta = tta
        values = {"view": view, "scale": scale, "tta": tta or None}
        self.options = " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        self._use_network(self.model)
        self.image_view: ImageView = make_view(self.forward, model.config, view, scale)

    @staticmethod
    def load(
        run: str | Path,
        device: str | torch.device = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
    ) -> "Predictor":
        """Load the best model of a run.

        Args:
            run: the run directory, any directory with its model.safetensors, this file under any name, the model.json
                beside it, or the directory of a group of runs. The models of a group predict together.
            device: see `Predictor`.
            precision: see `Predictor`.
            view: see `Predictor`.
            scale: see `Predictor`.
            tta: see `Predictor`.

        Raises:
            RunError: The directory or file does not exist, or its model is missing or damaged.
            ConfigError: The device is not available, the view is unknown, or the scale is invalid.
        """
        predictor = Predictor(load_model(run), device, precision, view, scale, tta)
        if predictor.device.type == "cpu":
            predictor._use_network(FoldedModel(predictor.model))
        return predictor

    def _use_network(self, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._network = FlipAverage(network, self.model.config) if self.tta else network

    def __repr__(self) -> str:
        """Return the encoder, the number of classes, the size of the input and the device."""
        height, width = self.size
        model = f"{self.model.config.encoder}, {len(self.classes)} classes, {width}x{height}"
        return f"Predictor({', '.join(filter(None, (model, str(self.device), self.options)))})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.model.config.classes

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.model.config.task

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the model's input: a resized image, or a window of an image."""
        return to_pair(self.model.config.size)

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
            return with_orientation(self.predict_batch([self._to_array(source)], probabilities)[0], source)
        predictions: list[Prediction] = []
        for group in batched(read_inputs(source, self.model.config), 16, lambda image: image.nbytes, GROUP_BYTES):
            predictions += self.predict_batch(group, probabilities)
        return [with_orientation(*pair) for pair in zip(predictions, source, strict=True)]

    @limit_threads_to_idle_cores()
    def predict_batch(self, images: Sequence[np.ndarray], probabilities: bool = False) -> list[Prediction]:
        """Predict the masks of several images. A model of whole images takes them in one forward pass.

        The logits are resized to the image's size by bilinear interpolation, before the mask is computed from them. So
        class boundaries stay smooth.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model. They are not
                copied.
            probabilities: also return the probability of each class at each pixel.

        Returns:
            The prediction of each image, in order.
        """
        pairs = zip(images, self.logits(images), strict=True)
        config = self.model.config
        return [make_prediction(image, logits, config, probabilities, keep_logits=True) for image, logits in pairs]

    def predict_each(
        self, images: Sequence[np.ndarray], probabilities: bool = False
    ) -> Iterator[Prediction | DataError]:
        """Predict like `predict_batch`, with one prediction in memory at a time.

        If the memory does not suffice for all images at once, each one gets its own forward pass.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model. They are not
                copied.
            probabilities: also return the probability of each class at each pixel.

        Yields:
            The prediction of each image in order, or a DataError if the memory does not suffice for this image. The
            error's message has no file name.
        """
        for image, logits in zip(images, self.logits_each(images), strict=True):
            yield logits if isinstance(logits, DataError) else self.to_prediction(image, logits, probabilities)

    def logits_each(self, images: Sequence[np.ndarray]) -> Iterator[torch.Tensor | DataError]:
        """Yield the logits of each image in order.

        If the memory does not suffice for all images at once, each one gets its own forward pass.

        Args:
            images: see `logits`.

        Yields:
            (C, h, w) float32 on the predictor's device, see `logits`, or a DataError if the memory does not suffice for
            this image. The error's message has no file name.
        """
        batch = self._or_error(images, lambda: self.logits(images))
        if isinstance(batch, DataError) and len(images) > 1:
            for image in images:
                yield from self.logits_each([image])
        elif isinstance(batch, DataError):
            yield batch
        else:
            yield from batch

    def to_prediction(
        self,
        image: np.ndarray,
        logits: torch.Tensor,
        probabilities: bool = False,
        packed: bool = False,
        keep_logits: bool = False,
    ) -> Prediction | DataError:
        """Return the prediction of an image from its logits.

        Args:
            image: (H, W, channels) uint8.
            logits: (C, h, w) float32, an item of `logits` or `logits_each`.
            probabilities: also return the probability of each class at each pixel.
            packed: True to pack a large multi-label mask, see `resize_to_small_mask`. Not used with `probabilities`.
            keep_logits: True to keep the logits, from which `Prediction.confidence` is computed.

        Returns:
            The prediction, or a DataError if the memory does not suffice.
        """
        config = self.model.config
        return self._or_error(
            [image], lambda: make_prediction(image, logits, config, probabilities, keep_logits, packed)
        )

    def _or_error(self, images: Sequence[np.ndarray], compute: Callable[[], T]) -> T | DataError:
        """Return the result of a function, or a DataError with the size of the first image if memory ran out."""
        try:
            return compute()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        height, width = images[0].shape[:2]
        return DataError(f"not enough memory for {width}x{height} pixels; cut the image into tiles, or make it smaller")

    def logits(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Return the logits of several images.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model.

        Returns:
            (C, h, w) float32 of each image on the predictor's device. The height and width are the model's size. For
            the view "tiles", they are those of the image times the scale.
        """
        return self.image_view.logits(images)

    @limit_threads_to_idle_cores()
    @torch.inference_mode()
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of images that already have the model's size.

        Args:
            batch: (N, 3, height, width) uint8 RGB, or (N, bands, height, width) for a multi-band model, on any device.

        Returns:
            (N, C, height, width) float32 on the predictor's device.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self._network(batch.to(self.device).contiguous(memory_format=torch.channels_last)).float()

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
        for path, result in self.iter_logits(paths, batch_size):
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

    def iter_logits(
        self, paths: Iterable[str | Path | UrlImage], batch_size: int = 16
    ) -> Iterator[tuple[Path | UrlImage, tuple[np.ndarray, torch.Tensor] | DataError]]:
        """Compute the logits of many image files in order, see `iter_predictions`.

        Args:
            paths: image files, also by their URLs. A generator is read no further ahead than needed.
            batch_size: maximum number of images per forward pass.

        Yields:
            Each path with its image and its logits, see `to_prediction`, or with a DataError.
        """
        files = (open_file(path) for path in paths)
        to_array = partial(read_or_error, config=self.model.config)
        read = prefetch_map(to_array, files, 2 * batch_size, self._decoded_bytes, READ_AHEAD_BYTES)
        for group in batched(read, batch_size, lambda item: getattr(item[1], "nbytes", 0), GROUP_BYTES):
            images = [image for _, image in group if isinstance(image, np.ndarray)]
            batch = self.logits_each(images) if images else iter(())
            for path, image in group:
                if isinstance(image, DataError):
                    yield path, image
                    continue
                logits = next(batch)
                yield path, DataError(f"{path}: {logits}") if isinstance(logits, DataError) else (image, logits)
                del image, logits
            # Large images must not stay in memory while the next ones are read.
            group.clear()
            del images, batch

    def _to_array(self, source: ImageInput) -> np.ndarray:
        return read_input(source, self.model.config)

    def _decoded_bytes(self, file: Path | UrlImage) -> int:
        return decoded_bytes(file, len(self.model.config.mean))
