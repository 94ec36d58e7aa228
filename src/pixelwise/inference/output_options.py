"""The choices for the output files of predictions."""

from typing import Literal

MaskStyle = Literal["index", "as-given"]
"""The values of mask files: class indices, or the values of the training masks."""

OverlayFormat = Literal["jpg", "png", "none"]
"""The format of overlays, or "none" to write none."""

OUTPUTS = (
    "mask",
    "overlay",
    "cutout",
    "confidence",
    "probabilities",
    "label-tiff",
    "csv",
    "coco",
    "yolo",
    "labelme",
    "geojson",
    "label-studio",
    "cvat",
)
"""The names of the outputs in `WRITERS`, for the help of the command line, which does not import the writers."""

DEFAULT_OUTPUTS = ("mask", "overlay", "csv")
"""The outputs that are written by default."""

ENGINE_NAMES = ("local", "ray")
"""The names of the engines in `ENGINES`, for the same purpose as `OUTPUTS`."""
