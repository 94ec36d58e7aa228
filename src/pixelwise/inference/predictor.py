"""Prediction of masks at the images' own sizes.

This module imports torch when a model computes, so that `Predictor.load` opens an exported file without it.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.data.input_size import View
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.model_location import is_exported, load_model
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig

if TYPE_CHECKING:
    import torch

    from pixelwise.inference.views import ImageView
    from pixelwise.models.ensemble import SegmentationEnsemble
    from pixelwise.models.model import SegmentationModel


class Predictor(ImagePredictor["torch.Tensor"]):
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
        thresholds: class name → how probable the class must be to be predicted, see `threshold_shift`.

    Attributes:
        model: the model.
        device: the torch.device of the model.
        bfloat16: True if the model computes in bfloat16.
        image_view: the view.
        tta: see above.
        shift: what is added to logits for the thresholds, (C, 1, 1) float32, or None.
        options: the arguments that change masks, as text. Empty for the defaults.

    >>> predictor = Predictor.load("runs/pets")  # doctest: +SKIP
    >>> predictor("cat.jpg").overlay().save("cat.png")  # doctest: +SKIP
    >>> predictor("cat.jpg", probabilities=True).confidence.mean()  # doctest: +SKIP
    0.97
    """

    def __init__(
        self,
        model: "SegmentationModel | SegmentationEnsemble",
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        from pixelwise.inference.thresholds import threshold_shift
        from pixelwise.inference.views import make_view
        from pixelwise.runtime.cpu import limit_threads_to_idle_cores
        from pixelwise.runtime.device import resolve_device, use_bfloat16

        self._arguments = (device, precision, view, scale, tta, thresholds)
        self.device = resolve_device(device) if isinstance(device, str) else device
        self.bfloat16 = use_bfloat16(self.device, precision)
        with limit_threads_to_idle_cores():  # the first use starts the measurement
            self.model = model.eval().to(self.device)
        self.tta = tta
        self._is_folded = False
        self.shift = threshold_shift(thresholds or {}, model.config)
        ordered = dict(sorted((thresholds or {}).items()))
        values = {"view": view, "scale": scale, "tta": tta or None, "thresholds": ordered or None}
        self.options = " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        self._use_network(self.model)
        self.image_view: ImageView = make_view(self.forward, model.config, view, scale)

    @staticmethod
    def load(
        run: str | Path | None = None,
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
        thresholds: Mapping[str, float] | None = None,
    ) -> ImagePredictor[Any]:
        """Load the best model of a run, or open an exported file.

        Args:
            run: the run directory, any directory with its model.safetensors, this file under any name, the model.json
                beside it, or the directory of a group of runs. The models of a group predict together. Or a model on
                the Hugging Face hub: "hf://user/name" or "hf://user/name@revision". None for the model for pets (cats
                and dogs) in the package, see `load_bundled_model`. Or an exported file (.onnx, .xml or .pt2).
            device: see `Predictor`. For an exported file, see `ExportedPredictor.load`, as for the other arguments.
            precision: see `Predictor`.
            view: see `Predictor`.
            scale: see `Predictor`.
            tta: see `Predictor`.
            thresholds: see `Predictor`.

        Returns:
            A `Predictor`, or an `ExportedPredictor` for an exported file. torch is imported for a run or a .pt2 file
            only.

        Raises:
            RunError: The directory or file does not exist, its model is missing or damaged, or the hub cannot be
                reached.
            ConfigError: The device is not available, the view is unknown, the scale is invalid, or an exported file
                does not have an option.
        """
        if run is not None and is_exported(run):
            from pixelwise.inference.exported.predictor import ExportedPredictor

            return ExportedPredictor.load(run, str(device), precision, view, scale, tta, thresholds)
        return Predictor.load_run(run, device, precision, view, scale, tta, thresholds)

    @staticmethod
    def load_run(
        run: str | Path | None = None,
        device: "str | torch.device" = "auto",
        precision: str = "auto",
        view: View | None = None,
        scale: float | None = None,
        tta: bool = False,
        thresholds: Mapping[str, float] | None = None,
    ) -> "Predictor":
        """Load the best model of a run, see `load`. An exported file is refused, because it has no model in torch."""
        return Predictor(load_model(run), device, precision, view, scale, tta, thresholds)._fold()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the model and the arguments. The copy chooses its device anew if the argument is "auto"."""
        model = self.model if self.device.type == "cpu" else copy.deepcopy(self.model).cpu()
        return _restore, (model, self._is_folded, self._arguments)

    @property
    def uses_accelerator(self) -> bool:
        """True unless the argument `device` is the CPU."""
        import torch

        return torch.device("cuda" if self._arguments[0] == "auto" else self._arguments[0]).type != "cpu"

    def _fold(self) -> "Predictor":
        """Compute with batch norms folded into convolutions, if the device is a CPU. Return this predictor."""
        self._is_folded = True
        if self.device.type == "cpu":
            from pixelwise.models.fold_batchnorm import FoldedModel

            self._use_network(FoldedModel(self.model))
        return self

    def _use_network(self, network: "Callable[[torch.Tensor], torch.Tensor]") -> None:
        from pixelwise.inference.flip_average import FlipAverage

        self._network = FlipAverage(network, self.model.config) if self.tta else network

    def __repr__(self) -> str:
        """Return the encoder, the number of classes, the size of the input and the device."""
        height, width = self.size
        model = f"{self.model.config.encoder}, {len(self.classes)} classes, {width}x{height}"
        return f"Predictor({', '.join(filter(None, (model, str(self.device), self.options)))})"

    @property
    def config(self) -> ModelConfig:
        """The configuration of the model."""
        return self.model.config

    @property
    def has_fixed_size(self) -> bool:
        """True for the view "whole"."""
        return self.image_view.has_fixed_size

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the logits of an image of this size."""
        return self.image_view.working_size(height, width)

    def fingerprint(self) -> str:
        """Return a hash of the weights, the configuration and the options."""
        from pixelwise.inference.fingerprint import fingerprint

        return fingerprint(self.model, self.options)

    def leave_one_core(self) -> AbstractContextManager[None]:
        """Use one thread less in the block, see `pixelwise.runtime.cpu.leave_one_core`."""
        from pixelwise.runtime.cpu import leave_one_core

        return leave_one_core()

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
        from pixelwise.runtime.cpu import limit_threads_to_idle_cores

        with limit_threads_to_idle_cores():
            return super().predict_batch(images, probabilities)

    def outputs(self, images: Sequence[np.ndarray]) -> "list[torch.Tensor]":
        """Return `logits`."""
        return self.logits(images)

    def make(
        self, image: np.ndarray, output: "torch.Tensor", probabilities: bool, packed: bool, keep_logits: bool
    ) -> Prediction:
        """Return the prediction of an image from its logits, see `ImagePredictor.to_prediction`."""
        from pixelwise.inference.make_prediction import make_prediction

        return make_prediction(image, output, self.config, probabilities, keep_logits, packed, self.shift)

    def logits(self, images: Sequence[np.ndarray]) -> "list[torch.Tensor]":
        """Return the logits of several images.

        Args:
            images: (H, W, 3) uint8 RGB arrays of any sizes, or (H, W, bands) for a multi-band model.

        Returns:
            (C, h, w) float32 of each image on the predictor's device. The height and width are the model's size. For
            the view "tiles", they are those of the image times the scale.
        """
        return self.image_view.logits(images)

    def forward(self, batch: "torch.Tensor") -> "torch.Tensor":
        """Return the logits of a batch of images that already have the model's size.

        Args:
            batch: (N, 3, height, width) uint8 RGB, or (N, bands, height, width) for a multi-band model, on any device.

        Returns:
            (N, C, height, width) float32 on the predictor's device.
        """
        import torch

        from pixelwise.runtime.cpu import limit_threads_to_idle_cores

        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)
        with limit_threads_to_idle_cores(), torch.inference_mode(), autocast:
            return self._network(batch.to(self.device).contiguous(memory_format=torch.channels_last)).float()


def _restore(
    model: "SegmentationModel | SegmentationEnsemble",
    is_folded: bool,
    arguments: "tuple[str | torch.device, str, View | None, float | None, bool, Mapping[str, float] | None]",
) -> Predictor:
    """Return a predictor that was pickled."""
    predictor = Predictor(model, *arguments)
    return predictor._fold() if is_folded else predictor
