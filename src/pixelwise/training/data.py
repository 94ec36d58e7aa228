"""Open the images of a training, check their masks, and determine their order."""

import logging
import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch

from pixelwise.config import Config
from pixelwise.data.augmentations import build_transform, source_size, window_size
from pixelwise.data.index import DatasetIndex, learning_fault
from pixelwise.data.input_size import window_side
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.tar_shard import shard_urls
from pixelwise.data.record_parts import open_undecodable
from pixelwise.data.resize import Scale
from pixelwise.data.samplers import EpochSampler, ShardSampler
from pixelwise.data.scaled_windows import exceeds_limit
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.validation_parts import ValidationParts
from pixelwise.data.window_dataset import WindowDataset
from pixelwise.errors import ConfigError, DataError
from pixelwise.runtime.progress import Progress
from pixelwise.training.near_duplicates import warn_of_near_duplicates

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

MAX_MASK_SAMPLE = 16
"""Maximum number of masks that `check_learnable` reads first if there is no cache."""

MAX_STATISTICS_IMAGES = 200
"""Maximum number of images that `channel_statistics` reads."""


def select_samples(val_records: Sequence[Record], config: Config, read_spec: ReadSpec) -> list[Record]:
    """Return `config.sample_predictions` validation records, evenly spaced, or all if there are fewer.

    Args:
        val_records: the validation records.
        config: the settings. With `skip_unreadable`, a record that cannot be read is replaced by another.
        read_spec: the parameters for reading images and masks.

    Returns:
        The records, in the order of `val_records`.
    """
    count = min(config.sample_predictions, len(val_records))
    chosen = [index * len(val_records) // count for index in range(count)]
    if not config.skip_unreadable:
        return [val_records[index] for index in chosen]
    others = (index for index in range(len(val_records)) if index not in chosen)
    readable = (index for index in (*chosen, *others) if _is_readable(val_records[index], read_spec))
    return [val_records[index] for index in sorted(islice(readable, count))]


def _is_readable(record: Record, read_spec: ReadSpec) -> bool:
    try:
        windows = open_undecodable(record, read_spec)
        if windows is None:
            read_image_and_mask(record, read_spec)
        else:
            windows.close()
    except DataError:
        return False
    return True


def check_process_count(processes: int, batch_size: int, train_count: int, val_count: int) -> None:
    """Raise ConfigError if a process would have no image, because the other processes would wait for it forever.

    Args:
        processes: number of processes.
        batch_size: number of images per step, over all processes.
        train_count: number of training images.
        val_count: number of validation images.
    """
    if processes > min(batch_size, train_count, val_count):
        raise ConfigError(
            f"{processes} processes need at least one image each, but a batch has {batch_size}, training {train_count} "
            f"and validation {val_count}; start fewer processes"
        )


def open_datasets(
    records: tuple[Sequence[Record], Sequence[Record]],
    data: DatasetIndex,
    config: Config,
    fabric: "Fabric",
    track: Callable[[str], Progress],
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Open the training images, and this process's part of the validation images.

    Args:
        records: the training records and the validation records of all processes.
        data: the data set of the records.
        config: the settings.
        fabric: Lightning's Fabric, for the rank and the number of processes.
        track: a function of the description of a step. It returns a `Progress` for the step.

    Returns:
        The training images of all processes, and the validation images of this process.

    Raises:
        DataError: An image or a mask cannot be used, no image is left, or `check_learnable` found a fault.
    """
    train_records, val_records = records
    train_set = _open_train_set(train_records, data.read_spec, config, track("preparing training images"))
    own_val_records = val_records[fabric.global_rank :: fabric.world_size]
    val_set = _open_val_set(own_val_records, data.read_spec, config, track("preparing validation images"))
    # All processes open the same training images, so only one logs their messages. Validation images differ.
    messages = [*train_set.messages, *(f"left out: {error}" for error in train_set.skipped)]
    val_messages = val_set.messages if isinstance(val_set, ValidationParts) else ()
    for message in val_messages:
        logger.info("%s", message)
    for message in [*(messages if fabric.is_global_zero else ()), *(f"left out: {error}" for error in val_set.skipped)]:
        logger.warning("%s", message)
    if len(train_set) == 0 or len(val_set) == 0:
        raise DataError(f"{data.root}: no image is left for {'validation' if len(train_set) else 'training'}")
    check_learnable(train_set, data)
    if fabric.is_global_zero:
        warn_of_near_duplicates(train_set, val_set)
    return train_set, val_set


def _open_train_set(
    records: Sequence[Record], read_spec: ReadSpec, config: Config, progress: Progress
) -> SegmentationDataset:
    """Open the training images: whole ones, or random windows."""
    transform = build_transform(config.augmentation, config.image_size)
    if config.view == "tiles":
        side = window_size(config.augmentation, config.image_size)
        return WindowDataset(
            records, read_spec, config.scale, side, transform, progress, config.cache_images, config.skip_unreadable
        )
    return SegmentationDataset(
        records,
        read_spec,
        source_size(config.augmentation, config.image_size),
        transform,
        progress=progress,
        cache_images=config.cache_images,
        skip_unreadable=config.skip_unreadable,
    )


def _open_val_set(
    records: Sequence[Record], read_spec: ReadSpec, config: Config, progress: Progress
) -> SegmentationDataset:
    """Open the validation images. Parts represent those that are too large to be decoded."""
    if config.view == "tiles" and any(exceeds_limit(record, Scale(config.scale)) for record in records):
        side = window_side(config.eval_size)
        return ValidationParts(records, read_spec, config.scale, side, config.seed, progress, config.skip_unreadable)
    return SegmentationDataset(
        records,
        read_spec,
        config.eval_size if config.view == "whole" else Scale(config.scale),
        progress=progress,
        cache_images=config.cache_images,
        skip_unreadable=config.skip_unreadable,
    )


def check_learnable(images: SegmentationDataset, data: DatasetIndex) -> None:
    """Raise DataError if no mask has a pixel of any class, or if multiclass masks have only one class.

    The cache contains the pixel counts. Without a cache, a sample of the masks is read first. All masks are read only
    if the sample has the fault.

    Args:
        images: the training images.
        data: the data set of the images.
    """
    count = len(data.classes)
    if images.cache_entry is None:
        step = math.ceil(images.image_count / MAX_MASK_SAMPLE)
        sampled = [images.class_pixels_of(index) for index in range(0, images.image_count, step)]
        if not learning_fault(data, (torch.stack(sampled).sum(0)[:count] > 0).tolist()):
            return
    fault = learning_fault(data, (images.class_pixels(count) > 0).tolist())
    if fault:
        raise DataError(f"{data.root}: {fault}")


def build_sampler(images: SegmentationDataset, config: Config, fabric: "Fabric") -> EpochSampler:
    """Return the sampler that determines the order of the training images.

    Images in streamed shards are shuffled within a few shards at a time, other images over the whole data set. Windows
    of images that are not cached are shuffled within as many images as are kept in memory.

    Args:
        images: the training images.
        config: the settings.
        fabric: Lightning's Fabric, for the rank and the number of processes that share the images.
    """
    if isinstance(images, WindowDataset) and images.cache_entry is None:
        return ShardSampler(
            images.owners,
            config.batch_size,
            config.seed,
            fabric.global_rank,
            fabric.world_size,
            num_workers=config.num_workers,
            window=images.images_in_memory,
        )
    shards = shard_urls(images.records) if images.cache_entry is None else None
    if shards is None:
        return EpochSampler(len(images), config.batch_size, config.seed, fabric.global_rank, fabric.world_size)
    return ShardSampler(
        shards, config.batch_size, config.seed, fabric.global_rank, fabric.world_size, num_workers=config.num_workers
    )


def channel_statistics(
    images: SegmentationDataset, max_images: int = MAX_STATISTICS_IMAGES
) -> tuple[list[float], list[float]]:
    """Compute the mean and the standard deviation of each channel.

    Args:
        images: the images with their training augmentations, on the scale 0..255.
        max_images: maximum number of images that are read, evenly spaced.

    Returns:
        The means and the standard deviations, one value per channel. A standard deviation is at least 1, so that the
        normalization does not amplify a constant channel. Values without data are left out.
    """
    step = math.ceil(len(images) / max_images)
    pixels = torch.stack([images[index][0] for index in range(0, len(images), step)]).double()
    if not images.read_spec.band_ranges:
        return pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).clamp(min=1.0).tolist()
    counts = (pixels > 0).sum((0, 2, 3)).clamp(min=1)  # 0 is nodata
    means = pixels.sum((0, 2, 3)) / counts
    variances = (pixels**2).sum((0, 2, 3)) / counts - means**2
    return means.tolist(), variances.clamp(min=1.0).sqrt().tolist()
