"""Writers of the outputs of predictions. Importing this package registers those of pixelwise in `WRITERS`."""

from pixelwise.inference.writers import image_files
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
    "image_files",
    "make_writers",
]
