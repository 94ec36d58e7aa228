"""TODO: module."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from pixelwise.data.task import MULTICLASS, Task, get_task
from pixelwise.models.encoder import Padding


_FORMAT_1_FIELDS = {"layers": "encoder_layers", "padding": "encoder_padding", "bits": "bit_depth"}
_FORMAT_1_DECODERS = {"light": "fpn"}


class ModelConfig(BaseModel):
    """Everything needed to build the model again and to feed it: what model.json holds.

    `mean` and `std` are on the scale 0..255, one a channel: (red, green, blue), or a TIFF's bands; `bit_depth` is how many
    of 16 bits a channel images make use of (see `read_image`); `size` is the side that images are resized to;
    `palette` has one (red, green, blue) in 0..255 a class; `multilabel` says that a pixel can be of several classes.
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
    decoder: str
    metrics: dict[str, float | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _translate_format_1(cls, fields: Any) -> Any:
        """Translate the fields of a model.json that version 0.1 wrote."""
        if not isinstance(fields, dict) or fields.get("format") != 1:
            return fields
        fields = {_FORMAT_1_FIELDS.get(name, name): value for name, value in fields.items()} | {"format": 2}
        fields["task"] = "multilabel" if fields.pop("multilabel", False) else "multiclass"
        fields["decoder"] = _FORMAT_1_DECODERS.get(fields.get("decoder"), fields.get("decoder"))
        return fields
