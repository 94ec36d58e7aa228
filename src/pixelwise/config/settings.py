"""`Config`: all settings of a training, with validation and defaults."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from pixelwise.config.components import normalize_component
from pixelwise.config.encoder_training import EncoderTraining, resolve_encoder_training
from pixelwise.config.presets import PRESETS
from pixelwise.config.validation import (
    Duration,
    check_class_weight_values,
    check_length,
    expand_freeze_encoder,
    format_validation_error,
    parse_class_weights,
)
from pixelwise.config.version1 import find_old_names
from pixelwise.data.schema import ReadSpec
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.palette import Palette
from pixelwise.registry import ComponentSpec

if TYPE_CHECKING:
    from pixelwise.models.model import SegmentationModel

LR_WARMUP_FRACTION = 0.25
"""Fraction of the training steps, at the start, in which the learning rate of the onecycle schedule rises."""


def _field(group: str, description: str, **limits: Any) -> Any:
    """Return a field of `Config`. The command line's help lists it under the heading `group`."""
    return Field(description=description, json_schema_extra={"group": group}, **limits)


class Config(BaseModel):
    """The settings of a training. The defaults are the preset "default", see `Config.from_preset`.

    A component is a name, or a mapping with a name and parameters: `loss={"name": "focal", "gamma": 3}`. All values are
    validated. If `encoder_weights` is None, it is replaced by "bundled" if an installed package has pretrained weights
    of the encoder, else by "hub" (timm's). `freeze_encoder=True` is short for `encoder_training="none"`, and
    `freeze_encoder=False` for "auto".

    Raises:
        ConfigError: A setting is unknown, has a name of version 0.1, or has an invalid value.

    >>> Config(encoder="resnet18", epochs=3).encoder_weights
    'hub'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = _field(
        "Data", "Side in pixels of the square that images are resized to.", default=128, ge=32, le=4096
    )
    eval_scale: float = _field(
        "Data",
        "Size at which whole images are validated and predicted, as a multiple of the image size. It is rounded down "
        "to a multiple of 32 pixels.",
        default=1.0,
        ge=1,
        le=4,
    )
    augmentation: ComponentSpec = _field("Data", "Random changes of the training images.", default="crop")
    val_from: Literal["train", "test"] = _field(
        "Data", "Split that validation images are taken from if there is no val split.", default="train"
    )
    val_fraction: float = _field(
        "Data",
        "If there is no val split: fraction of the train (or test) split that is used for validation. Groups are kept "
        "together, and strata such as breeds are balanced.",
        default=0.15,
        gt=0,
        lt=1,
    )
    cache_images: bool = _field("Data", "Cache decoded and resized images in the user's cache directory.", default=True)
    skip_unreadable: bool = _field(
        "Data", "Skip images and masks that cannot be used, and list them. By default, the first one is an error.",
        default=False,
    )  # fmt: skip

    encoder: str = _field("Model", "Name of a timm model that returns features.", default="tf_efficientnet_lite0")
    encoder_weights: ComponentSpec | None = _field(
        "Model",
        "Pretrained weights: bundled (from an installed package), hub (from timm's hub), none, or the path of a "
        "safetensors file. By default bundled if an installed package has them, else hub.",
        default=None,
        validate_default=True,
    )
    encoder_layers: tuple[str, ...] | None = _field(
        "Model", "Names of the encoder layers that features are taken from, shallow to deep.", default=None
    )
    encoder_padding: Literal["native", "same"] = _field(
        "Model", "Padding of the encoder's convolutions: native (its own), or same (TensorFlow's).", default="native"
    )
    normalization: Literal["encoder", "unit"] = _field(
        "Model", "Normalization of pixels: encoder (as in its pretraining), or unit (to [0, 1]).", default="encoder"
    )
    encoder_training: Literal["auto", "none", "decoder-first", "all"] = _field(
        "Model",
        "When the encoder trains: none (never), all (from the first step), or decoder-first (after a quarter of the "
        "epochs). auto is decoder-first for a pretrained encoder on a CPU, else all.",
        default="auto",
    )
    freeze_depthwise: bool | None = _field(
        "Model",
        "Freeze the encoder's depthwise convolutions. By default only for a pretrained encoder on a CPU.",
        default=None,
    )
    freeze_batchnorm: bool | None = _field(
        "Model",
        "Keep the statistics of the encoder's batch norms. By default only for a pretrained encoder on a CPU.",
        default=None,
    )
    decoder: ComponentSpec = _field("Model", "Decoder, from features to logits.", default="fpn")
    start_from: str | None = _field(
        "Model",
        "Run whose best model the training starts from. Encoder, decoder and normalization are those of the run. "
        "Classes that the run does not have are added.",
        default=None,
    )

    epochs: int = _field("Training", "Passes over the training images.", default=32, ge=1)
    time_budget: Duration | None = _field(
        "Training",
        "Length of the training in time instead of epochs: 90s, 5m or 1h30m. The learning rate follows the clock.",
        default=None,
        gt=0,
    )
    patience: int | None = _field(
        "Training",
        "Stop after this number of consecutive epochs without a better validation mIoU. By default never.",
        default=None,
        ge=1,
    )
    batch_size: int = _field("Training", "Images per step, over all processes together.", default=16, ge=1)
    loss: ComponentSpec = _field("Training", "Loss function.", default="cross_entropy")
    class_weights: str | dict[str, float] = _field(
        "Training",
        "Class weights in the loss: none, balanced (one over the pixel count), inverse_sqrt (one over its square "
        "root), or name=weight,name=weight.",
        default="none",
    )
    lr: float = _field("Training", "Learning rate. The onecycle schedule has it as maximum.", default=3e-3, gt=0)
    encoder_lr_factor: float = _field(
        "Training", "Learning rate of the encoder divided by that of the decoder.", default=0.1, gt=0
    )
    weight_decay: float = _field("Training", "Weight decay of AdamW. With 0, AdamW equals Adam.", default=1e-2, ge=0)
    lr_schedule: Literal["constant", "onecycle"] = _field("Training", "Learning-rate schedule.", default="onecycle")
    seed: int = _field("Training", "Random seed.", default=0, ge=0, lt=2**31)
    callbacks: tuple[ComponentSpec, ...] = _field("Training", "Callbacks, in addition to the default ones.", default=())

    device: str = _field("Machine", "Device of the training: auto, cpu, cuda or mps.", default="auto")
    precision: Literal["auto", "bf16-mixed", "32-true"] = _field(
        "Machine",
        "bf16-mixed computes in bfloat16 with autocast, 32-true in float32. auto is bf16-mixed if the hardware has "
        "bfloat16 instructions, else 32-true.",
        default="auto",
    )
    num_workers: int = _field(
        "Machine", "Processes that load images. 0 loads in the training process.", default=0, ge=0
    )
    sample_predictions: int = _field(
        "Machine", "Number of validation images whose predicted masks are drawn.", default=4, ge=1
    )
    loggers: tuple[ComponentSpec, ...] | None = _field(
        "Machine", "Loggers of metrics. By default csv, and tensorboard if it is installed.", default=None
    )

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, settings: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Refuse names of version 0.1, expand `freeze_encoder`, and convert a ValidationError to a ConfigError."""
        if isinstance(settings, dict):
            old = find_old_names(settings)
            if old:
                raise ConfigError("; ".join(old))
            settings = expand_freeze_encoder(settings)
        try:
            return handler(settings)
        except ValidationError as error:
            raise ConfigError(format_validation_error(error, cls, nested=False)) from None

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

        If the encoder is not that of the preset, `encoder_layers` and `encoder_weights` of the preset are reset. If
        `encoder_weights` is "none", `encoder_training` of the preset is reset, so that the encoder trains.

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
            part = expand_freeze_encoder(part)
            if part.get("encoder", _encoder_of(merged)) != _encoder_of(merged):
                merged |= {"encoder_layers": None, "encoder_weights": None}
            if part.get("encoder_weights") == "none":
                merged["encoder_training"] = "auto"
            merged |= part
        return Config(**merged)

    def replace(self, **settings: Any) -> "Config":
        """Return these settings with some of them replaced. Raises ConfigError if a value is invalid."""
        return Config(**(self.model_dump() | expand_freeze_encoder(settings)))

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

    @property
    def eval_size(self) -> int:
        """Side in pixels at which whole images are validated and predicted."""
        if self.eval_scale == 1:
            return self.image_size
        return max(self.image_size, round(self.image_size * self.eval_scale) // 32 * 32)

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
            pretrained=self.encoder_weights != "none" or self.start_from is not None,
            device_type=device_type,
        )


def _encoder_of(settings: Mapping[str, Any]) -> str:
    return str(settings.get("encoder", Config.model_fields["encoder"].default))
