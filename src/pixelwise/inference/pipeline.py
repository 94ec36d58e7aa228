"""Write the predictions of many images in threads while the model computes the next ones."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from pixelwise.errors import DataError
from pixelwise.inference.image_predictor import ImagePredictor, Output
from pixelwise.inference.sources import ImageSource
from pixelwise.runtime.threads import available_cpus

T = TypeVar("T")

_MAX_THREADS = 8
"""Maximum number of threads that write. More would wait for Python's global interpreter lock."""

_MAX_PENDING = 32
"""Maximum number of images that wait to be written."""

_MAX_PENDING_BYTES = 64 << 20
"""Maximum size of the images that wait to be written, with the model's outputs. A larger one is written alone."""


def map_predictions(
    predictor: ImagePredictor[Output],
    paths: Iterable[ImageSource],
    write: Callable[[int, ImageSource, np.ndarray, Output], T | DataError],
) -> Iterator[T | DataError]:
    """Compute the outputs of a model for images, and call a function for each of them in threads.

    Args:
        predictor: the model.
        paths: the images.
        write: called with the number of the image in `paths`, its path, the image, and its output, see
            `ImagePredictor.iter_outputs`.

    Yields:
        The result of each image in order: that of `write`, or a DataError if the image cannot be read or the memory
        does not suffice. An image larger than `_MAX_PENDING_BYTES` is written before the next one is computed, so that
        only one such image is in memory.
    """
    pending: deque[tuple[Future[T | DataError], int]] = deque()
    total = 0
    with ThreadPoolExecutor(min(_MAX_THREADS, available_cpus())) as pool:
        try:
            for number, (path, result) in enumerate(predictor.iter_outputs(paths)):
                size = 0 if isinstance(result, DataError) else result[0].nbytes + result[1].nbytes
                while pending and (len(pending) >= _MAX_PENDING or total + size > _MAX_PENDING_BYTES):
                    total -= pending[0][1]
                    yield pending.popleft()[0].result()
                if isinstance(result, DataError):
                    failed: Future[T | DataError] = Future()
                    failed.set_result(result)
                    pending.append((failed, 0))
                elif size > _MAX_PENDING_BYTES:
                    yield write(number, path, *result)
                else:
                    pending.append((pool.submit(write, number, path, *result), size))
                    total += size
                del result
            while pending:
                yield pending.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)
