"""Predict the images and videos of a folder, and write the files of each."""

import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from pixelwise.errors import DataError, OutputError, PixelwiseError, is_out_of_memory
from pixelwise.inference.large_predict import has_large_logits, predict_by_rows, predict_large_file
from pixelwise.inference.orientation import with_orientation
from pixelwise.inference.output_items import MarkOfRun, OutputItem
from pixelwise.inference.outputs import Mark, digest, write_outputs
from pixelwise.inference.pipeline import map_predictions
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.result_tables import ImageRows, ResultTables
from pixelwise.inference.video import predict_video
from pixelwise.runtime.progress import Progress

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


def predict_items(
    predictor: Predictor,
    items: Sequence[OutputItem],
    mark: MarkOfRun,
    tables: ResultTables,
    progress: Progress,
    part_progress: tuple[Progress, Progress],
) -> list[PixelwiseError]:
    """Predict images and videos, write their files, and set their marks.

    Args:
        predictor: the model.
        items: the images and videos.
        mark: the model and the style of masks.
        tables: the tables to which their rows are appended.
        progress: counts items.
        part_progress: counts steps of rows of large images, and frames of videos.

    Returns:
        The errors that concern single items.

    Raises:
        OutputError: The disk is full, or another error concerns all files.
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
