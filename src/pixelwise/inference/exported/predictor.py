"""Predictions with an exported file, by the same functions as with a run."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.input_size import View
from pixelwise.errors import ConfigError, DataError
from pixelwise.inference.exported.exported_file import ExportedFile, ExportedOutput
from pixelwise.inference.exported.open_file import open_exported
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.mask_confidence import mask_confidence
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.files import expand_home

_OF_RUNS = ("bfloat16", "forward", "image_view", "logits", "model", "shift")
"""Attributes of `Predictor` that an exported file cannot have, because they are those of a network in torch."""


class ExportedPredictor(ImagePredictor[ExportedOutput]):
    """Predict masks at the images' own sizes with an exported file. torch is imported for a .pt2 file only.

    Args:
        file: the exported file.

    Attributes:
        file: the exported file.
        device: "cpu".
        tta: False.

    >>> predictor = ExportedPredictor.load("pets.onnx")  # doctest: +SKIP
    >>> predictor("cat.jpg").overlay().save("cat.png")  # doctest: +SKIP
    """

    device = "cpu"
    tta = False

    def __init__(self, file: ExportedFile) -> None:
        self.file = file

    @staticmethod
    def load(
        path: str | Path,
        device: str = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
        thresholds: Mapping[str, float] | None = None,
    ) -> "ExportedPredictor":
        """Open an exported file.

        Args:
            path: the file.
            device: "auto" or "cpu".
            precision: "auto" for that of the file, or "32-true" for a file in float32.
            view: None or "whole".
            scale: None. A file has only the view "whole".
            tta: False.
            thresholds: None. Those of the file are set by its export.

        Raises:
            RunError: The file is missing, damaged, or not an exported file of pixelwise.
            ConfigError: The package that computes it is not installed, or the file has no such option.
        """
        if device not in ("auto", "cpu"):
            raise ConfigError(f"{path}: an exported file predicts on the CPU; leave out `device`, or use the run")
        if thresholds:
            raise ConfigError(
                f"{path}: the thresholds of an exported file are set by its export; leave out `thresholds`, and export "
                "the run with them or use the run"
            )
        given = {"view": view not in (None, "whole"), "scale": scale is not None, "tta": tta}
        for name in (name for name, is_given in given.items() if is_given):
            raise ConfigError(f"{path}: an exported file has no `{name}`; leave it out, or use the run")
        file = open_exported(expand_home(path))
        if precision != "auto" and (precision, file.metadata.precision) != ("32-true", "float32"):
            raise ConfigError(f"{path}: computes in {file.metadata.precision}; leave out `precision`, or use the run")
        return ExportedPredictor(file)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError with the fix for an attribute that only the predictor of a run has."""
            if name in _OF_RUNS:
                raise AttributeError(f"{self.file.path}: an exported file has no `{name}`; load its run for that")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: the copy opens the file again."""
        return ExportedPredictor.load, (self.file.path.absolute(),)

    def __repr__(self) -> str:
        """Return the encoder, the number of classes and the size of the input."""
        height, width = self.size
        return f"ExportedPredictor({self.config.encoder}, {len(self.classes)} classes, {width}x{height})"

    @property
    def config(self) -> ModelConfig:
        """The configuration of the model."""
        return self.file.metadata.model

    @property
    def has_fixed_size(self) -> bool:
        """True: an exported file resizes whole images."""
        return True

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the model's input."""
        return self.size

    def fingerprint(self) -> str:
        """Return a hash of the file."""
        return self.file.digest()

    def check_needs(self, needs: Collection[str]) -> None:
        """Raise ConfigError if probabilities are needed, and the file does not have them."""
        if needs:
            self._check_probabilities()

    def outputs(self, images: Sequence[np.ndarray]) -> list[ExportedOutput]:
        """Return the mask of each image. Each is computed alone, because their sizes differ."""
        return self.file.run_all(images)

    def make(
        self, image: np.ndarray, output: ExportedOutput, probabilities: bool, packed: bool, keep_logits: bool
    ) -> Prediction:
        """Return the prediction of an image from the output of the file, see `ImagePredictor.to_prediction`.

        Raises:
            ConfigError: `probabilities` is True, and the file does not have them.
        """
        likelihood = output.probabilities
        if probabilities and likelihood is None:
            likelihood = self._probabilities(image)
        compute_confidence: Callable[[], np.ndarray] | None = None
        if likelihood is not None and self.file.metadata.thresholds:
            compute_confidence = partial(mask_confidence, self.task, likelihood, output.mask)
        elif keep_logits and likelihood is None:
            compute_confidence = partial(self._confidence, image, output.mask)
        channel = output.mask if output.mask.ndim == 2 else output.mask[0]
        return Prediction.from_config(
            image,
            output.mask,
            self.config,
            nodata_pixels=int(np.count_nonzero(channel == IGNORE_INDEX)) if self.config.band_ranges else 0,
            probabilities=likelihood,
            confidences=[None if math.isnan(value) else value for value in output.confidences.tolist()],
            compute_confidence=compute_confidence,
        )

    def predict_batch(self, images: Sequence[np.ndarray], probabilities: bool = False) -> list[Prediction]:
        """Predict the masks of several images, see `ImagePredictor.predict_batch`.

        Raises:
            ConfigError: `probabilities` is True, and the file does not have them.
        """
        if probabilities:
            self._check_probabilities()  # before the first image is computed
        results = self.file.run_all(images, probabilities)
        pairs = zip(images, results, strict=True)
        return [self.make(image, result, probabilities, packed=False, keep_logits=True) for image, result in pairs]

    def predict_each(
        self, images: Sequence[np.ndarray], probabilities: bool = False
    ) -> Iterator[Prediction | DataError]:
        """Predict one image after the other, see `ImagePredictor.predict_each`.

        With probabilities, each image is computed alone, because probabilities of several images take much memory.

        Raises:
            ConfigError: `probabilities` is True, and the file does not have them.
        """
        if not probabilities:
            yield from super().predict_each(images)
            return
        for image in images:
            yield self._or_error([image], partial(self._with_probabilities, image))

    def _with_probabilities(self, image: np.ndarray) -> Prediction:
        return self.predict_batch([image], probabilities=True)[0]

    def _probabilities(self, image: np.ndarray) -> npt.NDArray[np.float32]:
        self._check_probabilities()
        likelihood = self.file.run(image, probabilities=True).probabilities
        assert likelihood is not None
        return likelihood

    def _confidence(self, image: np.ndarray, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probabilities = self._probabilities(image)
        has_thresholds = bool(self.file.metadata.thresholds)
        return (
            mask_confidence(self.task, probabilities, mask) if has_thresholds else self.task.confidence(probabilities)
        )

    def _check_probabilities(self) -> None:
        if not self.file.has_probabilities:
            raise ConfigError(f"{self.file.path}: has no probabilities; export it with `probabilities`")
