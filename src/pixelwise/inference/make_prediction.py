"""The prediction of an image from its logits."""

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
from torch import Tensor

from pixelwise.data.resize import resize_mask
from pixelwise.inference.bands import resize_to_confidence, resize_to_mask, resize_to_small_mask
from pixelwise.inference.mask_confidence import mask_confidence
from pixelwise.inference.packed_mask import PackedMask
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.thresholds import add_shift, class_confidence, resized_confidence
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX

CONFIDENCE_PIXELS = 1 << 20
"""Approximate maximum number of logits of a class, on a grid, from which its mean confidence is computed."""


def make_prediction(
    image: np.ndarray,
    logits: Tensor,
    config: ModelConfig,
    probabilities: bool = False,
    keep_logits: bool = False,
    packed: bool = False,
    shift: Tensor | None = None,
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
        shift: thresholds of the classes, see `threshold_shift`, or None.

    Returns:
        The prediction.
    """
    task, size = config.task, (image.shape[0], image.shape[1])
    likelihood: np.ndarray | None = None
    if shift is not None and probabilities:
        likelihood = resize_to_mask(logits, size, task, True, temperature=config.temperature)[1]
        mask = resize_to_mask(add_shift(logits, shift), size, task)[0]
    elif packed and not probabilities:
        mask = resize_to_small_mask(add_shift(logits, shift), size, task)
    elif shift is not None:
        mask = resize_to_mask(add_shift(logits, shift), size, task)[0]
    else:
        mask, likelihood = resize_to_mask(logits, size, task, probabilities, temperature=config.temperature)
    step = max(1, math.ceil(math.sqrt(logits[0].numel() / CONFIDENCE_PIXELS)))
    sampled = logits[:, ::step, ::step]
    missing = config.pixel_scale.missing(image)
    if missing is not None:
        mask = _ignore(mask, missing)
        small = resize_mask(missing.astype(np.uint8), (sampled.shape[1], sampled.shape[2]))
        sampled = sampled[:, (small == 0).to(sampled.device)].unsqueeze(1)
    confidences = class_confidence(task, sampled, config.temperature, shift)
    compute_confidence: Callable[[], np.ndarray] | None = None
    if likelihood is not None:
        compute_confidence = None if shift is None else partial(mask_confidence, task, likelihood, mask)
    elif keep_logits and shift is None:
        compute_confidence = partial(resize_to_confidence, logits, size, task, config.temperature)
    elif keep_logits and shift is not None:
        compute_confidence = partial(resized_confidence, logits, size, task, config.temperature, shift)
    return Prediction.from_config(
        image,
        mask,
        config,
        nodata_pixels=0 if missing is None else int(np.count_nonzero(missing)),
        probabilities=likelihood,
        confidences=confidences,
        compute_confidence=compute_confidence,
    )


def _ignore(mask: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return a mask with 255 at the pixels for which `missing`, (H, W) bool, is True. An array is changed in place."""
    packed = cast(object, mask)
    if isinstance(packed, PackedMask):
        return cast(np.ndarray, packed.with_ignored(missing))
    mask[..., missing] = IGNORE_INDEX
    return mask
