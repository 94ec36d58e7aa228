"""Decoders by name: from an encoder's features to logits at the image's size.

To add a decoder, write a module with the signature of `Decoder` in a file here, register it, and import the file below.
"""

from pixelwise.models.decoders import fpn, pix2pix, smp
from pixelwise.models.decoders.base import DECODERS, Decoder, build_decoder, list_decoders, register_decoder

__all__ = ["DECODERS", "Decoder", "build_decoder", "fpn", "list_decoders", "pix2pix", "register_decoder", "smp"]
