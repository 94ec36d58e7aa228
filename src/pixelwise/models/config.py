"""TODO: module."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pixelwise.models.encoder import Padding


class ModelConfig(BaseModel):
    """Everything needed to build the model again and to feed it: what model.json holds.

    `mean` and `std` are on the scale 0..255, one a channel: (red, green, blue), or a TIFF's bands; `bit_depth` is how many
    of 16 bits a channel images make use of (see `read_image`); `size` is the side that images are resized to;
    `palette` has one (red, green, blue) in 0..255 a class; `multilabel` says that a pixel can be of several classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bit_depth: int = 16
    multilabel: bool = False
    encoder: str
    encoder_layers: tuple[str, ...] | None
    encoder_padding: Padding
    decoder: str
    metrics: dict[str, float | None] = {}
