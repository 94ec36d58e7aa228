"""The comparison of an image that is too large to be decoded with its mask, part by part."""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.io.record_windows import RecordWindows
from pixelwise.data.partial_labels import PartialLabels
from pixelwise.data.resize import nearest_indices
from pixelwise.data.scaled_windows import ScaledWindows
from pixelwise.evaluation.counting import count_pixels
from pixelwise.inference.large_mask import ClassConfidence, RowProgress, mask_parts
from pixelwise.inference.large_rows import RecordRows
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.progress import Progress, no_progress

SMALL_SIDE = 1024
"""Maximum side in pixels to which the image and its masks are reduced for display."""

SAMPLED_LOGITS = 1 << 14
"""Maximum number of pixels whose logits are kept. They are on a regular grid."""


class LargeComparison:
    """The sums of the comparison of a large image, and what is kept of it.

    Args:
        predictor: the model.
        windows: the image and its mask.
        rows: the same files, opened again for the prediction.
        labels: the mask values with several possible classes.

    Attributes:
        confusion: int64 counts of all pixels, see `Task.confusion`.
        image: the image, reduced to `SMALL_SIDE` by nearest neighbor, (h, w, channels) uint8.
        mask: the true mask of this size, uint8.
        prediction: the predicted mask of this size, uint8.
        logits: (C, rows, columns) float32, the logits of pixels on a grid.
        model_mask: (…, rows, columns) uint8, the true mask at these pixels.
    """

    def __init__(
        self, predictor: Predictor, windows: RecordWindows, rows: RecordWindows, labels: PartialLabels
    ) -> None:
        self._predictor, self._windows, self._rows, self._labels = predictor, windows, RecordRows(rows), labels
        task, classes = predictor.task, len(predictor.classes)
        height, width = windows.size
        factor = min(1.0, SMALL_SIDE / max(height, width))
        self._down, self._across = (nearest_indices(side, max(1, round(side * factor))) for side in (height, width))
        small = len(self._down), len(self._across)
        self.confusion = task.zero_matrix(classes)
        self.image = np.zeros((*small, len(predictor.model.config.mean)), np.uint8)
        self._true, self._predicted = (np.zeros(task.mask_shape(classes, *small), np.uint8) for _ in range(2))
        working = predictor.image_view.working_size(height, width)
        self._step = math.ceil(math.sqrt(working[0] * working[1] / SAMPLED_LOGITS))
        grid = tuple(-(-side // self._step) for side in working)
        self.logits = torch.zeros(classes, *grid)
        self.model_mask = torch.zeros(task.mask_shape(classes, *grid), dtype=torch.uint8)
        self._scaled = ScaledWindows(windows, working)

    @property
    def mask(self) -> Tensor:
        """The true mask of the reduced image."""
        return torch.from_numpy(self._true)

    @property
    def prediction(self) -> Tensor:
        """The predicted mask of the reduced image."""
        return torch.from_numpy(self._predicted)

    def at_original_size(self, progress: Progress = no_progress) -> None:
        """Compare all pixels of the image with the prediction of this size.

        Args:
            progress: counts steps, see `RowProgress`.

        Raises:
            DataError: A file is damaged, or its mask has an unknown value. The message names the file.
        """
        config = self._predictor.model.config
        confidence = ClassConfidence(config.task, len(config.classes))
        done = RowProgress(progress, self._rows.height, self._predictor.image_view.strips(self._rows.width))
        for part in mask_parts(self._predictor.image_view, self._rows, config, confidence, self._keep_logits):
            image, true = self._windows.read(part.rows, part.columns)
            self._add(part.rows, part.columns, true, part.mask, image)
            done.add(part.rows)
        done.complete()

    def at_model_size(self, progress: Progress = no_progress) -> None:
        """Compare the prediction at the size of the logits with the mask, reduced by nearest neighbor.

        Args:
            progress: see `at_original_size`.

        Raises:
            DataError: See `at_original_size`.
        """
        view, image = self._predictor.image_view, self._rows
        width = self._scaled.size[1]
        edges = np.linspace(0, width, min(view.strips(image.width), width) + 1).astype(int).tolist()
        self._down, self._across = (nearest_indices(side, min(side, SMALL_SIDE)) for side in self._scaled.size)
        done = RowProgress(progress, self._scaled.size[0], len(edges) - 1)
        for first, last in pairwise(edges):
            columns = range(first, last)
            for rows, logits in view.logit_rows(image, columns):
                self._keep_logits(rows, columns, logits)
                pixels, true = self._scaled.read(rows, columns)
                self._add(rows, columns, true, self._predictor.task.logits_to_mask(logits).cpu().numpy(), pixels)
                done.add(rows)
        done.complete()

    def _add(
        self,
        rows: range,
        columns: range,
        true: npt.NDArray[np.uint8],
        predicted: npt.NDArray[np.uint8],
        image: npt.NDArray[np.uint8],
    ) -> None:
        """Count a part, and keep its pixels of the reduced image."""
        prediction = torch.from_numpy(np.ascontiguousarray(predicted))
        mask = self._labels.to_comparable(torch.from_numpy(np.ascontiguousarray(true)), prediction)
        self.confusion += count_pixels(self._predictor.task, mask, prediction, len(self._predictor.classes))
        kept = _inside(self._down, rows), _inside(self._across, columns)
        here = self._down[kept[0]] - rows.start, self._across[kept[1]] - columns.start
        self.image[kept] = image[here[0]][:, here[1]]
        self._true[..., kept[0], kept[1]] = mask.numpy()[..., here[0], :][..., here[1]]
        self._predicted[..., kept[0], kept[1]] = predicted[..., here[0], :][..., here[1]]

    def _keep_logits(self, rows: range, columns: range, logits: Tensor) -> None:
        """Keep the logits of the pixels on the grid, and the mask there."""
        step = self._step
        grid = [range(-(-part.start // step) * step, part.stop, step) for part in (rows, columns)]
        if not all(grid):
            return
        down, across = (np.array(part) - first for part, first in zip(grid, (rows.start, columns.start), strict=True))
        found = logits[:, down][:, :, across].float().cpu()
        down_place, across_place = (slice(part[0] // step, part[-1] // step + 1) for part in grid)
        mask = self._scaled.read_mask(*(range(part[0], part[-1] + 1) for part in grid))[..., ::step, ::step]
        true = torch.from_numpy(np.ascontiguousarray(mask))
        self.logits[:, down_place, across_place] = found
        prediction = self._predictor.task.logits_to_mask(found)
        self.model_mask[..., down_place, across_place] = self._labels.to_comparable(true, prediction)


def _inside(indices: npt.NDArray[np.int64], part: range) -> slice:
    """Return the slice of sorted indices that are in a range."""
    return slice(int(np.searchsorted(indices, part.start)), int(np.searchsorted(indices, part.stop)))
