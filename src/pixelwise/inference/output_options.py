"""The choices for the output files of predictions."""

from typing import Literal

MaskStyle = Literal["index", "as-given"]
"""The values of mask files: class indices, or the values of the training masks."""

OverlayFormat = Literal["jpg", "png", "none"]
"""The format of overlays, or "none" to write none."""
