"""Predict large images without keeping their logits. Large TIFF and JPEG 2000 files are also read in parts."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.image_windows import WINDOW_SUFFIXES, can_read_windows, stated_pixels
from pixelwise.data.resize import nearest_indices
from pixelwise.errors import DataError
from pixelwise.inference.inputs import read_input
from pixelwise.inference.large_mask import STEP_ROWS, ClassConfidence, MaskFile, MaskPart, RowProgress, mask_parts
from pixelwise.inference.large_rows import ArrayRows, FileRows, ImageRows, ScaledRows
from pixelwise.inference.large_tiff import has_georeference, write_mask_tiff
from pixelwise.inference.mask_counts import MaskCounts
from pixelwise.inference.objects import ObjectFinder, ObjectTable, counted_values, join_channels
from pixelwise.inference.output_options import MaskStyle
from pixelwise.inference.outputs import Mark, digest, write_overlay
from pixelwise.inference.prediction import Prediction, require_mask_format
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.sources import ImageSource
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.progress import Progress, no_progress

LARGE_PIXELS = 1 << 26
"""Number of pixels from which on a file is read in parts, and its mask is a TIFF file. See also `is_large_file`."""

MAX_OVERLAY_SIDE = 4096
"""Maximum side in pixels of the overlay of a large file. A larger overlay is reduced to this side."""

_MAX_LOGITS_BYTES = 256 << 20
"""Size in bytes of the logits of an image from which on they are not kept, but converted to the mask row by row."""

_BAND = 512
"""Number of rows of a mask that are counted at once."""


@dataclass(frozen=True)
class LargePrediction(MaskCounts):
    """The counts of the mask of a large image. Its attributes are those of `Prediction` with the same names.

    Attributes:
        background: indices of the classes that have no objects.
        object_table: the objects of all classes but the background.
    """

    background: tuple[int, ...]
    object_table: ObjectTable


def is_large_file(path: ImageSource) -> bool:
    """Return True if an image is a file that is read in parts, see `open_windows`, and whose mask is a TIFF file.

    Such a file has more than `LARGE_PIXELS`, or a georeference, which its mask keeps. A file that cannot be read in
    parts is decoded at once if it has at most `MAX_PIXELS`. A virtual mosaic (VRT) is always read in parts.
    """
    if not isinstance(path, Path) or path.suffix.lower() not in WINDOW_SUFFIXES:
        return False
    if path.suffix.lower() == ".vrt":
        return True
    pixels = stated_pixels(path) or 0
    return pixels > MAX_PIXELS or (pixels > LARGE_PIXELS and can_read_windows(path)) or has_georeference(path)


def has_large_logits(path: ImageSource, predictor: Predictor) -> bool:
    """Return True if the logits of an image in a local file take more than `_MAX_LOGITS_BYTES`."""
    if not isinstance(path, Path) or predictor.image_view.has_fixed_size:
        return False
    with suppress(Exception), Image.open(path, formats=PILLOW_FORMATS) as image:  # a bad header can raise any error
        height, width = predictor.image_view.working_size(image.height, image.width)
        return 4 * len(predictor.classes) * height * width > _MAX_LOGITS_BYTES
    return False


def predict_by_rows(predictor: Predictor, path: ImageSource, progress: Progress = no_progress) -> Prediction:
    """Decode an image, and predict its mask without keeping its logits.

    Args:
        predictor: the model.
        path: the image.
        progress: counts steps of 64 rows in each strip of the image, see `ImageView.strips`.

    Returns:
        The prediction, without probabilities.

    Raises:
        DataError: The image cannot be read.
    """
    config = predictor.model.config
    image = read_input(path, config)
    rows, confidence = ArrayRows(image), ClassConfidence(config.task, len(config.classes))
    mask = np.empty(config.task.mask_shape(len(config.classes), rows.height, rows.width), np.uint8)
    for part in _parts(predictor, rows, confidence, progress):
        mask[..., part.rows.start : part.rows.stop, part.columns.start : part.columns.stop] = part.mask
    nodata = int(np.count_nonzero((mask if mask.ndim == 2 else mask[0]) == IGNORE_INDEX))
    return Prediction.from_config(image, mask, config, nodata_pixels=nodata, confidences=confidence.means())


def predict_large_file(
    predictor: Predictor,
    path: Path,
    files: Mapping[str, Path],
    model: str,
    masks: MaskStyle = "index",
    progress: Progress = no_progress,
) -> tuple[LargePrediction, Mark]:
    """Predict a large file in parts, and write its masks and its overlay.

    The masks are tiled BigTIFF files of the size of the image. The overlay is reduced to `MAX_OVERLAY_SIDE`. While the
    mask is computed, a temporary file in its directory has one byte per pixel, and per class if it is multi-label.

    Args:
        predictor: the model.
        path: the image.
        files: kind → output file. The kinds are those of `mask_kinds` in their order, and optionally "overlay".
        model: the `fingerprint` of the model.
        masks: the values of the masks, see `Prediction.mask_images`.
        progress: counts steps of 64 rows in each strip of the image, see `ImageView.strips`.

    Returns:
        The counts of the mask, and the mark that the files have.

    Raises:
        DataError: The image cannot be read. The message names it.
        OutputError: A file cannot be written.
        ConfigError: The model does not contain the values of `masks`.
    """
    config = predictor.model.config
    mask_format = None if masks == "index" else require_mask_format(config.mask_format)
    kinds = [kind for kind in files if kind != "overlay"]
    shape = config.task.mask_shape(len(config.classes), 0, 0)[:-2]
    with ExitStack() as stack:
        rows = stack.enter_context(FileRows(path, config))
        page = rows.windows.page
        if page is None:
            raise DataError(f"{path}: writing its mask needs tifffile; pip install 'pixelwise[tiff]'")
        targets = [stack.enter_context(atomic_write(files[kind])) for kind in kinds]
        mask = MaskFile(targets[0].parent / "mask.part", (*shape, rows.height, rows.width))
        stack.enter_context(mask)
        confidence = ClassConfidence(config.task, len(config.classes))
        for part in _parts(predictor, rows, confidence, progress):
            mask.write(part)
        result = _count(mask, config, confidence)
        shares = {name: round(fraction, 6) for name, fraction in result.class_fractions.items()}
        mark = Mark(model, digest(path), rows.width, rows.height, shares, masks)
        for channel, target in enumerate(targets):
            write_mask_tiff(target, mask, channel, mask_format, page, mark.to_text())
        if "overlay" in files:
            write_overlay(reduced_prediction(rows, mask, config), mark, files["overlay"])
    return result, mark


def _parts(
    predictor: Predictor, rows: ImageRows, confidence: ClassConfidence, progress: Progress
) -> Iterator[MaskPart]:
    """Yield the parts of the mask, and report the progress."""
    view, config = predictor.image_view, predictor.model.config
    done = RowProgress(progress, rows.height, view.strips(rows.width))
    for part in mask_parts(view, rows, config, confidence):
        if config.band_ranges:
            missing = config.pixel_scale.missing(rows.read(part.rows.start, part.rows.stop))
            if missing is not None:
                part.mask[..., missing[:, part.columns.start : part.columns.stop]] = IGNORE_INDEX
        yield part
        done.add(part.rows)
    done.complete()


def _count(mask: MaskFile, config: ModelConfig, confidence: ClassConfidence) -> LargePrediction:
    """Count the pixels and the objects of a mask."""
    classes = len(config.classes)
    areas, tables, nodata = np.zeros(256, np.int64), [], 0
    for channel, counted in enumerate(counted_values(config.task, classes, config.background)):
        finder, values = ObjectFinder(counted), np.zeros(256, np.int64)
        for band in mask.bands(channel, _BAND):
            values += np.bincount(band.ravel(), minlength=256)
            finder.add(band)
        tables.append(finder.table())
        nodata = int(values[IGNORE_INDEX])  # these pixels are ignored in all channels
        if len(mask.shape) == 2:
            areas = values
        else:
            areas[channel] = values[1]
    return LargePrediction(
        mask.shape[-2],
        mask.shape[-1],
        mask.shape[-2] * mask.shape[-1] - nodata,
        config.classes,
        {name: int(area) for name, area in zip(config.classes, areas, strict=False)},
        dict(zip(config.classes, confidence.means(), strict=True)),
        config.background,
        join_channels(tables),
    )


def reduced_prediction(rows: ImageRows, mask: MaskFile, config: ModelConfig) -> Prediction:
    """Return an image and its mask, both reduced to `MAX_OVERLAY_SIDE`.

    Args:
        rows: the image.
        mask: its mask.
        config: the configuration of the model.
    """
    factor = min(1.0, MAX_OVERLAY_SIDE / max(rows.height, rows.width))
    height, width = (max(1, round(side * factor)) for side in (rows.height, rows.width))
    scaled, image = ScaledRows(rows, (height, width)), np.empty((height, width, len(config.mean)), np.uint8)
    for start in range(0, height, STEP_ROWS):
        stop = min(start + STEP_ROWS, height)
        image[start:stop] = scaled.read(start, stop).permute(1, 2, 0).numpy()
    row, column = nearest_indices(rows.height, height), nearest_indices(rows.width, width)
    channels = np.stack(
        [
            np.concatenate([mask.read(channel, int(index), int(index) + 1)[:, column] for index in row])
            for channel in range(mask.channels)
        ]
    )
    small = channels[0] if len(mask.shape) == 2 else channels
    nodata = int(np.count_nonzero(channels[0] == IGNORE_INDEX))
    return Prediction.from_config(image, small, config, nodata_pixels=nodata)
