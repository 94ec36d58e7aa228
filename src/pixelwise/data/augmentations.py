"""Random transforms of training images, each applied to image and mask together.

Images and masks are uint8. The model normalizes the pixels.

To add an augmentation, write a function that builds a `torchvision.transforms.v2.Transform` and register it:

>>> from pixelwise.registry import Params
>>> class RotateParams(Params):
...     degrees: float = 10.0
>>> @register_augmentation("rotate", params=RotateParams)
... def rotate(image_size: int, *, degrees: float) -> v2.Transform:
...     return v2.RandomRotation(degrees)
>>> transform = build_transform({"name": "rotate", "degrees": 30}, 128)
>>> AUGMENTATIONS.unregister("rotate")
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, overload

from pydantic import Field, model_validator
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from pixelwise.registry import ComponentSpec, Params, Registry

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A function of an image (C, H, W) uint8 and its mask, (H, W) uint8 or, multi-label, (classes, H, W) uint8.

It returns both in the model's size.
"""


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's class with nearest-exact interpolation of masks. Its own shifts masks by half a pixel."""

    def transform(self, inpt: object, params: dict[str, int]) -> object:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        crop = F.crop(inpt, **params)
        return tv_tensors.wrap(F.resize_mask(crop, self.size, InterpolationMode.NEAREST_EXACT), like=inpt)


class ColorJitter(v2.ColorJitter):
    """torchvision's class, extended to images without three channels: brightness and contrast of each band change."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Image) or inpt.shape[-3] == 3:
            return super().transform(inpt, params)
        gray = tv_tensors.wrap(inpt[:, None], like=inpt)
        return tv_tensors.wrap(super().transform(gray, params)[:, 0], like=inpt)


AugmentationFactory = Callable[..., v2.Transform]
"""Called with the side in pixels of the images to return, and the parameters as keyword arguments."""

AUGMENTATIONS: Registry[AugmentationFactory] = Registry("augmentation")


@overload
def register_augmentation(
    name: str, factory: AugmentationFactory, *, params: type[Params] = ..., cacheable: bool = ...,
    source_scale: float = ...,
) -> AugmentationFactory: ...  # fmt: skip
@overload
def register_augmentation(
    name: str, factory: None = None, *, params: type[Params] = ..., cacheable: bool = ..., source_scale: float = ...
) -> Callable[[AugmentationFactory], AugmentationFactory]: ...
def register_augmentation(
    name: str,
    factory: AugmentationFactory | None = None,
    *,
    params: type[Params] = Params,
    cacheable: bool = False,
    source_scale: float = 1.0,
) -> AugmentationFactory | Callable[[AugmentationFactory], AugmentationFactory]:
    """Add an augmentation. Without `factory`, return a decorator that adds one.

    Args:
        name: the name in settings.
        factory: a function (image_size, **parameters) that returns a torchvision v2 transform. The transform is called
            with a `tv_tensors.Image` and a `tv_tensors.Mask`, and must give both the size image_size x image_size.
        params: the model of the parameters.
        cacheable: True if few different images result from one image, so that a frozen encoder's features of them can
            be kept.
        source_scale: side of the images that the transform receives, as a multiple of image_size.

    Raises:
        ConfigError: The name is taken.
    """
    if factory is None:
        return AUGMENTATIONS.register(name, params=params, cacheable=cacheable, source_scale=source_scale)
    return AUGMENTATIONS.register(name, factory, params=params, cacheable=cacheable, source_scale=source_scale)


Probability = Annotated[float, Field(ge=0, le=1)]
AreaFraction = Annotated[float, Field(gt=0, le=1)]


class FlipParams(Params):
    """Parameters of "flip".

    Attributes:
        probability: probability of a flip.
    """

    probability: Probability = 0.5


class CropParams(Params):
    """Parameters of "crop-noflip".

    Attributes:
        min_scale, max_scale: smallest and largest crop, as fractions of the image's area.
        color: largest relative change of brightness, contrast and saturation.
    """

    min_scale: AreaFraction = 0.6
    max_scale: AreaFraction = 1.0
    color: Probability = 0.3

    @model_validator(mode="after")
    def _check_order(self) -> "CropParams":
        if self.min_scale > self.max_scale:
            raise ValueError("min_scale must not exceed max_scale")
        return self


class CropFlipParams(CropParams):
    """Parameters of "crop".

    Attributes:
        flip: probability of a left-right flip.
    """

    flip: Probability = 0.5


@register_augmentation("none", cacheable=True)
def no_augmentation(image_size: int) -> v2.Transform:
    """Return a transform that changes nothing."""
    return v2.Identity()


@register_augmentation("flip", params=FlipParams, cacheable=True)
def flip(image_size: int, *, probability: float) -> v2.Transform:
    """Return the augmentation of TensorFlow's tutorial: a random left-right flip."""
    return v2.RandomHorizontalFlip(probability)


# Crops are taken from larger images, so that a small crop is not magnified.
@register_augmentation("crop", params=CropFlipParams, source_scale=1.25)
def crop_flip_color(image_size: int, *, min_scale: float, max_scale: float, color: float, flip: float) -> v2.Transform:
    """Return a transform that crops, resizes to image_size x image_size, flips, and changes colors."""
    return v2.Compose([_crop(image_size, min_scale, max_scale), v2.RandomHorizontalFlip(flip), _color_jitter(color)])


@register_augmentation("crop-noflip", params=CropParams, source_scale=1.25)
def crop_color(image_size: int, *, min_scale: float, max_scale: float, color: float) -> v2.Transform:
    """Return "crop" without the flip, for text and for classes that differ by left and right."""
    return v2.Compose([_crop(image_size, min_scale, max_scale), _color_jitter(color)])


def _crop(image_size: int, min_scale: float, max_scale: float) -> v2.Transform:
    return RandomResizedCrop(image_size, scale=(min_scale, max_scale))


def _color_jitter(strength: float) -> v2.Transform:
    return ColorJitter(brightness=strength, contrast=strength, saturation=strength)


def source_size(spec: ComponentSpec, image_size: int) -> int:
    """Return the side in pixels at which images are kept for an augmentation.

    Args:
        spec: the augmentation, see `ComponentSpec`.
        image_size: side in pixels of the model's images.

    >>> source_size("flip", 128), source_size("crop", 128)
    (128, 160)
    """
    entry, _ = AUGMENTATIONS.parse(spec)
    return round(image_size * float(entry.traits.get("source_scale", 1.0)))


def is_cacheable(spec: ComponentSpec) -> bool:
    """Return True if an augmentation makes few different images from one image."""
    entry, _ = AUGMENTATIONS.parse(spec)
    return bool(entry.traits.get("cacheable", False))


def build_transform(spec: ComponentSpec, image_size: int) -> Transform:
    """Build the random transform of an augmentation.

    Args:
        spec: a name in `AUGMENTATIONS`, or {"name": name, parameter: value, …}.
        image_size: side in pixels of the images and masks to return.

    Returns:
        A function of image and mask. It draws from torch's default random generator.

    Raises:
        ConfigError: The name or a parameter is unknown, or a value is out of range.

    >>> import torch
    >>> image, mask = torch.zeros(3, 160, 160, dtype=torch.uint8), torch.zeros(160, 160, dtype=torch.uint8)
    >>> image, mask = build_transform("crop", 128)(image, mask)
    >>> tuple(image.shape), tuple(mask.shape)
    ((3, 128, 128), (128, 128))
    """
    transform = AUGMENTATIONS.build(spec)(image_size)
    return identity if isinstance(transform, v2.Identity) else partial(_apply_to_both, transform)


def identity(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and mask unchanged."""
    return image, mask


def _apply_to_both(transform: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    new_image, new_mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return new_image.as_subclass(Tensor), new_mask.as_subclass(Tensor)
