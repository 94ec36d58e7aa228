"""Licenses of pretrained weights: which of them have to be accepted by name, and those of the parts of a model."""

import re

from pixelwise.errors import ConfigError
from pixelwise.models.decoders.base import DECODERS
from pixelwise.models.encoder_table import CODE_LICENSE
from pixelwise.registry import ComponentSpec

UNKNOWN = "unknown"
"""License of weights whose source does not state one."""

FREE_LICENSES = frozenset(
    ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", UNKNOWN, "none")
)
"""Licenses that need not be accepted by name: those that allow commercial use, `UNKNOWN`, and "none" (no weights)."""

_NON_COMMERCIAL = re.compile(r"(^|-)(nc|noncommercial|amlr|seer)(-|$)")
"""Parts of the names of licenses that do not allow commercial use, also of Apple's (AMLR) and Meta's (SEER)."""


def check_license(encoder: str, license: str, accepted: str | None) -> None:
    """Raise an error if the license of pretrained weights restricts their use and was not accepted.

    Args:
        encoder: timm's name of the encoder.
        license: the license of its weights.
        accepted: the license that the user accepts, or None.

    Raises:
        ConfigError: The license restricts the use of the weights, and is not the accepted one.

    >>> check_license("resnet18", "apache-2.0", None)
    """
    if license in FREE_LICENSES or license == accepted:
        return
    terms = "it does not allow commercial use" if _NON_COMMERCIAL.search(license) else "it has conditions of its own"
    raise ConfigError(
        f"the pretrained weights of encoder '{encoder}' have the license {license}: {terms}; set `accept_license` to "
        f"{license} if you agree to it, or choose another encoder"
    )


def part_licenses(weights: str, decoder: ComponentSpec) -> dict[str, str]:
    """Return the license of each part of a model.

    Args:
        weights: the license of the encoder's pretrained weights, or "none" without them.
        decoder: the setting of the decoder.

    Returns:
        The part → its license. The license of the training data is not known.
    """
    entry, _ = DECODERS.parse(decoder)
    return {
        "encoder weights": weights,
        "encoder code": CODE_LICENSE,
        "decoder": str(entry.traits.get("license", UNKNOWN)),
        "training data": UNKNOWN,
    }
