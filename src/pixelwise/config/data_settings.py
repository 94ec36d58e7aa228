"""The settings of the images: their view and size, augmentation, validation split and cache."""

from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from pixelwise.config.setting import setting
from pixelwise.data.input_size import MAX_SIZE, HeightWidth, View, parse_size, to_plain
from pixelwise.registry import ComponentSpec

_ImageSize = Annotated[
    int | HeightWidth,
    BeforeValidator(partial(parse_size, smallest=32, largest=MAX_SIZE)),
    PlainSerializer(to_plain, when_used="json"),
]


START_SIZE_FRACTION = 0.6
"""Fraction of the training images, at the start, that have `start_size` (docs/decisions.md)."""


class DataSettings(BaseModel):
    """Settings of the images: their view, size, augmentation, validation split and cache.

    They are fields of `Config`.
    """

    view: View = setting(
        "Data",
        "Input of the network: whole (the whole image, resized to the image size), or tiles (windows of the image, for "
        "large images with small objects).",
        default="whole",
    )
    scale: float = setting(
        "Data",
        "With the view tiles: size of the images that windows are cut out of, as a multiple of their own size.",
        default=1.0,
        gt=0,
        le=4,
    )
    image_size: _ImageSize = setting(
        "Data",
        "Side in pixels of the square that images are resized to, or HEIGHTxWIDTH. With the view tiles, the side of a "
        "window.",
        default=128,
    )
    start_size: _ImageSize | None = setting(
        "Data",
        "Smaller image size in the first 60% of the training, which saves time. By default the image size. Not used "
        "with the view tiles.",
        default=None,
    )
    eval_scale: float = setting(
        "Data",
        "Size at which whole images are validated and predicted, as a multiple of the image size. It is rounded down "
        "to a multiple of 32 pixels. Not used with the view tiles.",
        default=1.0,
        ge=1,
        le=4,
    )
    augmentation: ComponentSpec = setting("Data", "Random changes of the training images.", default="crop")
    mosaic: float = setting(
        "Data",
        "Fraction of the training images that are joined from parts of two or four images of a batch.",
        default=0.0,
        ge=0,
        le=1,
    )
    val_from: Literal["train", "test"] = setting(
        "Data", "Split that validation images are taken from if there is no val split.", default="train"
    )
    val_fraction: float = setting(
        "Data",
        "If there is no val split: fraction of the train (or test) split that is used for validation. Groups are kept "
        "together, and strata such as breeds are balanced.",
        default=0.15,
        gt=0,
        lt=1,
    )
    cache_images: bool = setting(
        "Data", "Cache decoded and resized images in the user's cache directory.", default=True
    )
    skip_unreadable: bool = setting(
        "Data", "Skip images and masks that cannot be used, and list them. By default, the first one is an error.",
        default=False,
    )  # fmt: skip
