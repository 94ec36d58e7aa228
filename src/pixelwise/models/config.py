"""The configuration of a model: the parameters for building it and for preparing its input."""

from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, PlainSerializer, model_validator

from pixelwise.data.input_size import MAX_SIZE, HeightWidth, View, parse_size, to_plain
from pixelwise.data.mask_format import MaskFormat, ObjectScale, check_mask_format
from pixelwise.data.pixel_scale import PixelScale, check_band_ranges
from pixelwise.data.schema import MAX_CLASS_NAME
from pixelwise.data.task import MULTICLASS, MULTILABEL, TASKS, Task
from pixelwise.models.version1 import translate_config
from pixelwise.palette import IGNORE_INDEX, background_classes
from pixelwise.registry import ComponentSpec

Padding = Literal["native", "same"]

MAX_SCALE = 8.0
"""Maximum number of working pixels per image pixel."""

MAX_CHANNELS = 1024
"""Maximum number of channels of the input of a model."""

_Byte = Annotated[int, Field(ge=0, le=255)]
_Size = Annotated[
    int | HeightWidth,
    BeforeValidator(partial(parse_size, smallest=1, largest=MAX_SIZE)),
    PlainSerializer(to_plain, when_used="json"),
]
_ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME)]
_LayerName = Annotated[str, Field(min_length=1, max_length=200)]
_License = Annotated[str, Field(max_length=200)]
_PerChannel = Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=MAX_CHANNELS)]


def _parse_task(value: object) -> object:
    """Return the task of a name, or a Task unchanged. Raise ValueError if the name is unknown, as pydantic expects."""
    if isinstance(value, Task):
        return value
    if not isinstance(value, str) or value not in TASKS:
        raise ValueError(f"choose from: {', '.join(TASKS)}")
    return TASKS[value]


class ModelConfig(BaseModel):
    """The content of model.json.

    The file can come from an untrusted source, so the lengths and ranges of its fields are limited.

    Attributes:
        format: version of the file format.
        classes: C class names in index order.
        palette: one (red, green, blue) in 0..255 per class.
        size: the size that images are resized to: the side of a square in pixels, or a height and a width. For the
            view "tiles", side of a window in working pixels, see `scale`.
        view: "whole" if the training resized whole images to `size`, "tiles" if it cut windows out of them.
        scale: working pixels per image pixel for the view "tiles". Images are resized by it before windows are cut out.
            It has no effect on the view "whole".
        window_factor: for the view "tiles", maximum side of a window as a multiple of `size`.
        mean: one value per channel on the scale 0..255. Channels are (red, green, blue), or the bands of a TIFF.
        std: one value per channel on the scale 0..255. The encoder gets (pixel − mean) / std.
        bit_depth: number of used bits in images with 16 bits per channel, see `read_image`.
        pixel_range: the values that become 0 and 255 in images of floats or wide integers, see `ReadSpec`.
        band_ranges, nodata: the ranges of the training images' values and their nodata value, see `PixelScale`.
        task: the segmentation task. JSON contains its name.
        encoder: timm's name of the encoder. A prefix such as "hf-hub:" is refused, because it would use the network.
        encoder_layers: names of the layers whose outputs are the features, or None for timm's own stages.
        encoder_padding: see `Encoder`.
        decoder: a name in DECODERS, or a mapping with its parameters.
        mask_format: the values of the masks of the training data, or None if they have none (polygons).
        object_scale: the size of the objects in the training images, or None if it is not known.
        metrics: the row of metrics.csv for the epoch of these weights.
        temperature: divisor of the logits before they become probabilities, so that a probability of 0.8 is right in
            80 % of cases. The training fits it to the validation images. 1.0 changes nothing.
        licenses: part of the model → its license, see `part_licenses`. Empty for models of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    format: Literal[2] = 2
    classes: Annotated[tuple[_ClassName, ...], Field(min_length=1, max_length=IGNORE_INDEX)]
    palette: tuple[tuple[_Byte, _Byte, _Byte], ...]
    size: _Size
    view: View = "whole"
    scale: Annotated[FiniteFloat, Field(gt=0, le=MAX_SCALE)] = 1.0
    window_factor: Annotated[int, Field(ge=1, le=4)] = 1
    mean: _PerChannel
    std: _PerChannel
    bit_depth: Annotated[int, Field(ge=8, le=16)] = 16
    pixel_range: tuple[FiniteFloat, FiniteFloat] | None = None
    band_ranges: Annotated[tuple[tuple[FiniteFloat, FiniteFloat], ...], Field(max_length=MAX_CHANNELS)] = ()
    nodata: FiniteFloat | None = None
    task: Annotated[Task, BeforeValidator(_parse_task), PlainSerializer(lambda task: task.name)] = MULTICLASS
    encoder: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
    encoder_layers: Annotated[tuple[_LayerName, ...], Field(max_length=100)] | None
    encoder_padding: Padding
    decoder: ComponentSpec
    mask_format: MaskFormat | None = None
    object_scale: ObjectScale | None = None
    metrics: Annotated[dict[str, float | None], Field(max_length=10_000)] = {}
    temperature: Annotated[FiniteFloat, Field(ge=0.01, le=100)] = 1.0
    licenses: Annotated[dict[_License, _License], Field(max_length=20)] = {}

    @model_validator(mode="before")
    @classmethod
    def _translate_format_1(cls, fields: Any) -> Any:
        return translate_config(fields) if isinstance(fields, dict) and fields.get("format") == 1 else fields

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"two classes have the name '{twice[:100]}'")
        if len(self.palette) != len(self.classes):
            raise ValueError(f"the palette has {len(self.palette)} colors for {len(self.classes)} classes")
        if len(self.std) != len(self.mean):
            raise ValueError(f"std has {len(self.std)} values, and mean {len(self.mean)}")
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        if self.mask_format is not None:
            check_mask_format(self.mask_format, 2 if self.task is MULTILABEL else len(self.classes))
        if self.pixel_range is not None and self.pixel_range[0] >= self.pixel_range[1]:
            raise ValueError("pixel_range must be a lower and a higher value")
        check_band_ranges(self.band_ranges, len(self.mean))
        return self

    @property
    def pixel_scale(self) -> PixelScale:
        """The conversion of the pixels of image files to 8 bits."""
        return PixelScale(self.bit_depth, self.pixel_range, self.band_ranges, self.nodata)

    @property
    def background(self) -> tuple[int, ...]:
        """Indices of the classes that are background, see `background_classes`. Empty for a multilabel model."""
        if self.task is MULTILABEL:
            return ()
        return background_classes(self.classes, self.mask_format.values if self.mask_format else ())
