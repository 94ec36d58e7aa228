"""The part of the engine "ray" that runs in the workers, and the file from which they read their images."""

import os
import pickle
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import PixelwiseError, WorkerCrashedError
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.inference.output_store import OutputStore
from pixelwise.runtime.atomic import atomic_write

CHUNK, RESULT = "chunk", "result"
"""Column of the numbers of chunks, and column of the results."""

_MAX_ATTEMPTS = 4
"""Maximum number of workers that start to predict a chunk. Each but the last one ended before the end of the chunk."""

_OFFSET_BYTES = 8


@dataclass(frozen=True)
class Failure:
    """An error that ends the prediction."""

    error: PixelwiseError


class ItemFile:
    """A file with the images of a prediction in chunks. A worker reads one chunk at a time.

    Args:
        path: the file, in the folder of `OutputStore.scratch`.
        store: reads the file in the workers.
    """

    def __init__(self, path: Path, store: OutputStore) -> None:
        self.path, self._store = path, store

    @property
    def _index(self) -> Path:
        return self.path.with_name(f"{self.path.name}.index")

    def write(self, chunks: Iterable[Sequence[OutputItem]]) -> int:
        """Write the chunks, and return their number.

        Raises:
            OutputError: The file cannot be written.
        """
        offsets = array("Q", [0])
        with atomic_write(self.path) as part, part.open("wb") as file:
            for chunk in chunks:
                file.write(pickle.dumps(list(chunk)))
                offsets.append(file.tell())
        with atomic_write(self._index) as part:
            part.write_bytes(offsets.tobytes())
        self._store.publish([self.path, self._index])
        return len(offsets) - 1

    def read(self, number: int) -> list[OutputItem]:
        """Return a chunk.

        Raises:
            OutputError: The file cannot be read.
        """
        first = number * _OFFSET_BYTES
        start, stop = array("Q", self._store.read_part(self._index, first, first + 2 * _OFFSET_BYTES))
        items: list[OutputItem] = pickle.loads(self._store.read_part(self.path, start, stop))
        return items

    def count_attempt(self, number: int) -> int:
        """Return how often a chunk was started, with this time."""
        return self._store.count_up(self.path.with_name(f"started-{number}"))


class RayWorker:
    """Predicts chunks of images. It is the callable class of `map_batches`: each instance is an actor.

    Args:
        predictor: the model.
        outputs: writes the files of an image.
        items: the images.
        folder: the current directory of the command, for relative paths.
        predict: the engine "local".
    """

    def __init__(
        self,
        predictor: ImagePredictor[Any],
        outputs: OutputSet,
        items: ItemFile,
        folder: Path,
        predict: Callable[
            [ImagePredictor[Any], Sequence[OutputItem], OutputSet], Iterable[ItemResult | PixelwiseError]
        ],
    ) -> None:
        os.chdir(folder)
        self._predictor, self._outputs, self._items, self._predict = predictor, outputs, items, predict

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """Predict the images of chunks, and write their files.

        A chunk that is repeated after the end of a worker replaces its own files.

        Args:
            batch: {`CHUNK`: the numbers of the chunks}.

        Returns:
            {`RESULT`: the pickled results of the images in order}. The last can be a `Failure`.
        """
        results: list[ItemResult | PixelwiseError | Failure] = []
        try:
            for number in map(int, batch[CHUNK]):
                items = self._items.read(number)
                if self._items.count_attempt(number) > _MAX_ATTEMPTS:
                    raise _crash_error(items)
                with self._outputs.staged(items) as (outputs, staged):
                    results += self._predict(self._predictor, staged, outputs)
        except PixelwiseError as error:
            results.append(Failure(error))
        return {RESULT: [pickle.dumps(result) for result in results]}


def _crash_error(items: Sequence[OutputItem]) -> WorkerCrashedError:
    return WorkerCrashedError(
        f"{items[0].path}: {_MAX_ATTEMPTS} workers of Ray ended while they predicted this image or one of the next "
        f"{len(items)}; see the logs in /tmp/ray of their nodes, for example for too little memory, leave out the "
        "image or fix the node, and continue with `resume`"
    )
