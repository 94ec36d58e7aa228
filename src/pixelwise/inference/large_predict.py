"""Predict large images without keeping their logits. Large TIFF and JPEG 2000 files are also read in parts."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelwise.data.resize import nearest_indices
from pixelwise.errors import DataError
from pixelwise.inference.image_rows import ArrayRows, ImageRows
from pixelwise.inference.inputs import read_input
from pixelwise.inference.large_mask import STEP_ROWS, ClassConfidence, MaskFile, MaskPart, RowProgress, mask_parts
from pixelwise.inference.large_rows import FileRows, ScaledRows
from pixelwise.inference.mask_confidence import mask_confidence
from pixelwise.inference.mask_counts import MaskCounts
from pixelwise.inference.mask_filter import MaskFilter
from pixelwise.inference.objects import ObjectFinder, ObjectTable, counted_values, join_channels
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.sources import ImageSource
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.atomic import temporary_directory
from pixelwise.runtime.files import write_errors
from pixelwise.runtime.progress import Progress, no_progress

T = TypeVar("T")

Observer = Callable[[range, range, Tensor, npt.NDArray[np.uint8]], None]
"""A function of rows, columns, their logits and their mask, see `mask_parts`."""

MAX_OVERLAY_SIDE = 4096
"""Maximum side in pixels of the overlay of a large file. A larger overlay is reduced to this side."""

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


def predict_by_rows(
    predictor: Predictor, path: ImageSource, progress: Progress = no_progress, needs: Collection[str] = ()
) -> Prediction:
    """Decode an image, and predict its mask without keeping its logits.

    Args:
        predictor: the model.
        path: the image.
        progress: counts steps of 64 rows in each strip of the image, see `ImageView.strips`.
        needs: "confidence" and "probabilities", to compute these at the size of the image, see `Prediction`.

    Returns:
        The prediction.

    Raises:
        DataError: The image cannot be read.
    """
    config = predictor.config
    image = read_input(path, config)
    rows, confidence = ArrayRows(image), ClassConfidence(config.task, len(config.classes), predictor.shift)
    mask = np.empty(config.task.mask_shape(len(config.classes), rows.height, rows.width), np.uint8)
    size = (rows.height, rows.width)
    sure = np.empty(size, np.float32) if "confidence" in needs else None
    likelihood = np.empty((len(config.classes), *size), np.float32) if "probabilities" in needs else None

    observe = _observer(config, *(None if array is None else partial(_keep, array) for array in (sure, likelihood)))
    for part in _parts(predictor, rows, confidence, progress, observe):
        _keep(mask, part)
    nodata = int(np.count_nonzero((mask if mask.ndim == 2 else mask[0]) == IGNORE_INDEX))
    return Prediction.from_config(
        image,
        mask,
        config,
        nodata_pixels=nodata,
        probabilities=likelihood,
        confidences=confidence.means(),
        compute_confidence=None if sure is None else lambda: sure,
    )


class LargeArrays(NamedTuple):
    """The arrays of a large image, which the system reads from temporary files when they are used.

    Attributes:
        rows: the image.
        mask: its mask.
        confidence: (H, W) float32 in [0, 1], or None if it is not needed.
        probabilities: (C, H, W) float32 in [0, 1], or None if they are not needed.
    """

    rows: FileRows
    mask: MaskFile
    confidence: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


def predict_large_file(
    predictor: Predictor,
    path: Path,
    out: Path,
    write: Callable[[LargeArrays, LargePrediction], T],
    progress: Progress = no_progress,
    needs: Collection[str] = (),
    mask_filter: MaskFilter = MaskFilter(),  # noqa: B008, frozen
) -> T:
    """Predict a large file in parts, and call a function with the result.

    Until it returns, a temporary file has one byte per pixel, and per class if the mask is multi-label. The confidence
    takes four bytes per pixel, and the probabilities four per pixel and class.

    Args:
        predictor: the model.
        path: the image.
        out: the directory of the temporary files.
        write: called with the arrays and the counts of the mask.
        progress: counts steps of 64 rows in each strip of the image, see `ImageView.strips`.
        needs: "confidence" and "probabilities", to compute these.
        mask_filter: changes the mask before it is counted.

    Returns:
        The result of `write`.

    Raises:
        DataError: The image cannot be read. The message names it.
        OutputError: A file cannot be written.
    """
    config = predictor.config
    classes = len(config.classes)
    with ExitStack() as stack:
        rows = stack.enter_context(FileRows(path, config))
        if rows.windows.page is None:
            raise DataError(f"{path}: writing its mask needs tifffile; pip install 'pixelwise[tiff]'")
        size = (rows.height, rows.width)
        stack.enter_context(write_errors(out))
        folder = stack.enter_context(temporary_directory(out))

        def open_file(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> MaskFile:
            return stack.enter_context(MaskFile(folder / f"{name}.part", shape, dtype))

        mask = open_file("mask", config.task.mask_shape(classes, *size))
        sure = open_file("confidence", size, np.float32) if "confidence" in needs else None
        likely = open_file("probabilities", (classes, *size), np.float32) if "probabilities" in needs else None
        confidence = ClassConfidence(config.task, classes, predictor.shift)
        observe = _observer(config, *(None if file is None else file.write for file in (sure, likely)))
        for part in _parts(predictor, rows, confidence, progress, observe):
            mask.write(part)
        mask_filter.change_all(mask.map(), config)
        counts = _count(mask, config, confidence)
        # No variable keeps these arrays: Windows does not remove a file that is mapped.
        return write(
            LargeArrays(rows, mask, *(None if file is None else file.map() for file in (sure, likely))), counts
        )


def _keep(target: npt.NDArray[Any], part: MaskPart) -> None:
    target[..., part.rows.start : part.rows.stop, part.columns.start : part.columns.stop] = part.mask


def _observer(
    config: ModelConfig,
    keep_confidence: Callable[[MaskPart], None] | None,
    keep_probabilities: Callable[[MaskPart], None] | None,
) -> Observer | None:
    """Return a function that keeps the confidence and the probabilities of a part. None if neither is needed."""
    if keep_confidence is None and keep_probabilities is None:
        return None

    def observe(rows: range, columns: range, logits: Tensor, mask: npt.NDArray[np.uint8]) -> None:
        likely = config.task.activate(logits / config.temperature).cpu().numpy()
        if keep_probabilities is not None:
            keep_probabilities(MaskPart(rows, columns, likely))
        if keep_confidence is not None:
            keep_confidence(MaskPart(rows, columns, mask_confidence(config.task, likely, mask)))

    return observe


def _parts(
    predictor: Predictor,
    rows: ImageRows,
    confidence: ClassConfidence,
    progress: Progress,
    observe_resized: Observer | None = None,
) -> Iterator[MaskPart]:
    """Yield the parts of the mask, and report the progress. For `observe_resized` see `mask_parts`."""
    view, config = predictor.image_view, predictor.config
    done = RowProgress(progress, rows.height, view.strips(rows.width))
    for part in mask_parts(view, rows, config, confidence, observe_resized=observe_resized):
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
