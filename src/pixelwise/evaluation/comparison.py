"""Pairs of the true and the predicted mask of each image of an evaluation."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.io.image_size import GROUP_BYTES, READ_AHEAD_BYTES, decoded_bytes
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.record_windows import RecordWindows
from pixelwise.data.record_parts import open_undecodable
from pixelwise.data.resize import resize_mask
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.evaluation.large_comparison import SAMPLED_LOGITS, LargeComparison
from pixelwise.evaluation.model_source import EvaluatedPredictor
from pixelwise.evaluation.resolution import Resolution
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import batched, prefetch_map

BATCH_SIZE = 16
"""Maximum number of images per forward pass. `GROUP_BYTES` limits their total size in bytes."""

Pair = tuple[np.ndarray, np.ndarray]
"""An image and its mask."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One image with its true and its predicted mask. Tensors are on the CPU unless stated otherwise.

    Attributes:
        image: (H, W, channels) uint8.
        mask: the true mask at the size of the comparison, uint8, 255 = ignore. All other values are class indices.
        prediction: the predicted mask of the same shape, uint8.
        logits: (C, h, w) float32 on the predictor's device, see `Predictor.logits`. For an exported file, those of its
            probabilities at pixels on a grid, or none, (C, 0, 0), if it has no probabilities.
        model_mask: the true mask at the pixels of the logits, uint8, on the predictor's device.
        confusion: the counts of all pixels if the image is too large to be decoded, see `LargeComparison`. The other
            attributes have only a part of the pixels then. Else None.
    """

    image: np.ndarray
    mask: Tensor
    prediction: Tensor
    logits: Tensor
    model_mask: Tensor
    confusion: Tensor | None = None


class Comparisons:
    """Iterable over the comparison of each record.

    A record has a DataError instead if its files cannot be read, or if memory does not suffice for its prediction.

    Args:
        predictor: the model.
        records: images with their masks.
        read_spec: the parameters for reading images and masks.
        resolution: the size of the comparison.
        progress: see `Progress`. It counts images.
        row_progress: the same for the parts of each image that is too large to be decoded, see `RowProgress`.

    Attributes:
        predict_seconds: time of the predictions so far in seconds, without reading files.
    """

    def __init__(
        self,
        predictor: EvaluatedPredictor,
        records: Sequence[Record],
        read_spec: ReadSpec,
        resolution: Resolution,
        progress: Progress = no_progress,
        row_progress: Progress = no_progress,
    ) -> None:
        self.predictor, self.records, self.read_spec = predictor, records, read_spec
        self.resolution, self.progress, self.row_progress = resolution, progress, row_progress
        self.predict_seconds = 0.0

    def __iter__(self) -> Iterator[Comparison | DataError]:
        read_ahead = prefetch_map(self._read, self.records, cost=self._cost, max_cost=READ_AHEAD_BYTES)
        names = iter(self.records)
        for group in batched(self.progress(read_ahead, len(self.records)), BATCH_SIZE, _size, GROUP_BYTES):
            pairs = [pair for pair in group if isinstance(pair, tuple)]
            compared = self._predict(pairs) if pairs else iter(())
            for pair in group:
                record = next(names)
                if isinstance(pair, RecordWindows):
                    result = self._compare_windows(record, pair)
                else:
                    result = pair if isinstance(pair, DataError) else next(compared)
                if result is not pair and isinstance(result, DataError):
                    result = DataError(f"{record.image}: {result}")
                yield result
                del result, pair
            # Large images must not stay in memory while the next ones are read.
            group.clear()
            del pairs, compared

    def _read(self, record: Record) -> Pair | RecordWindows | DataError:
        try:
            windows = open_undecodable(record, self.read_spec, keeps_tiles=True)
            if windows is not None:
                return windows
            return read_image_and_mask(record, self.read_spec)
        except DataError as error:
            return error
        except MemoryError:
            return DataError(f"{record.image}: not enough memory to read it; cut it into tiles, or make it smaller")

    def _cost(self, record: Record) -> int:
        return decoded_bytes(record.image, len(self.predictor.config.mean))

    def _predict(self, pairs: Sequence[Pair]) -> Iterator[Comparison | DataError]:
        """Yield the comparison of each (image, mask) pair, or a DataError if memory does not suffice."""
        if isinstance(self.predictor, ExportedPredictor):
            yield from self._predict_file(self.predictor, pairs)
            return
        batch = self.predictor.outputs_each([image for image, _ in pairs])
        for image, mask in pairs:
            started = time.perf_counter()
            logits = next(batch)
            prediction = logits if isinstance(logits, DataError) else self._to_mask(image, logits)
            self.predict_seconds += time.perf_counter() - started
            if isinstance(logits, DataError):
                yield logits
            elif isinstance(prediction, DataError):
                yield prediction
            else:
                yield self._compare(image, mask, prediction, logits)

    def _predict_file(self, predictor: ExportedPredictor, pairs: Sequence[Pair]) -> Iterator[Comparison | DataError]:
        """Yield the comparisons of `_predict` for an exported file, at the images' own sizes."""
        results = predictor.predict_each([image for image, _ in pairs], predictor.file.has_probabilities)
        for image, true in pairs:
            started = time.perf_counter()
            result = next(results)
            self.predict_seconds += time.perf_counter() - started
            if isinstance(result, DataError):
                yield result
                continue
            prediction = torch.from_numpy(result.mask)
            mask = self.read_spec.partial_labels.to_comparable(torch.from_numpy(true), prediction)
            if result.probabilities is None:
                logits = torch.zeros(len(predictor.classes), 0, 0)
                yield Comparison(image, mask, prediction, logits, mask[..., :0, :0])
                continue
            step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / SAMPLED_LOGITS))
            probabilities = torch.from_numpy(result.probabilities[:, ::step, ::step].copy())
            logits = predictor.config.temperature * predictor.task.inverse_activate(probabilities)
            yield Comparison(image, mask, prediction, logits, mask[..., ::step, ::step])

    def _compare_windows(self, record: Record, windows: RecordWindows) -> Comparison | DataError:
        """Return the comparison of an image that is too large to be decoded, or a DataError if it cannot be read."""
        if isinstance(self.predictor, ExportedPredictor):
            windows.close()
            return DataError(
                "is too large to be decoded, and an exported file does not read images in parts; evaluate the run, or "
                "cut the image into tiles"
            )
        started = time.perf_counter()
        # The prediction has windows of its own, because its rows are ahead of those that are compared.
        rows = open_undecodable(record, self.read_spec, keeps_tiles=True)
        if rows is None:
            return DataError(f"{record.image}: was changed while it was read")
        with windows, rows:
            compared = LargeComparison(self.predictor, windows, rows, self.read_spec.partial_labels)
            try:
                if self.resolution == "model":
                    compared.at_model_size(self.row_progress)
                else:
                    compared.at_original_size(self.row_progress)
            except DataError as error:
                return error
        self.predict_seconds += time.perf_counter() - started
        return Comparison(
            compared.image,
            compared.mask,
            compared.prediction,
            compared.logits,
            compared.model_mask,
            compared.confusion,
        )

    def _to_mask(self, image: np.ndarray, logits: Tensor) -> Tensor | DataError:
        """Return the predicted mask at the size of the comparison."""
        if self.resolution == "model":
            return self.predictor.task.logits_to_mask(logits).cpu()
        assert isinstance(self.predictor, Predictor)
        prediction = self.predictor.to_prediction(image, logits)
        return prediction if isinstance(prediction, DataError) else torch.from_numpy(prediction.mask)

    def _compare(self, image: np.ndarray, mask: np.ndarray, prediction: Tensor, logits: Tensor) -> Comparison:
        labels = self.read_spec.partial_labels
        small = resize_mask(mask, (logits.shape[-2], logits.shape[-1])).to(logits.device)
        model_mask = (
            labels.to_comparable(small, self.predictor.task.logits_to_mask(logits)) if labels.possible else small
        )
        true = small.cpu() if self.resolution == "model" else torch.from_numpy(mask)
        return Comparison(image, labels.to_comparable(true, prediction), prediction, logits, model_mask)


def _size(pair: Pair | RecordWindows | DataError) -> int:
    if isinstance(pair, RecordWindows):
        return GROUP_BYTES
    return 0 if isinstance(pair, DataError) else pair[0].nbytes
