"""The configuration of a model: everything that is needed to build it again and to prepare its input."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from pixelwise.data.task import MULTICLASS, Task, get_task
from pixelwise.models.encoder import Padding
from pixelwise.models.version1 import translate_config
from pixelwise.registry import ComponentSpec


class ModelConfig(BaseModel):
    """The content of model.json.

    Attributes:
        format: version of the fields.
        classes: C names, in index order.
        palette: one (red, green, blue) in 0..255 per class.
        size: side in pixels of the square that images are resized to.
        mean: one value per channel on the scale 0..255: (red, green, blue), or the bands of a TIFF.
        std: one value per channel on the scale 0..255. The encoder gets (pixel − mean) / std.
        bit_depth: number of used bits in images with 16 bits per channel, see `read_image`.
        task: the segmentation task; its name in JSON.
        encoder: timm's name of the encoder.
        encoder_layers: layers that features are taken from, or None for the encoder's own stages.
        encoder_padding: see `Encoder`.
        decoder: a name in DECODERS, or a mapping with its parameters.
        metrics: the last row of metrics.csv for these weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    format: Literal[2] = 2
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bit_depth: int = 16
    task: Annotated[Task, BeforeValidator(get_task), PlainSerializer(lambda task: task.name)] = MULTICLASS
    encoder: str
    encoder_layers: tuple[str, ...] | None
    encoder_padding: Padding
    decoder: ComponentSpec
    metrics: dict[str, float | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _translate_format_1(cls, fields: Any) -> Any:
        return translate_config(fields) if isinstance(fields, dict) and fields.get("format") == 1 else fields
