"""The registry of decoders, their common interface, and helpers that several decoders share."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Annotated, Protocol

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec, Entry, Registry

Channels = Annotated[int, Field(ge=1, le=4096)]
"""A number of channels. The limit bounds the memory that a model file from an untrusted source can request."""


class Decoder(Protocol):
    """A module that turns an encoder's features into logits.

    The constructor takes `in_channels`, the number of channels of each feature from shallow to deep, and `classes`, the
    number of logits per pixel. Parameters of the decoder are keyword arguments.

    A decoder can have two attributes that the architecture diagram shows: `stages`, its modules from deep to shallow,
    and `skips`, the index of the feature that each stage takes.
    """

    def __call__(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the logits.

        Args:
            features: (N, in_channels[i], h_i, w_i) float tensors of the encoder, from shallow to deep.
            size: height and width of the images in pixels.

        Returns:
            (N, classes, *size) float.
        """
        ...


SMP_PACKAGE = "segmentation_models_pytorch"


class DecoderRegistry(Registry[Callable[..., nn.Module]]):
    """A registry whose error about a decoder of a missing package names the package."""

    def __getitem__(self, name: str) -> Entry[Callable[..., nn.Module]]:
        """Return the entry with a name. See `Registry`."""
        if name.startswith("smp/") and name not in self and find_spec(SMP_PACKAGE) is None:
            raise ConfigError(
                f"decoder '{name}' needs the package segmentation-models-pytorch; run pip install 'pixelwise[smp]'"
            )
        return super().__getitem__(name)


DECODERS = DecoderRegistry("decoder")
"""All decoders by name: classes or functions that return a `Decoder` module."""

register_decoder = DECODERS.register
"""Add a decoder. See `Registry.register`.

```python
@register_decoder("mine")
class MyDecoder(nn.Module):
    def __init__(self, in_channels, classes): ...
    def forward(self, features, size): ...
```
"""


def list_decoders() -> list[str]:
    """Return the names of all registered decoders."""
    return list(DECODERS)


def build_decoder(spec: ComponentSpec, in_channels: Sequence[int], classes: int) -> nn.Module:
    """Return a new decoder.

    Args:
        spec: a name in DECODERS, or {"name": name, parameter: value, …}.
        in_channels: the number of channels of each feature, from shallow to deep.
        classes: the number of logits per pixel.

    Raises:
        ConfigError: The decoder or a parameter is unknown, or the decoder does not fit these features.

    >>> from pixelwise.models.decoders import build_decoder
    >>> decoder = build_decoder({"name": "fpn", "widths": [32, 16]}, [16, 24, 40], classes=2)
    """
    return DECODERS.build(spec)(in_channels, classes)


def resize_bilinear(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a tensor by bilinear interpolation.

    Args:
        x: (N, C, h, w) float.
        size: the new height and width in pixels.

    Returns:
        (N, C, *size) float.
    """
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
