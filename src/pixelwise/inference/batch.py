"""Predict many image files and write their masks, overlays and tables to a directory."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pixelwise.errors import ConfigError, DataError, OutputError, PixelwiseError, is_out_of_memory
from pixelwise.inference.file_names import mask_kinds
from pixelwise.inference.large_predict import has_large_logits, predict_by_rows, predict_large_file
from pixelwise.inference.object_scale import is_noted, lost_object_note
from pixelwise.inference.orientation import with_orientation
from pixelwise.inference.output_items import (
    REPORT_FILE,
    MarkOfRun,
    OutputItem,
    assign_files,
    check_existing,
    read_result,
    report_entry,
    write_report,
)
from pixelwise.inference.outputs import Mark, digest, fingerprint, write_outputs
from pixelwise.inference.pipeline import map_predictions
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.prediction import MaskStyle, Prediction, require_mask_format
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.result_tables import CLASSES_FILE, ImageRows, ResultTables
from pixelwise.inference.sources import find_images
from pixelwise.inference.video import predict_video, read_fractions
from pixelwise.runtime.atomic import remove_abandoned, share_temporary_directories
from pixelwise.runtime.cpu import leave_one_core
from pixelwise.runtime.files import write_errors
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

OverlayFormat = Literal["jpg", "png", "none"]
"""The format of overlays, or "none" to write none."""

_ONE_FILE_ERRORS = frozenset(
    (
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EACCES,
        errno.EPERM,
    )
)
"""Numbers of write errors that affect one image only. Other errors, such as a full disk, end the prediction."""


@dataclass(frozen=True)
class PredictResult:
    """Result of `predict_folder`.

    Attributes:
        report: the content of predictions.json.
        failed: one error for each file or folder that could not be used, in the order of the images.
        resumed: number of images that were skipped because their files were complete.
        notes: one line for each source that contains files other than images, and one line about images that are
            much larger than the training images, see `lost_object_note`.
        too_large: the paths of these images. The view "tiles" may be better for them.
    """

    report: dict[str, Any]
    failed: tuple[PixelwiseError, ...]
    resumed: int = 0
    notes: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()

    @property
    def image_count(self) -> int:
        """Number of images with a prediction, including the resumed ones."""
        return len(self.report["photos"])


def predict_folder(
    predictor: Predictor,
    sources: Sequence[str | Path],
    out: str | Path,
    progress: Progress = no_progress,
    *,
    row_progress: Progress = no_progress,
    frame_progress: Progress = no_progress,
    frame_masks: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    masks: MaskStyle = "index",
    overlays: OverlayFormat = "jpg",
    pixel_size: str = "",
) -> PredictResult:
    """Predict images, videos and directories of them, and write the results to a directory.

    The outputs of an image are NAME_mask.png (grayscale, its values are class indices) and NAME_overlay.jpg. For a
    multi-label model, NAME_mask_CLASS.png for each class replaces NAME_mask.png. All outputs have the size of the
    image. The masks of large files are TIFF files, and their overlays are reduced, see `is_large_file` and
    `predict_large_file`. predictions.csv has one row per image and class, and objects.csv one row per object, see
    `ClassRows` and `ObjectRows`. The output of a video or of an animated GIF is an overlay video or GIF, see
    `predict_video`. Its rows in predictions.csv are sums over all frames. predictions.json lists the output files, the
    size and the class fractions of each image. It is written last.

    Args:
        predictor: the model.
        sources: files, directories, patterns and URLs, see `find_images`.
        out: the directory. It may exist. None of the files to be written may exist unless `overwrite` or `resume` is
            set.
        progress: wraps the iteration over the images, to draw a progress bar.
        row_progress: the same for the parts of each large image: 64 rows of a strip, see `ImageView.strips`.
        frame_progress: the same for the frames of each video.
        frame_masks: True to write one mask per frame of a video, see `predict_video`.
        overwrite: replace files that exist, but never one of the images.
        resume: skip images whose files are complete and were made from the same image by the same model.
        masks: the values of the masks, see `Prediction.mask_images`.
        overlays: "jpg", "png" for lossless overlays, or "none" for no overlays.
        pixel_size: side of a pixel with its unit, such as "0.65um". It adds columns in this unit to the tables.

    Returns:
        The content of predictions.json, and an error for each file or folder that could not be used. If no image could
        be used, nothing has been written.

    Raises:
        ConfigError: `overwrite` and `resume` are both set, `pixel_size` is invalid, or the model does not contain the
            values of `masks`.
        DataError: A source is missing, or a directory contains no image. Nothing has been written.
        OutputExistsError: A file to be written exists already, and may not be replaced or skipped. Nothing has been
            written.
        OutputError: The directory cannot be written, or the disk is full.
    """
    if overwrite and resume:
        raise ConfigError("`overwrite` and `resume` exclude each other; set one of them")
    if masks == "as-given":
        require_mask_format(predictor.model.config.mask_format)
    out, size = Path(out), PixelSize.parse(pixel_size) if pixel_size else None
    found, mark = find_images(sources), MarkOfRun(fingerprint(predictor.model, predictor.options), masks)
    suffixes = dict.fromkeys(mask_kinds(predictor.task, predictor.classes), ".png")
    items = assign_files(
        found.images, suffixes | ({} if overlays == "none" else {"overlay": f".{overlays}"}), out, frame_masks
    )
    check_existing(items, out, overwrite or resume)
    tables = ResultTables(out, len(predictor.classes), size)
    if resume:
        tables.load()
        for item, existing in zip(items, prefetch_map(partial(read_result, mark), items), strict=True):
            item.mark = existing if tables.is_complete(item.path) else None
            if item.mark is not None and item.is_moving and isinstance(item.path, Path):
                item.mark = replace(item.mark, shares=read_fractions(out / CLASSES_FILE, item.path, predictor.classes))
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    _prepare(out, items)
    resumed = [item.path for item in items if item.mark is not None]
    tables.keep(resumed)
    failed: list[PixelwiseError] = [*found.problems]
    with closing(tables), leave_one_core(), share_temporary_directories():
        todo = [item for item in items if item.mark is None]
        failed += _predict_items(predictor, todo, mark, tables, progress, (row_progress, frame_progress))
    done = [(item, item.mark) for item in items if item.mark is not None]
    report = {
        "classes": list(predictor.classes),
        "photos": [report_entry(item, mark, out) for item, mark in done],
        "failed": list(map(str, failed)),
    }
    if done:
        tables.finish(item.path for item, _ in done)
        write_report(report, out / REPORT_FILE)
    else:
        for folder in new_folders:
            with suppress(OSError):
                folder.rmdir()
    too_large = _too_large(predictor, done)
    note = lost_object_note(predictor.model.config, ((mark.height, mark.width) for _, mark in too_large))
    notes = (*found.notes, note) if note else found.notes
    return PredictResult(report, tuple(failed), len(resumed), notes, tuple(str(item.path) for item, _ in too_large))


def _too_large(predictor: Predictor, done: Sequence[tuple[OutputItem, Mark]]) -> list[tuple[OutputItem, Mark]]:
    """Return the images that were predicted as a whole and are much larger than the training images."""
    if not predictor.image_view.has_fixed_size:
        return []
    config = predictor.model.config
    return [(item, mark) for item, mark in done if is_noted(config, mark.height, mark.width)]


def _predict_items(
    predictor: Predictor,
    items: Sequence[OutputItem],
    mark: MarkOfRun,
    tables: ResultTables,
    progress: Progress,
    part_progress: tuple[Progress, Progress],
) -> list[PixelwiseError]:
    """Predict images, write their files, and set their marks. Return the errors of single images.

    `part_progress` counts steps of rows of large images, and frames of videos.
    """

    def write(number: int, image: np.ndarray, logits: torch.Tensor) -> tuple[Mark, ImageRows] | PixelwiseError:
        prediction = predictor.to_prediction(image, logits, packed=True)
        if isinstance(prediction, DataError):
            return DataError(f"{streamed[number].path}: {prediction}")
        return _write_or_error(streamed[number], prediction, mark, tables)

    def is_alone(item: OutputItem) -> bool:
        return item.is_large or item.is_moving or has_large_logits(item.path, predictor)

    alone = {id(item) for item in items if is_alone(item)}
    streamed = [item for item in items if id(item) not in alone]
    failed: list[PixelwiseError] = []
    results: Iterator[tuple[Mark, ImageRows] | PixelwiseError]
    results = map_predictions(predictor, [item.path for item in streamed], write)
    for item in progress(items, len(items)):
        result = _predict_alone(predictor, item, mark, tables, *part_progress) if id(item) in alone else next(results)
        if isinstance(result, PixelwiseError):
            failed.append(result)
        else:
            item.mark, rows = result
            tables.append(rows)
    return failed


def _predict_alone(
    predictor: Predictor,
    item: OutputItem,
    run: MarkOfRun,
    tables: ResultTables,
    progress: Progress,
    frame_progress: Progress,
) -> tuple[Mark, ImageRows] | PixelwiseError:
    """Predict a large image or a video, and write its files. Return its mark and rows, or an error that concerns it."""

    def predict() -> tuple[Mark, ImageRows]:
        if item.is_moving and isinstance(item.path, Path):
            video, mark = predict_video(predictor, item.path, item.files, run.model, run.masks, frame_progress)
            return mark, tables.format(item.path, video)
        if item.is_large and isinstance(item.path, Path):
            large, mark = predict_large_file(predictor, item.path, item.files, run.model, run.masks, progress)
            return mark, tables.format(item.path, large)
        return _write(item, predict_by_rows(predictor, item.path, progress), run, tables)

    return _or_error(item, predict)


def _prepare(out: Path, items: Sequence[OutputItem]) -> None:
    """Make the output directory, and remove temporary directories of killed processes from it.

    Raises OutputError if the directory cannot be made or written.
    """
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: may not be written; choose another `out`")
    for folder in {out, *(file.parent for item in items for file in item.files.values())}:
        remove_abandoned(folder)


def _write_or_error(
    item: OutputItem, prediction: Prediction, run: MarkOfRun, tables: ResultTables
) -> tuple[Mark, ImageRows] | PixelwiseError:
    """Write the files of an image. Return its mark and rows, or an error that concerns this image only."""
    return _or_error(item, lambda: _write(item, prediction, run, tables))


def _write(item: OutputItem, prediction: Prediction, run: MarkOfRun, tables: ResultTables) -> tuple[Mark, ImageRows]:
    """Write the files of an image. Return its mark and rows."""
    mark = Mark.of(prediction, run.model, digest(item.path), run.masks)
    rows = tables.format(item.path, prediction)
    write_outputs(with_orientation(prediction, item.path), mark, item.files)
    return mark, rows


def _or_error(
    item: OutputItem, predict: Callable[[], tuple[Mark, ImageRows]]
) -> tuple[Mark, ImageRows] | PixelwiseError:
    """Return the result of a function, or an error that concerns this image only."""
    try:
        return predict()
    except OutputError as error:
        cause = error.__context__
        if isinstance(cause, OSError) and cause.errno in _ONE_FILE_ERRORS:
            return error
        raise
    except DataError as error:
        return error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return DataError(f"{item.path}: not enough memory for its mask; cut it into tiles, or make it smaller")
