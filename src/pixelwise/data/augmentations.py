"""Random transforms of training images. A transform is applied to an image and its mask together.

Images and masks are uint8. The model normalizes the pixels later.

To add an augmentation, write a function that builds a `torchvision.transforms.v2.Transform`, and register it:

>>> from pixelwise.registry import Params
>>> class RotateParams(Params):
...     degrees: float = 10.0
>>> @register_augmentation("rotate", params=RotateParams)
... def rotate(image_size: int | tuple[int, int], *, degrees: float) -> v2.Transform:
...     return v2.RandomRotation(degrees)
>>> transform = build_transform({"name": "rotate", "degrees": 30}, 128)
>>> AUGMENTATIONS.unregister("rotate")
"""

from collections.abc import Callable
from functools import partial
from typing import Any, overload

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise.data.augmentation_params import CropFlipParams, CropParams, FlipParams
from pixelwise.data.image_versions import RandomFlip, Unchanged
from pixelwise.data.input_size import InputSize, map_sides, to_pair, window_side
from pixelwise.data.transforms import (
    ColorJitter,
    RandomGamma,
    RandomNoise,
    RandomQuarterTurn,
    RandomResizedCrop,
    random_blur,
    random_rotation,
    random_zoom_out,
)
from pixelwise.registry import ComponentSpec, Params, Registry

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A function (image, mask) that returns the transformed image and mask at the training size.

The image is (C, H, W) uint8. The mask is (H, W) uint8, or (classes, H, W) uint8 for multi-label data.
"""


AugmentationFactory = Callable[..., v2.Transform]
"""A function (image_size, **parameters) that returns a torchvision v2 transform, see `register_augmentation`."""

AUGMENTATIONS: Registry[AugmentationFactory] = Registry("augmentation")


@overload
def register_augmentation(
    name: str, factory: AugmentationFactory, *, params: type[Params] = ..., cacheable: bool = ...,
    source_scale: float = ...,
) -> AugmentationFactory:  # fmt: skip
    """Add an augmentation, and return its factory."""


@overload
def register_augmentation(
    name: str, factory: None = None, *, params: type[Params] = ..., cacheable: bool = ..., source_scale: float = ...
) -> Callable[[AugmentationFactory], AugmentationFactory]:
    """Return a decorator that adds the augmentation of a factory."""


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
            with a `tv_tensors.Image` and a `tv_tensors.Mask`. It must return both at image_size: the side of a square
            in pixels, or a height and a width. None returns a decorator.
        params: the pydantic model of the parameters.
        cacheable: True if the transform makes only a few different images from one image. Then the features of a frozen
            encoder are cached.
        source_scale: size of the images that the transform receives, as a multiple of image_size.

    Returns:
        The factory, or the decorator.

    Raises:
        ConfigError: The name is taken.
    """
    if factory is None:
        return AUGMENTATIONS.register(name, params=params, cacheable=cacheable, source_scale=source_scale)
    return AUGMENTATIONS.register(name, factory, params=params, cacheable=cacheable, source_scale=source_scale)


@register_augmentation("none", cacheable=True)
def no_augmentation(image_size: InputSize) -> v2.Transform:
    """Return a transform that changes nothing."""
    return v2.Identity()


@register_augmentation("flip", params=FlipParams, cacheable=True)
def flip(image_size: InputSize, *, probability: float) -> v2.Transform:
    """Return a random left-right flip, the augmentation of TensorFlow's tutorial.

    Args:
        image_size: not used: a flip keeps the size.
        probability: see `FlipParams`.
    """
    return v2.RandomHorizontalFlip(probability)


# The source images are larger than image_size, so that a crop of at least 64 % of the area is not enlarged.
@register_augmentation("crop", params=CropFlipParams, source_scale=1.25)
def crop(image_size: InputSize, **parameters: Any) -> v2.Transform:
    """Return a transform that crops an image, resizes the crop, flips it, and changes its colors.

    Args:
        image_size: side of the images to return in pixels, or their height and width.
        parameters: the fields of `CropFlipParams`. Some of them also turn, rotate, zoom out, blur or add noise.
    """
    params = CropFlipParams.model_construct(**parameters)
    flips: list[v2.Transform] = [v2.RandomHorizontalFlip(params.flip)]
    if params.vertical_flip:
        flips.append(v2.RandomVerticalFlip(params.vertical_flip))
    return v2.Compose([*_geometry(image_size, params), *flips, *_intensity(params)])


@register_augmentation("crop-noflip", params=CropParams, source_scale=1.25)
def crop_without_flips(image_size: InputSize, **parameters: Any) -> v2.Transform:
    """Return the transform "crop" without flips, for text and for classes that mean left or right.

    Args:
        image_size: side of the images to return in pixels, or their height and width.
        parameters: the fields of `CropParams`.
    """
    params = CropParams.model_construct(**parameters)
    return v2.Compose([*_geometry(image_size, params), *_intensity(params)])


def _geometry(image_size: InputSize, params: CropParams) -> list[v2.Transform]:
    """Return the transforms that move pixels, in the order they run. The last one returns images of image_size."""
    transforms: list[v2.Transform] = [RandomQuarterTurn()] if params.quarter_turns else []
    if params.rotate and params.rotate_probability:
        transforms.append(v2.RandomApply([random_rotation(params.rotate)], params.rotate_probability))
    if params.zoom_out:
        transforms.append(random_zoom_out(params.zoom_out_side, params.zoom_out))
    height, width = to_pair(image_size)
    aspect = width / height  # crops have about the ratio of the image, so that they are stretched little
    ratio = (3 / 4 * aspect, 4 / 3 * aspect)
    return [*transforms, RandomResizedCrop((height, width), (params.min_scale, params.max_scale), ratio)]


def _intensity(params: CropParams) -> list[v2.Transform]:
    """Return the transforms that change pixel values, in the order they run."""
    strength = params.color
    transforms: list[v2.Transform] = [ColorJitter(brightness=strength, contrast=strength, saturation=strength)]
    if params.gamma:
        transforms.append(v2.RandomApply([RandomGamma(params.gamma_power)], params.gamma))
    if params.blur:
        transforms.append(v2.RandomApply([random_blur(params.blur_sigma)], params.blur))
    if params.noise:
        transforms.append(v2.RandomApply([RandomNoise(params.noise_std)], params.noise))
    return transforms


@overload
def source_size(spec: ComponentSpec, image_size: int) -> int:
    """Return the side of the square images that an augmentation receives."""


@overload
def source_size(spec: ComponentSpec, image_size: InputSize) -> InputSize:
    """Return the size of the images that an augmentation receives."""


def source_size(spec: ComponentSpec, image_size: InputSize) -> InputSize:
    """Return the size of the images that an augmentation receives. Images are cached at this size.

    Args:
        spec: the augmentation, see `ComponentSpec`.
        image_size: side of the training images in pixels, or their height and width.

    Returns:
        The side in pixels if `image_size` is a side, else the height and width.

    Raises:
        ConfigError: See `build_transform`.

    >>> source_size("flip", 128), source_size("crop", 128)
    (128, 160)
    """
    scale = _source_scale(spec)
    return map_sides(lambda side: round(side * scale), image_size)


def _source_scale(spec: ComponentSpec) -> float:
    entry, _ = AUGMENTATIONS.parse(spec)
    return float(entry.traits.get("source_scale", 1.0))


def window_size(spec: ComponentSpec, image_size: InputSize) -> int:
    """Return the side of the windows that an augmentation receives in the view "tiles".

    A random crop of the window is resized to `image_size`, which changes the scale at random. A window is larger than
    `image_size` by the square root of the factor of `source_size`. So on average, objects have their size at the
    working scale.

    Args:
        spec: the augmentation, see `ComponentSpec`.
        image_size: side of the training images in pixels. They are square.

    Returns:
        The side in working pixels.

    Raises:
        ConfigError: See `build_transform`.

    >>> window_size("flip", 128), window_size("crop", 128)
    (128, 143)
    """
    return round(window_side(image_size) * _source_scale(spec) ** 0.5)


def is_cacheable(spec: ComponentSpec) -> bool:
    """Return True if an augmentation makes only a few different images from one image."""
    entry, _ = AUGMENTATIONS.parse(spec)
    return bool(entry.traits.get("cacheable", False))


def build_transform(spec: ComponentSpec, image_size: InputSize) -> Transform:
    """Build the random transform of an augmentation.

    Args:
        spec: a name in `AUGMENTATIONS`, or {"name": name, parameter: value, …}.
        image_size: side of the images and masks to return in pixels, or their height and width.

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
    if isinstance(transform, v2.Identity):
        return Unchanged()
    # torchvision needs more time to find out what to flip than for the flip itself.
    if type(transform) is v2.RandomHorizontalFlip:
        return RandomFlip(transform.p)
    return partial(_apply_to_both, transform)


def _apply_to_both(transform: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    new_image, new_mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return new_image.as_subclass(Tensor), new_mask.as_subclass(Tensor)
