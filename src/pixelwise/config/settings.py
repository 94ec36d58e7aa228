"""`Config`: all settings of a training, with validation and defaults."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from pixelwise.config.components import normalize_component
from pixelwise.config.data_settings import DataSettings
from pixelwise.config.encoder_training import EncoderTraining, resolve_encoder_training
from pixelwise.config.machine_settings import MachineSettings
from pixelwise.config.model_settings import ModelSettings
from pixelwise.config.presets import PRESETS
from pixelwise.config.training_settings import TrainingSettings
from pixelwise.config.validation import (
    check_class_weight_values,
    check_length,
    expand_shorthands,
    format_validation_error,
    parse_class_weights,
)
from pixelwise.config.version1 import find_old_names
from pixelwise.data.input_size import HeightWidth, map_sides, to_pair
from pixelwise.data.schema import ReadSpec
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.palette import Palette

if TYPE_CHECKING:
    from pixelwise.models.model import SegmentationModel

LR_WARMUP_FRACTION = 0.25
"""Fraction of the training steps, at the start, in which the learning rate of the onecycle schedule rises."""


class Config(MachineSettings, TrainingSettings, ModelSettings, DataSettings):
    """The settings of a training. The defaults are the preset "default", see `Config.from_preset`.

    A component is a name, or a mapping with a name and parameters: `loss={"name": "focal", "gamma": 3}`. All values are
    validated. If `encoder_weights` is None, it is replaced by "bundled" if an installed package has pretrained weights
    of the encoder, else by "hub" (timm's). `freeze_encoder=True` is short for `encoder_training="none"`, and
    `freeze_encoder=False` for "auto". `model_size` "s", "m" or "l" is short for an `encoder`, see
    `encoder_table.MODEL_SIZES`.

    Raises:
        ConfigError: A setting is unknown, has a name of version 0.1, or has an invalid value, or two settings exclude
            each other.

    >>> Config(encoder="resnet18", epochs=3).encoder_weights
    'hub'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, settings: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Expand shorthands and convert a ValidationError to a ConfigError.

        Refuse names of version 0.1, and `deterministic` with `time_budget`.
        """
        if isinstance(settings, dict):
            old = find_old_names(settings)
            if old:
                raise ConfigError("; ".join(old))
            settings = expand_shorthands(settings)
        try:
            config = handler(settings)
        except ValidationError as error:
            raise ConfigError(format_validation_error(error, cls, nested=False)) from None
        if config.deterministic and config.time_budget is not None:
            raise ConfigError(
                "`deterministic` needs a number of epochs, because the clock is not; remove `time_budget`"
            )
        return config

    @field_validator("augmentation", "encoder_weights", "decoder", "loss", mode="before")
    @classmethod
    def _normalize_component(cls, spec: Any, info: Any) -> Any:
        """Return the shortest form of a component's setting."""
        try:
            return normalize_component(info.field_name, spec, info.data.get("encoder", ""))
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("class_weights", mode="before")
    @classmethod
    def _parse_class_weights(cls, value: object) -> object:
        return parse_class_weights(value)

    @field_validator("class_weights")
    @classmethod
    def _check_class_weights(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        return check_class_weight_values(value)

    @staticmethod
    def from_preset(preset: str = "default", base: Mapping[str, Any] | None = None, **settings: Any) -> "Config":
        """Return the settings of a preset with some of them replaced.

        If the encoder is not that of the preset, `encoder_layers`, `encoder_weights` and the parameters of the decoder
        of the preset are reset. If `encoder_weights` is "none", `encoder_training` of the preset is reset, so that the
        encoder trains. If the view is not that of the plan, `scale`, `eval_scale` and `mosaic` of the plan are reset.
        If the view or the image size is replaced, `start_size` of the plan is reset.

        Args:
            preset: a name in `PRESETS`.
            base: settings of a plan. They replace those of the preset.
            settings: fields of `Config`. They replace those of the preset and of the plan.

        Returns:
            The settings.

        Raises:
            ConfigError: The preset or a setting is unknown, or a value is invalid.

        >>> Config.from_preset("tutorial", epochs=3).batch_size
        64
        """
        if preset not in PRESETS:
            raise ConfigError(unknown_name("preset", preset, PRESETS))
        check_length(settings)
        merged: dict[str, Any] = {}
        for part in (PRESETS[preset], base or {}, settings):
            part = expand_shorthands(part)
            if part.get("encoder", _encoder_of(merged)) != _encoder_of(merged):
                merged |= {"encoder_layers": None, "encoder_weights": None}
                decoder = merged.get("decoder")
                if isinstance(decoder, Mapping) and decoder == PRESETS[preset].get("decoder"):
                    merged["decoder"] = decoder["name"]  # its widths are those of the preset's layers
            if part.get("encoder_weights") == "none":
                merged["encoder_training"] = "auto"
            view = merged.get("view", Config.model_fields["view"].default)
            if part.get("view", view) != view:
                merged |= {"scale": 1.0, "eval_scale": 1.0, "start_size": None, "mosaic": 0.0}
            if "image_size" in part:
                merged["start_size"] = None
            merged |= part
        return Config(**merged)

    def replace(self, **settings: Any) -> "Config":
        """Return these settings with some of them replaced. Raises ConfigError if a value is invalid."""
        return Config(**(self.model_dump() | expand_shorthands(settings)))

    def create_model(
        self, classes: Sequence[str], palette: Palette | None = None, read_spec: ReadSpec | None = None
    ) -> "SegmentationModel":
        """Create a model with these settings. Its encoder is frozen as the settings define for the device.

        Args:
            classes: the names of the classes, in index order.
            palette: one (red, green, blue) in 0..255 per class, or None for the default palette.
            read_spec: channels and bit depth of the images and the task, or None for RGB images and multiclass masks.

        Returns:
            The model, with pretrained or random encoder weights and a random decoder.

        Raises:
            ConfigError: The encoder is unknown, or does not accept the image sizes.
            WeightsError: The encoder weights are missing, or do not fit the encoder.
        """
        from pixelwise.config.build_model import build_model

        return build_model(self, classes, palette, read_spec)

    @model_validator(mode="after")
    def _check_view(self) -> Self:
        """Raise ConfigError if a setting does not fit the view."""
        if self.view == "whole" and self.scale != 1:
            raise ConfigError(f"`scale` {self.scale:g} needs `view` tiles; whole images have `image_size`")
        if self.view == "tiles" and self.eval_scale != 1:
            raise ConfigError(f"`eval_scale` {self.eval_scale:g} needs `view` whole; windows have `scale`")
        if self.view == "tiles" and not isinstance(self.image_size, int):
            raise ConfigError(f"`image_size` {self.image_size} needs `view` whole; windows are square")
        return self

    @model_validator(mode="after")
    def _check_start_size(self) -> Self:
        """Raise ConfigError if the images at the start are not smaller, or do not fit the view."""
        if self.start_size is None:
            return self
        if self.view == "tiles":
            raise ConfigError(f"`start_size` {self.start_size} needs `view` whole; windows have `scale`")
        sides = zip(to_pair(self.start_size), to_pair(self.image_size), strict=True)
        if any(start > side for start, side in sides):
            raise ConfigError(
                f"`start_size` {self.start_size} must not exceed `image_size` {self.image_size}; lower it, or leave it "
                "out"
            )
        return self

    @property
    def smallest_size(self) -> int | HeightWidth:
        """Size in pixels of the smallest training images: `start_size` if it is set, else `image_size`."""
        return self.image_size if self.start_size is None else self.start_size

    @property
    def eval_size(self) -> int | HeightWidth:
        """Size in pixels at which whole images, or windows of them, are validated and predicted."""
        if self.eval_scale == 1:
            return self.image_size
        return map_sides(lambda side: max(side, round(side * self.eval_scale) // 32 * 32), self.image_size)

    def resolve_encoder_training(self, device_type: str) -> EncoderTraining:
        """Return the parts of the encoder that train on a device.

        This applies the defaults of `encoder_training`, `freeze_depthwise` and `freeze_batchnorm`. By default, the
        decoder of a pretrained encoder on a CPU trains first, and depthwise convolutions and batch-norm statistics are
        frozen, because this saves computation. By default, the whole encoder trains on a GPU, or without pretrained
        weights.

        Args:
            device_type: "cpu", "cuda" or "mps".
        """
        return resolve_encoder_training(
            self.encoder_training,
            self.freeze_depthwise,
            self.freeze_batchnorm,
            self.kept_versions,
            pretrained=self.encoder_weights != "none" or self.start_from is not None,
            device_type=device_type,
        )


def _encoder_of(settings: Mapping[str, Any]) -> str:
    return str(settings.get("encoder", Config.model_fields["encoder"].default))
