"""The engine "local": predict the images and videos of a folder in this process, and write the files of each."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.errors import DataError, OutputError, PixelwiseError, is_out_of_memory
from pixelwise.inference.engines.base import ENGINES
from pixelwise.inference.image_predictor import ImagePredictor, Output
from pixelwise.inference.large_file import has_large_logits
from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.inference.pipeline import map_predictions
from pixelwise.inference.sources import ImageSource
from pixelwise.inference.video import predict_video
from pixelwise.runtime.disk_list import SelectedSequence
from pixelwise.runtime.progress import Progress, no_progress

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


@ENGINES.register("local")
def predict_locally(
    predictor: ImagePredictor[Output],
    items: Sequence[OutputItem],
    outputs: OutputSet,
    part_progress: tuple[Progress, Progress] = (no_progress, no_progress),
) -> Iterator[ItemResult | PixelwiseError]:
    """Predict images and videos in this process, see `Engine`."""
    needs = outputs.needs

    def write(number: int, path: ImageSource, image: np.ndarray, output: Output) -> ItemResult | PixelwiseError:
        item = replace(streamed[number], path=path)  # the path of a URL has the hash of what was downloaded
        prediction = predictor.to_prediction(
            image, output, "probabilities" in needs, packed=True, keep_logits="confidence" in needs
        )
        if isinstance(prediction, DataError):
            return DataError(f"{item.path}: {prediction}")
        return _or_error(item, lambda: outputs.write(item, prediction))

    def is_alone(item: OutputItem) -> bool:
        return item.is_large or item.is_moving or has_large_logits(item.path, predictor)

    alone = bytearray(map(is_alone, items))
    streamed = SelectedSequence(items, (index for index, flag in enumerate(alone) if not flag))
    results: Iterator[ItemResult | PixelwiseError]
    results = map_predictions(predictor, (item.path for item in streamed), write)
    for index, flag in enumerate(alone):
        yield _predict_alone(predictor, items[index], outputs, *part_progress) if flag else next(results)


def _predict_alone(
    predictor: ImagePredictor[Output],
    item: OutputItem,
    outputs: OutputSet,
    progress: Progress,
    frame_progress: Progress,
) -> ItemResult | PixelwiseError:
    """Predict a large image or a video, and write its files. Return its result, or an error that concerns it."""

    def predict() -> ItemResult:
        run = outputs.run
        if item.is_moving and isinstance(item.path, Path):
            clean = partial(outputs.mask_filter.apply, config=outputs.config)
            video, mark = predict_video(predictor, item.path, item.files, run.model, run.masks, frame_progress, clean)
            return outputs.counted(item, mark, video)
        return _predict_in_parts(predictor, item, outputs, progress)

    return _or_error(item, predict)


def _predict_in_parts(
    predictor: ImagePredictor[Output], item: OutputItem, outputs: OutputSet, progress: Progress
) -> ItemResult:
    """Predict an image part by part, and write its files. Return its result."""
    from pixelwise.inference.large_predict import predict_by_rows, predict_large_file
    from pixelwise.inference.predictor import Predictor

    if not isinstance(predictor, Predictor):
        raise DataError(
            f"{item.path}: is large or has a georeference, and is read in parts, for which an exported file has no "
            "function; predict it with the run"
        )
    if item.is_large and isinstance(item.path, Path):
        write = outputs.large(item)
        return predict_large_file(
            predictor, item.path, outputs.out, write, progress, outputs.needs, outputs.mask_filter
        )
    return outputs.write(item, predict_by_rows(predictor, item.path, progress, outputs.needs))


def _or_error(item: OutputItem, predict: Callable[[], ItemResult]) -> ItemResult | PixelwiseError:
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
