"""The prediction of an image from its logits."""

import math
from functools import partial
from typing import cast

import numpy as np
from torch import Tensor

from pixelwise.data.resize import resize_mask
from pixelwise.inference.bands import resize_to_confidence, resize_to_mask, resize_to_small_mask
from pixelwise.inference.packed_mask import PackedMask
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX

_CONFIDENCE_PIXELS = 1 << 20
"""Approximate maximum number of logits of a class, on a grid, from which its mean confidence is computed."""


def make_prediction(
    image: np.ndarray,
    logits: Tensor,
    config: ModelConfig,
    probabilities: bool = False,
    keep_logits: bool = False,
    packed: bool = False,
) -> Prediction:
    """Resize logits to the size of an image, and return the prediction.

    Nodata pixels of the image, see `PixelScale.missing`, are 255 ("ignore") in the mask. Their probabilities have no
    meaning.

    Args:
        image: (H, W, channels) uint8.
        logits: (C, h, w) float32.
        config: the configuration of the model.
        probabilities: True to return the probability of each class at each pixel as well.
        keep_logits: True to keep the logits, from which `Prediction.confidence` is computed.
        packed: True to pack a large multi-label mask, see `resize_to_small_mask`. Not used with `probabilities`.

    Returns:
        The prediction.
    """
    task, size = config.task, (image.shape[0], image.shape[1])
    if packed and not probabilities:
        mask, likelihood = resize_to_small_mask(logits, size, task), None
    else:
        mask, likelihood = resize_to_mask(logits, size, task, probabilities, temperature=config.temperature)
    step = max(1, math.ceil(math.sqrt(logits[0].numel() / _CONFIDENCE_PIXELS)))
    sampled = logits[:, ::step, ::step]
    missing = config.pixel_scale.missing(image)
    if missing is not None:
        mask = _ignore(mask, missing)
        small = resize_mask(missing.astype(np.uint8), (sampled.shape[1], sampled.shape[2]))
        sampled = sampled[:, (small == 0).to(sampled.device)].unsqueeze(1)
    confidences = task.class_confidence(sampled / config.temperature)
    compute_confidence = partial(resize_to_confidence, logits, size, task, config.temperature)
    return Prediction.from_config(
        image,
        mask,
        config,
        nodata_pixels=0 if missing is None else int(np.count_nonzero(missing)),
        probabilities=likelihood,
        confidences=confidences,
        compute_confidence=compute_confidence if keep_logits else None,
    )


def _ignore(mask: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return a mask with 255 at the pixels for which `missing`, (H, W) bool, is True. An array is changed in place."""
    packed = cast(object, mask)
    if isinstance(packed, PackedMask):
        return cast(np.ndarray, packed.with_ignored(missing))
    mask[..., missing] = IGNORE_INDEX
    return mask
