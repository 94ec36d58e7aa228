"""Validation for the view "tiles": the blended predictions of overlapping windows."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.input_size import to_pair, window_side
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.window_dataset import GridWindows
from pixelwise.inference.tiling import TileGrid, Window, blend_rows, crop_windows
from pixelwise.training.passes import run_in_parts
from pixelwise.training.setup import TrainingSetup


def predict_tiles(setup: TrainingSetup, images: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Predict one image from overlapping windows, and yield blocks of its rows.

    The memory does not depend on the height of the image, see `blend_rows`.

    Args:
        setup: the training, with its model in evaluation mode.
        images: (1, channels, H, W) uint8, the image at the working scale.
        masks: (1, H, W) uint8, or (1, C, H, W) for a multilabel mask.

    Yields:
        The logits of a block, (1, C, rows, W) float32, its mask, and its fraction of the image's rows.

    Raises:
        ConfigError: See `run_in_parts`.
    """
    task, size = setup.loss.task, to_pair(setup.config.eval_size)
    height, width = images.shape[-2:]

    def predict(windows: Sequence[Window]) -> Tensor:
        batch = crop_windows(images[0], windows, size).contiguous(memory_format=torch.channels_last)
        unused = batch.new_empty(len(batch))
        parts = run_in_parts(setup, batch, unused, lambda part, _: task.activate(setup.ddp_model(part).float()))
        return torch.cat(parts)

    for rows, probabilities in blend_rows(TileGrid(height, width, size), predict):
        block = masks[..., rows.start : rows.stop, :]
        yield task.inverse_activate(probabilities)[None], block, len(rows) / height


def count_windows(setup: TrainingSetup) -> int:
    """Return the number of windows of a validation of this process's images.

    Args:
        setup: the training.
    """
    size = to_pair(setup.config.eval_size)
    return sum(TileGrid(height, width, size).count for height, width in setup.datasets[1].image_sizes())


def fixed_size_items(images: SegmentationDataset, config: Config) -> SegmentationDataset | GridWindows:
    """Return validation items of one size: whole images, or the windows of a grid.

    Args:
        images: the validation images.
        config: the settings.
    """
    return images if config.view == "whole" else GridWindows(images, window_side(config.eval_size))
