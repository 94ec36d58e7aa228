"""Resizing, and random transforms that draw image and mask together.

Images and masks are uint8 all the way; normalization is the model's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(image (C, H, W) uint8, mask (H, W) uint8, or (classes, H, W) where multi-label) → the same, of the model's size."""


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's, with the mask resized by `resize_mask`'s rule: torchvision's own is off by half a pixel."""

    def transform(self, inpt: object, params: dict[str, int]) -> object:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        crop = F.crop(inpt, **params)
        return tv_tensors.wrap(F.resize_mask(crop, self.size, InterpolationMode.NEAREST_EXACT), like=inpt)


class ColorJitter(v2.ColorJitter):
    """torchvision's; images of other than three channels have brightness and contrast changed, band by band."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Image) or inpt.shape[-3] == 3:
            return super().transform(inpt, params)
        gray = tv_tensors.wrap(inpt[:, None], like=inpt)
        return tv_tensors.wrap(super().transform(gray, params)[:, 0], like=inpt)


def flip(size: int) -> v2.Transform:
    """The tutorial's: a left-right flip, half of the time."""
    return v2.RandomHorizontalFlip()


def crop_flip_color(size: int) -> v2.Transform:
    """Ours: a crop of 60 to 100 % of the image, resized to size x size; a flip; a change of colors."""
    return v2.Compose(
        [
            RandomResizedCrop(size, scale=(0.6, 1.0)),
            v2.RandomHorizontalFlip(),
            ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        ]
    )


def crop_color(size: int) -> v2.Transform:
    """The same without the flip: for classes that are told apart by left and right, and for text."""
    kept = [each for each in crop_flip_color(size).transforms if not isinstance(each, v2.RandomHorizontalFlip)]
    return v2.Compose(kept)


def no_augmentation(size: int) -> v2.Transform:
    """No augmentation: whatever was prepared, at size x size."""
    return v2.Identity()


AUGMENTATIONS: dict[str, Callable[[int], v2.Transform]] = {
    "none": no_augmentation,
    "flip": flip,
    "crop": crop_flip_color,
    "crop-unmirrored": crop_color,
}


CACHEABLE = ("none", "flip")
"""The augmentations that make few images of an image, so that the same ones come again."""


def source_size(name: str, size: int) -> int:
    """The side at which images are kept for that augmentation: crops are taken from larger ones."""
    return round(size * 1.25) if name.startswith("crop") else size


def build_transform(name: str, size: int) -> Transform:
    """The random transform of that name, giving images and masks of size x size.

    >>> image, mask = torch.zeros(3, 160, 160, dtype=torch.uint8), torch.zeros(160, 160, dtype=torch.uint8)
    >>> image, mask = build_transform("crop", 128)(image, mask)
    >>> tuple(image.shape), tuple(mask.shape)
    ((3, 128, 128), (128, 128))
    """
    draw = AUGMENTATIONS[name](size)
    return identity if isinstance(draw, v2.Identity) else partial(_draw_together, draw)


def identity(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The transform that draws nothing."""
    return image, mask


def _draw_together(draw: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    new_image, new_mask = draw(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return new_image.as_subclass(Tensor), new_mask.as_subclass(Tensor)
