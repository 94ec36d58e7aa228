"""Random changes of an image and its mask, as torchvision v2 transforms. `augmentations` combines them.

Pixels that a transform adds at the border of an image are 127, which is about 0 after normalization. In the mask they
are 255 ("ignore").
"""

import math
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from pixelwise.data.resize import nearest_indices
from pixelwise.palette import IGNORE_INDEX

BORDER_VALUE = 127
"""Value of the pixels that a transform adds to an image. Those of the mask are `IGNORE_INDEX`."""


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's RandomResizedCrop with nearest-exact interpolation of masks.

    torchvision uses nearest interpolation, which shifts masks by up to half a pixel.
    """

    def transform(self, inpt: object, params: dict[str, int]) -> object:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        crop = F.crop(inpt, **params)
        rows, columns = (
            torch.from_numpy(nearest_indices(old, new)) for old, new in zip(crop.shape[-2:], self.size, strict=True)
        )
        return tv_tensors.wrap(crop.as_subclass(torch.Tensor)[..., rows, :][..., columns], like=inpt)


class ColorJitter(v2.ColorJitter):
    """torchvision's ColorJitter for any number of channels.

    If an image does not have three channels, only brightness and contrast change, in each channel separately.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Image) or inpt.shape[-3] == 3:
            return super().transform(inpt, params)
        gray = tv_tensors.wrap(inpt[:, None], like=inpt)
        return tv_tensors.wrap(super().transform(gray, params)[:, 0], like=inpt)


class RandomQuarterTurn(v2.Transform):
    """Turn images by 0, 90, 180 or 270 degrees, each with the same probability. No pixel value changes."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        return {"turns": int(torch.randint(4, (1,)))}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


class RandomGamma(v2.Transform):
    """Raise pixel values, on the scale 0..1, to a random power.

    Args:
        power: the largest power, 1 or more. The smallest is 1/power. Powers are distributed evenly on a logarithmic
            scale.
    """

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def make_params(self, flat_inputs: list[Any]) -> dict[str, float]:
        limit = math.log(self.power)
        return {"gamma": math.exp(torch.empty(1).uniform_(-limit, limit).item())}

    def transform(self, inpt: Any, params: dict[str, float]) -> Any:
        return self._call_kernel(F.adjust_gamma, inpt, **params)


class RandomNoise(v2.Transform):
    """Add normal noise of a random strength to each pixel and channel.

    Args:
        std: the largest standard deviation, on the scale 0..1. Strengths are distributed evenly from 0.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> dict[str, float]:
        return {"sigma": self.std * torch.rand(1).item()}

    def transform(self, inpt: Any, params: dict[str, float]) -> Any:
        return self._call_kernel(F.gaussian_noise, inpt, **params)


def random_blur(sigma: float) -> v2.Transform:
    """Return a Gaussian blur of a random strength. Its kernel reaches 2.5 times `sigma` to each side.

    Args:
        sigma: the largest standard deviation of the kernel in pixels. The smallest is a fifth of it.
    """
    return v2.GaussianBlur(2 * math.ceil(2.5 * sigma) + 1, (sigma / 5, sigma))


def random_rotation(degrees: float) -> v2.Transform:
    """Return a rotation about the center by a random angle.

    Args:
        degrees: the largest angle, in both directions.
    """
    return v2.RandomRotation(degrees, InterpolationMode.BILINEAR, fill=_border())


def random_zoom_out(side: float, probability: float) -> v2.Transform:
    """Return a transform that pads an image by a random width on each side.

    Args:
        side: the largest side of the padded image, as a multiple of that of the image.
        probability: probability that an image is padded.
    """
    return v2.RandomZoomOut(_border(), (1.0, side), probability)


def _border() -> dict[Any, int]:
    """Return the values of added pixels. The dict is a new one, because torchvision changes it."""
    return {tv_tensors.Image: BORDER_VALUE, tv_tensors.Mask: IGNORE_INDEX}
