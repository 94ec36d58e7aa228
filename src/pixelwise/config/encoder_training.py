"""The parts of an encoder that train, and their defaults for each device."""

from dataclasses import dataclass
from typing import Literal

DECODER_FIRST_FRACTION = 0.25
"""Fraction of the training, at the start, in which `encoder_training` "decoder-first" trains only the decoder."""

_KEPT_VERSIONS = 2
"""Default of `kept_versions` for a pretrained encoder on a CPU whose decoder trains first."""


@dataclass(frozen=True)
class EncoderTraining:
    """The parts of an encoder that train.

    Attributes:
        mode: "none" never trains the encoder, "all" trains it from the first step, and "decoder-first" trains it after
            `DECODER_FIRST_FRACTION` of the epochs.
        freeze_depthwise: True if the depthwise convolutions do not train.
        freeze_batchnorm: True if the batch norms keep their statistics. Their weights train.
        kept_versions: number of versions of each image whose features are kept.
    """

    mode: Literal["none", "decoder-first", "all"]
    freeze_depthwise: bool
    freeze_batchnorm: bool
    kept_versions: int


def resolve_encoder_training(
    mode: Literal["auto", "none", "decoder-first", "all"],
    freeze_depthwise: bool | None,
    freeze_batchnorm: bool | None,
    kept_versions: int | None,
    *,
    pretrained: bool,
    device_type: str,
) -> EncoderTraining:
    """Replace the settings "auto" and None by the values for a device. See `Config.resolve_encoder_training`.

    Args:
        mode: the setting `encoder_training`.
        freeze_depthwise: the setting. None for the default.
        freeze_batchnorm: the setting. None for the default.
        kept_versions: the setting. None for the default.
        pretrained: False if the encoder starts with random weights.
        device_type: "cpu", "cuda" or "mps".

    Returns:
        The parts that train.
    """
    is_cpu_finetuning = device_type == "cpu" and pretrained
    if mode == "auto":
        mode = "decoder-first" if is_cpu_finetuning else "all"
    kept = _KEPT_VERSIONS if is_cpu_finetuning and mode == "decoder-first" else 0
    freeze = is_cpu_finetuning or mode == "none"
    return EncoderTraining(
        mode,
        freeze if freeze_depthwise is None else freeze_depthwise,
        freeze if freeze_batchnorm is None else freeze_batchnorm,
        kept if kept_versions is None else kept_versions,
    )
