"""Creation of a model from the settings of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixelwise.data.schema import ReadSpec
from pixelwise.data.task import MULTICLASS
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.models.timm_models import check_encoder, check_sizes, has_fixed_input_size
from pixelwise.palette import Palette
from pixelwise.runtime.device import resolve_device

if TYPE_CHECKING:
    from pixelwise.config.settings import Config


def build_model(
    config: "Config", classes: Sequence[str], palette: Palette | None, read_spec: ReadSpec | None
) -> SegmentationModel:
    """Create a model and freeze its encoder. See `Config.create_model`."""
    check_encoder(config.encoder)
    check_sizes(config.encoder, config.image_size, config.eval_size, config.start_size)
    model = create_model(
        config.encoder,
        config.decoder,
        classes,
        palette=palette,
        image_size=config.eval_size,
        view=config.view,
        scale=config.scale,
        window_factor=window_factor(config),
        encoder_weights=config.encoder_weights,
        accept_license=config.accept_license,
        encoder_layers=config.encoder_layers,
        encoder_padding=config.encoder_padding,
        normalization=config.normalization,
        channels=read_spec.channels if read_spec else 3,
        pixel_scale=read_spec.scale if read_spec else None,
        task=read_spec.task if read_spec else MULTICLASS,
    )
    freeze_encoder(model, config)
    return model


def window_factor(config: "Config") -> int:
    """Return the side of windows with the view "tiles" as a multiple of the model's size, see `ModelConfig`.

    A model of whole images that were joined to mosaics predicts larger windows better: fewer objects are cut, and it
    can separate them (docs/decisions.md).

    Args:
        config: the settings of the training.
    """
    is_larger = config.view == "whole" and config.mosaic > 0 and not has_fixed_input_size(config.encoder)
    return 2 if is_larger else 1


def freeze_encoder(model: SegmentationModel, config: "Config") -> None:
    """Freeze the parts of an encoder that do not train with these settings on the device of the settings.

    Args:
        model: the model. It is changed in place.
        config: the settings.
    """
    training = config.resolve_encoder_training(resolve_device(config.device).type)
    model.encoder.freeze(
        training.mode,
        depthwise=training.freeze_depthwise,
        batchnorm=training.freeze_batchnorm,
        stride=config.freeze_stride,
    )
