"""Writers of the outputs of predictions. Importing this package registers those of pixelwise in `WRITERS`."""

# The order of the registry is that of these imports.
# isort: off
from pixelwise.inference.writers import image_files, annotations, geojson, labeling

# isort: on
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
    "geojson",
    "image_files",
    "labeling",
    "make_writers",
]
