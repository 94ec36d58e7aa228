"""The settings of the model: its encoder, decoder and the parts that train."""

from typing import Literal

from pydantic import BaseModel

from pixelwise.config.setting import setting
from pixelwise.registry import ComponentSpec


class ModelSettings(BaseModel):
    """Settings of the model: its encoder, decoder and the parts that train. They are fields of `Config`."""

    encoder: str = setting("Model", "Name of a timm model that returns features.", default="tf_efficientnet_lite0")
    encoder_weights: ComponentSpec | None = setting(
        "Model",
        "Pretrained weights: bundled (from an installed package), hub (from timm's hub), none, or the path of a "
        "safetensors file. By default bundled if an installed package has them, else hub.",
        default=None,
        validate_default=True,
    )
    accept_license: str | None = setting(
        "Model",
        "License of the pretrained weights that you agree to, such as cc-by-nc-4.0. Needed only if it restricts their "
        "use.",
        default=None,
    )
    encoder_layers: tuple[str, ...] | None = setting(
        "Model", "Names of the encoder layers that features are taken from, shallow to deep.", default=None
    )
    encoder_padding: Literal["native", "same"] = setting(
        "Model", "Padding of the encoder's convolutions: native (its own), or same (TensorFlow's).", default="native"
    )
    normalization: Literal["encoder", "unit"] = setting(
        "Model", "Normalization of pixels: encoder (as in its pretraining), or unit (to [0, 1]).", default="encoder"
    )
    encoder_training: Literal["auto", "none", "decoder-first", "all"] = setting(
        "Model",
        "When the encoder trains: none (never), all (from the first step), or decoder-first (after a quarter of the "
        "epochs). auto is decoder-first for a pretrained encoder on a CPU, else all.",
        default="auto",
    )
    freeze_depthwise: bool | None = setting(
        "Model",
        "Freeze the encoder's depthwise convolutions. By default only for a pretrained encoder on a CPU.",
        default=None,
    )
    freeze_batchnorm: bool | None = setting(
        "Model",
        "Keep the statistics of the encoder's batch norms. By default only for a pretrained encoder on a CPU.",
        default=None,
    )
    freeze_stride: int = setting(
        "Model",
        "Freeze the encoder's first layers, up to the features with this stride in pixels. Steps are then faster. 0 "
        "freezes none.",
        default=0,
        ge=0,
    )
    kept_versions: int | None = setting(
        "Model",
        "On a CPU, number of augmented versions of each image that epochs in which only the decoder trains use in "
        "turn. The encoder's features are kept, up to 1 GiB, so these epochs are faster. It applies to whole images in "
        "one process, if the batch norms keep their statistics. 0 for new versions in each epoch. By default 2 for a "
        "pretrained encoder on a CPU whose decoder trains first.",
        default=None,
        ge=0,
    )
    decoder: ComponentSpec = setting("Model", "Decoder, from features to logits.", default="fpn")
    start_from: str | None = setting(
        "Model",
        "Run whose best model the training starts from. Encoder, decoder and normalization are those of the run. "
        "Classes that the run does not have are added.",
        default=None,
    )
