"""Estimate the duration of a training from a few steps on its own images."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.augmentations import build_transform, source_size, window_size
from pixelwise.data.cache.store import load_and_resize
from pixelwise.data.index import DatasetIndex
from pixelwise.data.input_size import InputSize, to_pair, window_side
from pixelwise.data.resize import resize_batch
from pixelwise.data.schema import Record
from pixelwise.data.torch_dataset import collate
from pixelwise.data.window_dataset import GridWindows, WindowDataset
from pixelwise.data.windows import windows_per_image
from pixelwise.errors import DataError
from pixelwise.planning.phases import training_phases
from pixelwise.planning.step_timer import StepTimer
from pixelwise.runtime.cpu import apply_thread_policy, single_thread
from pixelwise.runtime.device import resolve_device
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import available_cpus, prefetch_map

_MAX_IMAGES = 16
"""Maximum number of images that are read. It limits the time to decode large images."""

_MAX_LARGE_IMAGES = 2
"""Maximum number of images that are read for the view tiles, to cut windows out of them."""

_WINDOW_STEP = 0.75
"""Distance of neighboring windows of a validation as a fraction of their side: 1 - `inference.tiling.OVERLAP`.

The import rule does not allow this package to import that constant.
"""

_DRAWING_SECONDS = 0.55
"""Seconds to draw the sample predictions and the curves once, on the machine of docs/results.md."""

_SAVING_FACTOR = 1.03
"""Duration of an epoch with checkpoints and metrics, divided by its duration without them (see `Saver`)."""


def estimate_training_time(
    data: DatasetIndex, config: Config, train_count: int, progress: Progress = no_progress
) -> float:
    """Estimate the duration of a training on this machine by running a few steps.

    The steps use images of the data set with their augmentation. The estimate includes the start, the image cache, the
    validation and the drawings.

    Args:
        data: the data set.
        config: the settings of the training.
        train_count: number of training images. If there is no val split, the other images of the train split are used
            for validation.
        progress: see `Progress`. It counts the measured modes and the validation.

    Returns:
        The duration of the whole training in seconds.

    Raises:
        ConfigError: The settings do not fit the data.
    """
    started = time.perf_counter()
    device = resolve_device(config.device)
    apply_thread_policy()  # the same number of threads as in the training
    model = config.create_model(data.classes, data.palette, data.read_spec).to(device)
    start_seconds = time.perf_counter() - started
    val_count = len(data.train) + len(data.val) - train_count
    records = (data.train + data.val)[: min(config.batch_size, _MAX_IMAGES)]
    is_tiled = config.view == "tiles"
    images = _windows(data, config, records, train_count) if is_tiled else _whole_images(data, config, records)
    timer = StepTimer(model, data, config, device)

    phases = training_phases(config, config.resolve_encoder_training(device.type).mode)
    measures: list[Callable[[], float]] = [
        partial(timer.step, _resized(images.batch, phase.size), phase.is_paused) for phase in phases
    ]
    measures.append(partial(timer.validation, images.val_batch))
    *steps, validation = [measure() for measure in progress(measures, len(measures))]
    step = sum(phase.fraction * seconds for phase, seconds in zip(phases, steps, strict=True))
    # Workers load images while the model computes.
    load = images.load_seconds * len(images.batch[0])
    step = max(step, load / config.num_workers) if config.num_workers else step + load

    batch = len(images.batch[0])
    train_items, val_items = images.items_per_epoch(train_count, val_count)
    validation *= val_items / len(images.val_batch[0]) * math.ceil(config.epochs / config.validate_every)
    drawings = 3 + math.log2(max(config.epochs, 1))
    once = start_seconds + images.decode_seconds * (train_count + val_count) + drawings * _DRAWING_SECONDS
    return once + (config.epochs * step * train_items / batch + validation) * _SAVING_FACTOR


def _resized(batch: Sequence[Tensor], size: InputSize) -> list[Tensor]:
    """Return a batch of images and masks at a size in pixels."""
    images, masks = batch[:2]
    return list(batch) if tuple(images.shape[-2:]) == to_pair(size) else [*resize_batch(images, masks, to_pair(size))]


@dataclass(frozen=True, eq=False)
class _Images:
    """A few images of a data set, and the time to read and augment them.

    Attributes:
        batch: a training batch.
        val_batch: a validation batch.
        decode_seconds: seconds to read, decode and resize one image for the cache or the memory. 0 if none keeps it.
        load_seconds: seconds to make one item of a training batch. Includes decoding if each epoch decodes again.
        train_windows: a function (number of training images) → number of training items of an epoch. For whole images,
            both are equal.
        val_windows: number of validation items per image. 1 for whole images.
    """

    batch: list[Tensor]
    val_batch: list[Tensor]
    decode_seconds: float
    load_seconds: float
    train_windows: Callable[[int], int] = lambda count: count
    val_windows: int = 1

    def items_per_epoch(self, train_count: int, val_count: int) -> tuple[int, int]:
        """Return the numbers of training and validation items of an epoch.

        Args:
            train_count: number of training images.
            val_count: number of validation images.
        """
        return self.train_windows(train_count), self.val_windows * val_count


def _whole_images(data: DatasetIndex, config: Config, records: Sequence[Record]) -> _Images:
    """Return a batch of whole images, and measure the time to make it."""
    size = source_size(config.augmentation, config.image_size)
    transform = build_transform(config.augmentation, config.image_size)
    started = time.perf_counter()
    items = list(prefetch_map(partial(_read, data=data, image_size=size), records))
    decode = (time.perf_counter() - started) / len(records)  # all cores decode, as when the cache is built
    val_batch = collate([_read(record, data, config.eval_size) for record in records])
    with single_thread():
        transform(*items[0])
        started = time.perf_counter()
        batch = collate([transform(*item) for item in items])
        load = (time.perf_counter() - started) / len(records)
    if config.cache_images:
        return _Images(batch, val_batch, decode, load)
    return _Images(batch, val_batch, 0.0, load + decode * (available_cpus() if config.num_workers else 1))


def _windows(data: DatasetIndex, config: Config, records: Sequence[Record], train_count: int) -> _Images:
    """Return a batch of windows of a few images, and measure the time to make it.

    Args:
        data: the data set.
        config: the settings.
        records: the images. At most `_MAX_LARGE_IMAGES` of them are read.
        train_count: number of training images.
    """
    records = records[:_MAX_LARGE_IMAGES]
    side = window_size(config.augmentation, config.image_size)
    images = WindowDataset(
        records,
        data.read_spec,
        config.scale,
        side,
        build_transform(config.augmentation, config.image_size),
        cache_images=False,
        skip_unreadable=True,
        total_images=None if config.cache_images else train_count,
    )
    eval_side = window_side(config.eval_size)
    grid = GridWindows(images, eval_side)
    draws = [(index * len(images) // config.batch_size, index) for index in range(config.batch_size)]
    started = time.perf_counter()
    images.prepare(range(len(records)))
    decode = (time.perf_counter() - started) / len(records)
    with single_thread():
        started = time.perf_counter()
        batch = collate(images.__getitems__(draws))
        load = (time.perf_counter() - started) / len(batch[0])
    val_batch = collate([grid[index * len(grid) // config.batch_size] for index in range(config.batch_size)])
    height, width = (sum(sides) / len(records) for sides in zip(*images.image_sizes(), strict=True))

    def train_windows(count: int) -> int:
        return int(windows_per_image([height * width] * count, side).sum())

    # Without the cache, each epoch decodes each image once, unless all of them fit into memory.
    keeps_images = config.cache_images or images.images_in_memory >= train_count
    if not keeps_images:
        threads = min(len(records), available_cpus())  # those of `prepare`; a worker has one
        load += decode * (threads if config.num_workers else 1) * train_count / train_windows(train_count)
    rows, columns = (math.ceil(max(length / eval_side - 1, 0) / _WINDOW_STEP) + 1 for length in (height, width))
    return _Images(
        batch,
        val_batch,
        decode if keeps_images else 0.0,
        load,
        train_windows,
        rows * columns,
    )


def _read(record: Record, data: DatasetIndex, image_size: InputSize) -> tuple[Tensor, Tensor]:
    """Return the image and the mask of a record, or zeros if they cannot be read."""
    try:
        image, mask = load_and_resize(record, data.read_spec, image_size)
    except DataError:
        size = to_pair(image_size)
        image = np.zeros((*size, data.read_spec.channels), np.uint8)
        mask = np.zeros(data.read_spec.task.mask_shape(len(data.classes), *size), np.uint8)
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)
