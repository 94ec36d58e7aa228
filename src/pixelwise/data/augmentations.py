"""Random transforms of training images. A transform is applied to an image and its mask together.

Images and masks are uint8. The model normalizes the pixels later.

To add an augmentation, write a function that builds a `torchvision.transforms.v2.Transform`, and register it:

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
"""A function (image, mask) that returns the transformed image and mask at the training size.

The image is (C, H, W) uint8. The mask is (H, W) uint8, or (classes, H, W) uint8 for multi-label data.
"""


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's RandomResizedCrop with nearest-exact interpolation of masks.

    torchvision uses nearest interpolation, which shifts masks by up to half a pixel.
    """

    def transform(self, inpt: object, params: dict[str, int]) -> object:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        crop = F.crop(inpt, **params)
        return tv_tensors.wrap(F.resize_mask(crop, self.size, InterpolationMode.NEAREST_EXACT), like=inpt)


class ColorJitter(v2.ColorJitter):
    """torchvision's ColorJitter for any number of channels.

    If an image does not have three channels, only brightness and contrast change, in each channel separately.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Image) or inpt.shape[-3] == 3:
            return super().transform(inpt, params)
        gray = tv_tensors.wrap(inpt[:, None], like=inpt)
        return tv_tensors.wrap(super().transform(gray, params)[:, 0], like=inpt)


AugmentationFactory = Callable[..., v2.Transform]
"""A function (image_size, **parameters) that returns a torchvision v2 transform, see `register_augmentation`."""

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
    """Add an augmentation.

    Args:
        name: the name in settings.
        factory: a function (image_size, **parameters) that returns a torchvision v2 transform. The transform is called
            with a `tv_tensors.Image` and a `tv_tensors.Mask`. It must return both with the side image_size in pixels.
        params: the pydantic model of the parameters.
        cacheable: True if the transform makes only a few different images from one image. Then the features of a frozen
            encoder are cached.
        source_scale: side of the images that the transform receives, as a multiple of image_size.

    Returns:
        The factory. Without `factory`, a decorator that registers one.

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
        probability: probability of a left-right flip.
    """

    probability: Probability = 0.5


class CropParams(Params):
    """Parameters of "crop-noflip".

    Attributes:
        min_scale, max_scale: smallest and largest area of a crop, as a fraction of the image's area.
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
    """Parameters of "crop": those of "crop-noflip", and the flip.

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
    """Return a random left-right flip, the augmentation of TensorFlow's tutorial.

    Args:
        image_size: not used: a flip keeps the size.
        probability: see `FlipParams`.
    """
    return v2.RandomHorizontalFlip(probability)


# The source images are larger than image_size, so that a crop of at least 64 % of the area is not enlarged.
@register_augmentation("crop", params=CropFlipParams, source_scale=1.25)
def crop_flip_color(image_size: int, *, min_scale: float, max_scale: float, color: float, flip: float) -> v2.Transform:
    """Return a transform that crops an image, resizes the crop, flips it, and changes its colors.

    Args:
        image_size: side in pixels of the images to return.
        min_scale, max_scale, color, flip: see `CropFlipParams`.
    """
    return v2.Compose([_crop(image_size, min_scale, max_scale), v2.RandomHorizontalFlip(flip), _color_jitter(color)])


@register_augmentation("crop-noflip", params=CropParams, source_scale=1.25)
def crop_color(image_size: int, *, min_scale: float, max_scale: float, color: float) -> v2.Transform:
    """Return the transform "crop" without the flip, for text and for classes that mean left or right.

    Args:
        image_size: side in pixels of the images to return.
        min_scale, max_scale, color: see `CropParams`.
    """
    return v2.Compose([_crop(image_size, min_scale, max_scale), _color_jitter(color)])


def _crop(image_size: int, min_scale: float, max_scale: float) -> v2.Transform:
    return RandomResizedCrop(image_size, scale=(min_scale, max_scale))


def _color_jitter(strength: float) -> v2.Transform:
    return ColorJitter(brightness=strength, contrast=strength, saturation=strength)


def source_size(spec: ComponentSpec, image_size: int) -> int:
    """Return the side of the images that an augmentation receives. Images are cached at this size.

    Args:
        spec: the augmentation, see `ComponentSpec`.
        image_size: side in pixels of the training images.

    Returns:
        The side in pixels.

    Raises:
        ConfigError: See `build_transform`.

    >>> source_size("flip", 128), source_size("crop", 128)
    (128, 160)
    """
    entry, _ = AUGMENTATIONS.parse(spec)
    return round(image_size * float(entry.traits.get("source_scale", 1.0)))


def is_cacheable(spec: ComponentSpec) -> bool:
    """Return True if an augmentation makes only a few different images from one image."""
    entry, _ = AUGMENTATIONS.parse(spec)
    return bool(entry.traits.get("cacheable", False))


def build_transform(spec: ComponentSpec, image_size: int) -> Transform:
    """Build the random transform of an augmentation.

    Args:
        spec: a name in `AUGMENTATIONS`, or {"name": name, parameter: value, …}.
        image_size: side in pixels of the images and masks to return.

    Returns:
        A function (image, mask), see `Transform`. It uses torch's default random generator.

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
    """Return an image and its mask unchanged, see `Transform`."""
    return image, mask


def _apply_to_both(transform: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    new_image, new_mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return new_image.as_subclass(Tensor), new_mask.as_subclass(Tensor)
