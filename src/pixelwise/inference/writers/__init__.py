"""Writers of the outputs of predictions. Importing this package registers those of pixelwise in `WRITERS`."""

from pixelwise.inference.writers import image_files  # the order of the registry is that of these imports

from pixelwise.inference.writers import annotations  # isort: skip
from pixelwise.inference.writers.base import (
    WRITERS,
    Entry,
    FileSpec,
    PredictedImage,
    WriteOptions,
    Writer,
    make_writers,
)

__all__ = [
    "WRITERS",
    "Entry",
    "FileSpec",
    "PredictedImage",
    "WriteOptions",
    "Writer",
    "annotations",
    "image_files",
    "make_writers",
]
