"""Writers of image files: masks, overlays, cutouts, confidence, probabilities and labels; and the tables."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.inference.file_names import mask_kinds
from pixelwise.inference.large_tiff import TILE, write_imagej_tiff, write_mask_tiff, write_tiff
from pixelwise.inference.object_labels import image_labels
from pixelwise.inference.objects import counted_values
from pixelwise.inference.outputs import PNG_KEY, write_masks, write_overlay
from pixelwise.inference.prediction import require_mask_format
from pixelwise.inference.writers.base import WRITERS, Bytes, FileSpec, PredictedImage, Writer
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.atomic import atomic_write
from pixelwise.visualization import save_image, to_display_image

_MAX_IMAGEJ_LABELS = (1 << 16) - 1
"""Maximum number of objects in an ImageJ file. ImageJ reads no integers of 32 bits, but Bio-Formats does."""

_MAX_IMAGEJ_BYTES = (1 << 32) - (1 << 20)
"""Maximum size of an ImageJ file in bytes. It is a TIFF file with positions of 32 bits."""


@WRITERS.register("mask")
class MaskWriter(Writer):
    """The mask: NAME_mask.png, or NAME_mask_CLASS.png for each class of a multi-label model."""

    def files(self) -> dict[str, FileSpec]:
        return dict.fromkeys(mask_kinds(self.options.task, self.options.config.classes), FileSpec(".png", ".tif"))

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        if image.mask_file is None or image.page is None:
            write_masks(image.prediction(), image.mark, list(files.values()))
            return
        mask_format = None if self.options.masks == "index" else require_mask_format(image.config.mask_format)
        for channel, file in enumerate(files.values()):
            with atomic_write(file) as part:
                write_mask_tiff(part, image.mask_file, channel, mask_format, image.page, image.mark.to_text())


@WRITERS.register("overlay")
class OverlayWriter(Writer):
    """The mask drawn over the image: NAME_overlay.jpg."""

    def files(self) -> dict[str, FileSpec]:
        return {} if self.options.overlays == "none" else {"overlay": FileSpec(f".{self.options.overlays}")}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        for file in files.values():
            write_overlay(image.prediction(), image.mark, file)


@WRITERS.register("cutout")
class CutoutWriter(Writer):
    """The image with transparent background: NAME_cutout.png. Transparent pixels are black."""

    def files(self) -> dict[str, FileSpec]:
        return {"cutout": FileSpec(".png", ".tif")}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
        _write_bands(image, files["cutout"], self._bands(image), (4,), **options)

    def _bands(self, image: PredictedImage) -> Iterator[Bytes]:
        """Yield rows of the cutout, (rows, W, 4) uint8, from top to bottom."""
        config = self.options.config
        foreground = counted_values(config.task, len(config.classes), config.background)
        rows = image.height if image.page is None else TILE  # a packed class is unpacked each time it is read
        for start in range(0, image.height, rows):
            stop = min(start + rows, image.height)
            pixels = to_display_image(image.rows.read(start, stop))
            is_shown = np.zeros(pixels.shape[:2], bool)
            for is_object, channel in zip(foreground, image.channels, strict=True):
                is_shown |= is_object[channel[start:stop]]
            yield np.concatenate([pixels * is_shown[..., None], is_shown[..., None] * np.uint8(255)], 2)


@WRITERS.register("confidence")
class ConfidenceWriter(Writer):
    """The probability of the prediction at each pixel, from 0 (0) to 255 (1): NAME_confidence.png."""

    needs: ClassVar[frozenset[str]] = frozenset({"confidence"})

    def files(self) -> dict[str, FileSpec]:
        return {"confidence": FileSpec(".png", ".tif")}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        _write_bands(image, files["confidence"], self._bands(image), (), photometric="minisblack")

    def _bands(self, image: PredictedImage) -> Iterator[Bytes]:
        assert image.confidence is not None
        channel = image.channels[0]  # unpacked once
        for start in range(0, image.height, TILE):
            band = np.rint(255 * image.confidence[start : start + TILE]).astype(np.uint8)
            band[channel[start : start + TILE] == IGNORE_INDEX] = 0
            yield band


def _write_bands(
    image: PredictedImage, file: Path, bands: Iterator[Bytes], samples: tuple[int, ...], **options: Any
) -> None:
    """Write bands of rows as a PNG file, or as a TIFF file if the image is read in parts.

    Args:
        image: the image.
        file: the file.
        bands: (rows, W, *samples) each, from top to bottom.
        samples: (4,) for RGBA, or () for gray values.
        options: options of the TIFF file, see `write_tiff`.
    """
    mark = image.mark.to_text()
    if image.page is None:
        save_image(Image.fromarray(np.concatenate(list(bands))), file, {PNG_KEY: mark})
        return
    with atomic_write(file) as part:
        write_tiff(part, bands, (image.height, image.width, *samples), image.page, mark, dtype=np.uint8, **options)


@WRITERS.register("probabilities")
class ProbabilityWriter(Writer):
    """The probability of each class at each pixel: NAME_probabilities.tif, float32, a band per class."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    packages: ClassVar[Mapping[str, str]] = {"tifffile": "tiff"}

    def files(self) -> dict[str, FileSpec]:
        return {"probabilities": FileSpec(".tif")}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        assert image.probabilities is not None
        values, classes = image.probabilities, len(image.config.classes)

        def bands() -> Iterator[npt.NDArray[np.float32]]:
            for index in range(classes):
                for start in range(0, image.height, TILE):
                    yield values[index, start : start + TILE]

        with atomic_write(files["probabilities"]) as part:
            shape = (classes, image.height, image.width)
            write_tiff(
                part, bands(), shape, image.page, image.mark.to_text(),
                dtype=np.float32, photometric="minisblack", planarconfig="separate",
            )  # fmt: skip


@WRITERS.register("label-tiff")
class LabelWriter(Writer):
    """The objects as numbers from 1 on: NAME_labels.tif, for ImageJ, napari and scikit-image.

    The number of an object is the number of its row among those of the image in objects.csv. For a multi-label model,
    the file has a channel for each class.
    """

    packages: ClassVar[Mapping[str, str]] = {"tifffile": "tiff"}

    def files(self) -> dict[str, FileSpec]:
        return {"labels": FileSpec(".tif")}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        config = image.config
        labels = image_labels(image.channels, config.task, len(config.classes), config.background)
        dtype = np.dtype(np.uint16 if labels.count <= _MAX_IMAGEJ_LABELS else np.uint32)
        shape = (*config.task.mask_shape(len(config.classes), 1, 1)[:-2], image.height, image.width)
        bands, mark = labels.bands(dtype), image.mark.to_text()
        with atomic_write(files["labels"]) as part:
            if dtype == np.uint16 and 2 * math.prod(shape) < _MAX_IMAGEJ_BYTES:
                write_imagej_tiff(part, bands, shape, image.page, mark, labels.describe(config.classes))
            else:
                planes = {"planarconfig": "separate"} if len(shape) == 3 else {}
                write_tiff(part, bands, shape, image.page, mark, dtype=dtype, photometric="minisblack", **planes)


@WRITERS.register("csv")
class TableWriter(Writer):
    """predictions.csv and objects.csv. `predict_folder` writes their rows, see `ResultTables`."""

    shared: ClassVar[tuple[str, ...]] = ("predictions.csv", "objects.csv")
