"""Decoders: from an encoder's features to logits at the image's size.

A decoder is a module with `levels`, from deep to shallow, and `skips`, the index of the feature that joins at each.
"""

from pixelwise.models.decoders.fpn import FPNDecoder
from pixelwise.models.decoders.pix2pix import Pix2PixDecoder

DECODERS: dict[str, type[Pix2PixDecoder] | type[FPNDecoder]] = {
    "fpn": FPNDecoder,
    "pix2pix": Pix2PixDecoder,
}
