"""Every setting of a training, in one flat model: presets, flags, YAML."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.data.schema import ReadSpec
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.losses import LOSSES, MULTILABEL_LOSSES
from pixelwise.losses.class_weights import CLASS_WEIGHT_POWERS
from pixelwise.models.decoders import DECODERS
from pixelwise.models.pretrained import has_bundled_weights
from pixelwise.palette import Palette

if TYPE_CHECKING:
    from pixelwise.models.model import SegmentationModel

WARM_UP = 0.25
"""The share of a training in which the learning rate rises, and in which a pretrained encoder is left alone."""


Preset = Literal["default", "tutorial"]


_CHOICES: dict[str, list[str]] = {
    "augment": list(AUGMENTATIONS),
    "loss": [*LOSSES, *MULTILABEL_LOSSES],
    "decoder": list(DECODERS),
}


def _group(name: str, description: str, **limits: Any) -> Any:
    """A field that stands under a heading of the command line's help."""
    return Field(description=description, json_schema_extra={"group": name}, **limits)


class Config(BaseModel):
    """The settings of a training. The values here are the preset "default"; see `Config.of`.

    >>> Config.of("tutorial", epochs=3).batch_size
    64
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field("default", description="The settings that the others started from.")

    size: int = _group("Data", "Images are resized to SIZE x SIZE pixels.", default=128, ge=32, le=4096)
    predict_scale: float = _group(
        "Data", "Whole images are validated and predicted at SIZE times this, down to a multiple of 32 pixels.",
        default=1.0, ge=1, le=4,
    )  # fmt: skip
    augment: str = _group("Data", f"Random changes while training: {', '.join(AUGMENTATIONS)}.", default="crop")
    validation_from: Literal["train", "test"] = _group(
        "Data", "The split that validation images come from, where there is no val split.", default="train"
    )
    validation_fraction: float = _group(
        "Data", "The share of that split: whole groups, evenly over kinds.", default=0.15, gt=0, lt=1
    )

    cache: bool = _group(
        "Data", "Keep prepared images in the user's cache folder; otherwise they are decoded each time.", default=True
    )
    skip_bad: bool = _group(
        "Data", "Leave out images and masks that cannot be used, and say which; otherwise they stop the training.",
        default=False,
    )  # fmt: skip

    encoder: str = _group("Model", "Any timm model with features.", default="tf_efficientnet_lite0")
    encoder_weights: str = _group(
        "Model", "embedded (in an installed package), hub (timm's own), none, or a safetensors FILE.",
        default="embedded",
    )  # fmt: skip
    layers: tuple[str, ...] | None = _group(
        "Model", "Names of the encoder's layers to take features from, shallow to deep.", default=None
    )
    padding: Literal["native", "same"] = _group(
        "Model", "The encoder's padding: its own, or TensorFlow's 'same'.", default="native"
    )
    pixels: Literal["encoder", "unit"] = _group(
        "Model", "Normalize pixels as the encoder was trained, or scale them to [0, 1].", default="encoder"
    )
    freeze_encoder: bool = _group(
        "Model",
        "Leave the encoder's weights as they are; otherwise they are fine-tuned after a quarter of the epochs.",
        default=False,
    )
    decoder: str = _group("Model", f"One of {', '.join(DECODERS)}.", default="light")

    epochs: int = _group("Training", "Passes over the training images.", default=32, ge=1)
    batch_size: int = _group("Training", "Images a step, over all processes together.", default=16, ge=1)
    loss: str = _group(
        "Training", f"One of {', '.join(LOSSES)}; for multi-label data {', '.join(MULTILABEL_LOSSES)}.",
        default="cross_entropy",
    )  # fmt: skip
    class_weights: str | dict[str, float] = _group(
        "Training",
        "none, balanced (by pixel counts), tempered (by their square roots), or name=weight,name=weight.",
        default="none",
    )
    lr: float = _group("Training", "Learning rate (its peak under one-cycle).", default=3e-3, gt=0)
    encoder_lr_factor: float = _group(
        "Training", "The encoder's learning rate over the decoder's, where it trains.", default=0.1, gt=0
    )
    weight_decay: float = _group("Training", "AdamW's; 0 makes it Adam.", default=1e-2, ge=0)
    schedule: Literal["constant", "one-cycle"] = _group("Training", "Of the learning rate.", default="one-cycle")
    seed: int = _group("Training", "Settles every random choice.", default=0, ge=0, lt=2**31)

    device: str = _group("Machine", "auto, cpu, cuda, mps.", default="auto")
    precision: Literal["auto", "bf16", "float32"] = _group(
        "Machine", "bf16 computes in bfloat16 where it is safe; auto does where the machine is faster at it.",
        default="auto",
    )  # fmt: skip
    workers: int = _group("Machine", "Processes that load images; 0 loads in the training process.", default=0, ge=0)
    samples: int = _group("Machine", "Validation images whose masks are drawn after every epoch.", default=4, ge=1)

    @field_validator("class_weights", mode="before")
    @classmethod
    def _read_class_weights(cls, value: object) -> object:
        if not isinstance(value, str) or value in ("none", *CLASS_WEIGHT_POWERS):
            return value
        choices, weights = ", ".join(CLASS_WEIGHT_POWERS), {}
        for part in value.split(","):
            name, _, number = part.partition("=")
            name = name.strip()
            if name in weights:
                raise ValueError(f"'{name}' is given twice")
            try:
                weights[name] = float(number)
            except ValueError:
                raise ValueError(f"'{part}' is not name=weight; choose none, {choices} or pet=2,border=1") from None
        return weights

    @field_validator("class_weights")
    @classmethod
    def _check_class_weights(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(value, dict) and any(not 0 <= weight < math.inf for weight in value.values()):
            raise ValueError("weights must be finite, and 0 or more")
        return value

    @field_validator("augment", "loss", "decoder")
    @classmethod
    def _check_name(cls, value: str, info: Any) -> str:
        choices = _CHOICES[info.field_name]
        if value not in choices:
            raise ValueError(unknown_name(info.field_name, value, choices))
        return value

    @staticmethod
    def from_preset(preset: str = "default", base: Mapping[str, Any] | None = None, **given: Any) -> "Config":
        """A preset with the given settings in place of its own; `base`, a plan's settings, stands between the two.

        An encoder other than the preset's starts from that encoder's own levels and weights (embedded where an
        installed package holds them, else the hub's), not from the preset's. An encoder that starts at random is
        not frozen unless the settings say so.

        Raises ConfigError for an unknown preset or setting, or a value that cannot work.
        """
        if preset not in PRESETS:
            raise ConfigError(unknown_name("preset", preset, PRESETS))
        settings = PRESETS[preset] | dict(base or {}, preset=preset)
        encoder = given.get("encoder")
        if encoder is not None and encoder != settings.get("encoder", Config.model_fields["encoder"].default):
            settings["layers"] = None
            settings["encoder_weights"] = "embedded" if has_bundled_weights(encoder) else "hub"
        if given.get("encoder_weights") == "none":
            settings["freeze_encoder"] = False
        try:
            return Config(**(settings | given))
        except ValidationError as error:
            raise ConfigError(format_validation_error(error, Config)) from None

    def create_model(
        self, classes: Sequence[str], palette: Palette | None = None, reading: ReadSpec | None = None
    ) -> "SegmentationModel":
        """Return a new model by these settings, for images and masks as `reading` has them (None: RGB, multiclass)."""
        from pixelwise.models.model import create_model

        return create_model(
            self.encoder,
            self.decoder,
            classes,
            palette,
            size=self.size,
            predict_size=self.eval_size,
            encoder_weights=self.encoder_weights,
            layers=self.layers,
            padding=self.padding,
            pixels=self.pixels,
            freeze_encoder=self.freeze_encoder,
            channels=reading.channels if reading else 3,
            bits=reading.bit_depth if reading else 16,
            multilabel=reading.multilabel if reading else False,
        )

    @property
    def eval_size(self) -> int:
        """Pixels, the side at which whole images are validated and predicted."""
        if self.predict_scale == 1:
            return self.size
        return max(self.size, round(self.size * self.predict_scale) // 32 * 32)

    def to_yaml(self) -> str:
        """Every setting, as YAML that `from_yaml` reads back to an equal Config."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_yaml(path: Path) -> "Config":
        """Read a file that `to_yaml` wrote; ConfigError names the file and the setting that is wrong."""
        try:
            return Config(**yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise ConfigError(f"{path}: {format_validation_error(error, Config)}") from None
        except (OSError, UnicodeError, TypeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as settings ({str(error).splitlines()[0]})") from None


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # TensorFlow's image segmentation tutorial, https://www.tensorflow.org/tutorials/images/segmentation.
    "tutorial": {
        "augment": "flip",
        "validation_from": "test",
        "validation_fraction": 0.2,
        "encoder": "mobilenetv2_100",
        "encoder_weights": "hub",
        "freeze_encoder": True,
        # The expanded activations at 1/2, 1/4, 1/8 and 1/16, and the last block's projection before its batch norm.
        "layers": (
            "blocks.1.0.bn1",
            "blocks.2.0.bn1",
            "blocks.3.0.bn1",
            "blocks.5.0.bn1",
            "blocks.6.0.conv_pwl",
        ),
        "padding": "same",
        "pixels": "unit",
        "decoder": "pix2pix",
        "epochs": 20,
        "batch_size": 64,
        "lr": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
    },
}


def format_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """pydantic's findings about a model in one line: "epochs: Input should be greater than or equal to 1 (got 0)"."""
    parts = []
    for finding in error.errors():
        deep = finding["type"] != "extra_forbidden" and model is not Config
        name = ".".join(map(str, finding["loc"] if deep else finding["loc"][:1]))
        if finding["type"] == "extra_forbidden" and name in model.model_fields:
            parts.append(f"{'.'.join(map(str, finding['loc']))}: no such entry")
        elif finding["type"] == "extra_forbidden":
            parts.append(unknown_name("setting", name, model.model_fields))
        else:
            message = finding["msg"].removeprefix("Value error, ")
            parts.append(f"{name}: {message} (got {finding['input']!r})")
    return "; ".join(parts)
