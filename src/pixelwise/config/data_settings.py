"""The settings of the images: their size, augmentation, validation split and cache."""

from typing import Literal

from pydantic import BaseModel

from pixelwise.config.setting import setting
from pixelwise.registry import ComponentSpec


class DataSettings(BaseModel):
    """Settings of the images: their size, augmentation, validation split and cache. They are fields of `Config`."""

    image_size: int = setting(
        "Data", "Side in pixels of the square that images are resized to.", default=128, ge=32, le=4096
    )
    eval_scale: float = setting(
        "Data",
        "Size at which whole images are validated and predicted, as a multiple of the image size. It is rounded down "
        "to a multiple of 32 pixels.",
        default=1.0,
        ge=1,
        le=4,
    )
    augmentation: ComponentSpec = setting("Data", "Random changes of the training images.", default="crop")
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
