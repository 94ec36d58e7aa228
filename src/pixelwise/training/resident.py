"""Training images in the memory of a GPU: all their versions, and the features of a frozen encoder."""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.image_versions import ImageVersions, Unchanged
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.errors import first_line, is_out_of_memory
from pixelwise.models.encoder import FreezeMode
from pixelwise.models.feature_table import FeatureTable
from pixelwise.models.model import SegmentationModel
from pixelwise.training.step_graphs import StepGraphs

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MEMORY_FRACTION = 0.25
"""Maximum size of all tables as a fraction of the free memory of the GPU. Steps need the rest."""

_IMAGES_AT_ONCE = 64
"""Number of images that are copied to the device at once."""


class ResidentImages:
    """All versions of the training images and of their masks, in the memory of a device.

    A batch is then selected on the device by row numbers, and Python does not read images in an epoch. If the encoder
    does not train, its features are kept too, and a batch has the row numbers in place of the images, see `passes`.
    Row `index * versions.count + version` is a version of an image. Order and versions are those of the data set.

    Everything is built when it is needed first. If the memory does not suffice, or its size exceeds the limit, it is
    left out: the features alone, or the images too.

    Args:
        images: the training images, all of the same size.
        versions: the random transform of `images`.
        model: the model, on the device.
        config: the settings.
        fabric: the device and the precision of the steps.
        graphs: the graphs of the steps, which read the features from their memory. None if there are none.
        limit: maximum size of all tables in bytes. None for `_MEMORY_FRACTION` of the free memory of a GPU.

    Attributes:
        features: the features of all rows, or None.
    """

    def __init__(
        self,
        images: SegmentationDataset,
        versions: ImageVersions,
        model: SegmentationModel,
        config: Config,
        fabric: "Fabric",
        graphs: StepGraphs | None = None,
        limit: int | None = None,
    ) -> None:
        self.features: FeatureTable | None = None
        self._images, self._versions, self._model, self._config = images, versions, model, config
        self._fabric, self._graphs, self._limit = fabric, graphs, limit
        self._tables: tuple[Tensor, Tensor] | None = None
        self._tries_images = True
        self._tries_features = config.encoder_training == "none"
        self._encoder_tensors: list[Tensor] = []
        self._encoder_changes = 0
        self._next_epoch: tuple[int, Iterator[Tensor]] | None = None

    def update(self) -> bool:
        """Build the tables that are missing, and the features again if a weight of the encoder has changed.

        Call it before each epoch, with the model in the mode of a training step.

        Returns:
            False if the images are not in the memory of the device.

        Raises:
            DataError: An image or a mask cannot be read.
        """
        if self._tries_images:
            self._tries_images = False
            self._tables = self._build("images", self._load_images)
        if self._tables is not None and self._tries_features:
            self._update_features(self._tables[0])
        return self._tables is not None

    def batches(self, sampler: EpochSampler) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, after `update` has returned True.

        Args:
            sampler: the order of the images. It determines the epoch.

        Yields:
            The row numbers (N,) int64 if there are `features`, else the images (N, C, H, W) uint8, channels last in
            memory, and the masks uint8 (see `Task`), on the device.
        """
        assert self._tables is not None
        images, masks = self._tables
        epoch, rows_of_batches = self._next_epoch or (-1, iter(()))
        self._next_epoch = None
        if epoch != sampler.epoch:
            rows_of_batches = self._start(sampler)
        for rows in rows_of_batches:
            inputs = images.index_select(0, rows).permute(0, 3, 1, 2) if self.features is None else rows
            yield inputs, masks.index_select(0, rows)
        # The device still computes the last steps. So it does not wait for these rows at the start of the next epoch.
        following = copy(sampler)
        following.epoch += 1
        self._next_epoch = following.epoch, self._start(following)

    def _start(self, sampler: EpochSampler) -> Iterator[Tensor]:
        """Return the row numbers of the batches of an epoch. Those of the first batch are on the device already."""
        batches = iter(sampler)
        return chain([self._rows(next(batches))], map(self._rows, batches))

    def _rows(self, draws: Sequence[tuple[int, int]]) -> Tensor:
        """Return the row numbers of items, which the device receives without waiting."""
        indices, seeds = zip(*draws, strict=True)
        rows = torch.tensor(indices) * self._versions.count + self._versions.choose(seeds)
        device = self._fabric.device
        return (rows.pin_memory() if device.type == "cuda" else rows).to(device, non_blocking=True)

    def _load_images(self) -> tuple[Tensor, Tensor] | None:
        """Return all versions of the images, (rows, H, W, C) uint8, and those of the masks. None above the limit."""
        count, versions, device = len(self._images), self._versions, self._fabric.device
        if self._limit is None:
            self._limit = int(_MEMORY_FRACTION * _free_bytes(device))
        ((image, mask),) = self._images.read_all([0])
        if count * versions.count * (image.nbytes + mask.nbytes) > self._limit:
            return None
        channels, height, width = image.shape
        images = torch.empty((count * versions.count, height, width, channels), dtype=torch.uint8, device=device)
        masks = torch.empty((count * versions.count, *mask.shape), dtype=torch.uint8, device=device)
        for start in range(0, count, _IMAGES_AT_ONCE):
            pairs = self._images.read_all(range(start, min(start + _IMAGES_AT_ONCE, count)))
            new_images, new_masks = collate([version for pair in pairs for version in versions.versions(*pair)])
            first = start * versions.count
            images[first : first + len(new_images)] = new_images.to(device).permute(0, 2, 3, 1)
            masks[first : first + len(new_masks)] = new_masks.to(device)
        return images, masks

    def _update_features(self, images: Tensor) -> None:
        """Compute the features if there are none, or if a weight of the encoder has changed since."""
        is_frozen = self._model.encoder.freeze_mode == FreezeMode.FROZEN
        changes = sum(tensor._version for tensor in self._encoder_tensors)
        if self.features is not None and is_frozen and changes == self._encoder_changes:
            return
        if self.features is not None and self._graphs is not None:
            self._graphs.clear()  # they read from the memory of the features
        self.features = None
        if is_frozen:
            self.features = self._build("features", lambda: self._encode(images))
            self._tries_features = self.features is not None
            encoder = self._model.encoder
            self._encoder_tensors = list(chain(encoder.parameters(), encoder.buffers(), self._model.buffers(False)))
            self._encoder_changes = sum(tensor._version for tensor in self._encoder_tensors)

    def _encode(self, images: Tensor) -> FeatureTable | None:
        """Return the features of all rows. None if they exceed the limit."""
        assert self._limit is not None and self._tables is not None
        limit = self._limit - sum(table.nbytes for table in self._tables)
        with self._fabric.autocast():
            return FeatureTable.build(self._model.encode, images, self._config.batch_size, limit)

    def _build(self, name: str, build: Callable[[], T | None]) -> T | None:
        """Return the result of a function. None if the memory does not suffice."""
        try:
            result, reason = build(), "they exceed the limit"
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            result, reason = None, first_line(error)
        if result is None:
            # Outside of the except clause, because the exception keeps the tensors in memory.
            gc.collect()
            if self._fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            logger.debug("the %s of the training are not kept on the device: %s", name, reason)
        return result


def make_resident_images(
    images: SegmentationDataset,
    model: SegmentationModel,
    config: Config,
    fabric: "Fabric",
    graphs: StepGraphs | None = None,
    limit: int | None = None,
) -> ResidentImages | None:
    """Return the training images for the memory of the device, if they have a fixed size and known versions.

    Args:
        images: the training images.
        model, config, fabric, graphs, limit: see `ResidentImages`.

    Returns:
        The images, or None if steps get other images than the versions of the data set's images.
    """
    versions = images.transform or Unchanged()
    if config.view != "whole" or config.mosaic or config.start_size is not None or fabric.world_size > 1:
        return None
    if type(images) is not SegmentationDataset or not isinstance(versions, ImageVersions):
        return None
    return ResidentImages(images, versions, model, config, fabric, graphs, limit)


def _free_bytes(device: torch.device) -> int:
    """Return the size of the free memory of a GPU, with that which torch keeps for new tensors."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
