"""The whole job as a torch module, from an image to its mask. Its operators become those of a torch.export program."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.data.input_size import to_pair
from pixelwise.data.task import MULTILABEL
from pixelwise.inference.exported.exported_file import CONFIDENCE, MASK, PROBABILITIES
from pixelwise.inference.make_prediction import CONFIDENCE_PIXELS
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX


class WholeJob(nn.Module):
    """Compute the mask of an image of any size with a network of one size.

    The steps are those of `ImagePredictor` and `make_prediction`, for one image as a tensor.

    Args:
        network: a function of (1, channels, height, width) uint8 that returns logits (1, C, height, width).
        config: the configuration of the model.
        probabilities: True to return the probabilities too.
        shift: (C, 1, 1) float32, what is added to logits for thresholds of the classes, see `threshold_shift`, or None.
    """

    shift: Tensor | None

    def __init__(
        self, network: nn.Module, config: ModelConfig, probabilities: bool, shift: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.network, self.config, self.probabilities = network, config, probabilities

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name.

        Args:
            image: (1, H, W, channels) uint8 of any size.

        Returns:
            `MASK`, (1, H, W) or for a multi-label model (1, C, H, W) uint8, `CONFIDENCE`, (C,) float32, NaN for a class
            without pixels, and `PROBABILITIES`, (1, C, H, W) float32, if requested.
        """
        size = (image.shape[1], image.shape[2])
        planes = image.permute(0, 3, 1, 2)
        logits = self.network(F.interpolate(planes, size=to_pair(self.config.size), mode="bilinear", antialias=True))
        missing = image.amax(3) == 0 if self.config.band_ranges else None
        shifted = logits if self.shift is None else logits + self.shift
        outputs = {MASK: self._mask(shifted, size, missing), CONFIDENCE: self._confidence(logits, shifted, missing)}
        if self.probabilities:
            resized = _resize(logits / self.config.temperature, size)
            outputs[PROBABILITIES] = self.config.task.activate(resized)
        return outputs

    def _mask(self, logits: Tensor, size: tuple[int, int], missing: Tensor | None) -> Tensor:
        """Return the mask. Classes are resized one after the other, so that the memory does not grow with them."""
        classes = range(logits.shape[1])
        if self.config.task is MULTILABEL:
            mask = torch.cat([(_resize(logits[:, i : i + 1], size) > 0).to(torch.uint8) for i in classes], dim=1)
            return mask if missing is None else mask.masked_fill(missing[:, None], IGNORE_INDEX)
        highest = _resize(logits[:, :1], size)
        mask = torch.zeros_like(highest, dtype=torch.uint8)
        for index in classes[1:]:
            value = _resize(logits[:, index : index + 1], size)
            mask = mask.masked_fill(value > highest, index)
            highest = torch.maximum(highest, value)
        return mask[:, 0] if missing is None else mask[:, 0].masked_fill(missing, IGNORE_INDEX)

    def _confidence(self, logits: Tensor, shifted: Tensor, missing: Tensor | None) -> Tensor:
        """Return the mean probability of each class over its pixels at the size of the logits."""
        step = max(1, math.ceil(math.sqrt(logits[0, 0].numel() / CONFIDENCE_PIXELS)))
        sampled, shifted = (each[:, :, ::step, ::step] for each in (logits, shifted))
        probabilities = self.config.task.activate(sampled / self.config.temperature)
        if self.config.task is MULTILABEL:
            present = shifted > 0
        else:
            indices = torch.arange(sampled.shape[1])[:, None, None]
            present = shifted.argmax(1, keepdim=True) == indices
        if missing is not None:
            present = present & ~_resize_nearest(missing, (sampled.shape[2], sampled.shape[3]))[:, None]
        weights = present.to(probabilities.dtype)
        return (probabilities * weights).sum((0, 2, 3)) / weights.sum((0, 2, 3))  # 0 / 0 is NaN


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (1, channels, h, w) resized to (1, channels, H, W) without antialiasing."""
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def _resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (1, H, W) resized to (1, h, w), see `nearest_indices`."""
    for axis, new in enumerate(size, 1):
        index = (2 * torch.arange(new) + 1) * values.shape[axis] // (2 * new)
        values = values.index_select(axis, index)
    return values
