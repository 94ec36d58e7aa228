"""Features of a few augmented versions of each training image, kept while the encoder does not train."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.input_size import HeightWidth, to_pair
from pixelwise.data.resize import resize_batch
from pixelwise.data.samplers import EpochSampler
from pixelwise.models.encoder import FreezeMode
from pixelwise.models.feature_table import FeatureTable
from pixelwise.models.model import SegmentationModel
from pixelwise.training.course import Course

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

KEPT_BYTES = 2**30
"""Maximum size of the kept features in bytes."""

Items = tuple[Tensor, Tensor]
"""Images (N, channels, H, W) uint8, and their masks."""


class KeptFeatures:
    """The features and masks of `versions` augmented versions of each image, in memory.

    Without gradients, the encoder returns the same features for the same version of an image. The first epochs draw new
    versions and keep their features. Later epochs draw the same versions in turn, and only the decoder is computed. The
    features are dropped when the encoder begins to train.

    Args:
        model: the model. Its batch norms keep their statistics.
        config: the settings.
        fabric: the precision of the steps.
        course: the course of the training.
        sampler: the order of the training images. Its seeds are those of the versions while features are kept.
        limit: maximum size of the features in bytes. If it is too small for `kept_versions`, there are fewer versions.

    Attributes:
        table: the features. Row `index * versions + version` is a version of an image. None if none are kept.
        versions: number of versions of each image. 0 if the features of one version exceed the limit.
    """

    def __init__(
        self,
        model: SegmentationModel,
        config: Config,
        fabric: "Fabric",
        course: Course,
        sampler: EpochSampler,
        limit: int = KEPT_BYTES,
    ) -> None:
        self.table: FeatureTable | None = None
        self.versions = 0
        self._model, self._config, self._fabric = model, config, fabric
        self._course, self._sampler, self._limit = course, sampler, limit
        self._size: HeightWidth | None = None
        self._masks: Tensor | None = None
        self._known: set[int] = set()

    def start_epoch(self) -> bool:
        """Prepare the epoch of the sampler: make room for the features, or drop them.

        Returns:
            True if the encoder does not train in this epoch, and its features are kept.
        """
        mode, course, epoch = self._model.encoder.freeze_mode, self._course, self._sampler.epoch
        if mode != FreezeMode.FROZEN and not course.trains_decoder_only(epoch):
            self._drop()
            return False
        size = self._config.start_size if course.uses_start_size(epoch) else self._config.image_size
        assert size is not None
        if to_pair(size) != self._size:
            self._drop()
            self._allocate(to_pair(size))
        self._sampler.versions = self.versions
        return self.versions > 0

    def batches(self, load: Callable[[], Iterator[Items]]) -> Iterator[Items]:
        """Yield the batches of an epoch, after `start_epoch` has returned True.

        Args:
            load: a function that returns the images of the sampler's batches at `image_size`, and their masks. It is
                called only if features of the epoch are not known.

        Yields:
            The rows of `table`, (N,) int64, and the masks.
        """
        epoch, group = self._sampler.epoch, self._sampler.epoch % self.versions
        if group not in self._known and epoch != group:
            # A resumed training encodes the batches of the epoch that did so first, because the rounding of features
            # depends on the batch.
            self._sampler.epoch = group
            with torch.random.fork_rng(devices=[]):  # a loader draws a random number
                for rows, items in zip(self._rows(), load(), strict=True):
                    self._keep(rows, *items)
            self._sampler.epoch = epoch
            self._known.add(group)
        loaded = iter(()) if group in self._known else load()
        for rows in self._rows():
            if group not in self._known:
                self._keep(rows, *next(loaded))
            assert self._masks is not None
            yield rows, self._masks[rows]
        self._known.add(group)

    def _rows(self) -> Iterator[Tensor]:
        """Yield the rows of the images of the sampler's batches."""
        for draws in self._sampler:
            yield torch.tensor([index * self.versions + self._sampler.version_of(index) for index, _ in draws])

    def _allocate(self, size: HeightWidth) -> None:
        """Choose the number of versions for images of a size in pixels, and make room for their features."""
        black = torch.zeros(1, len(self._model.config.mean), *size, dtype=torch.uint8)
        features = [feature.permute(0, 2, 3, 1) for feature in self._encode(black)]
        count, nbytes = self._sampler.length, sum(feature.nbytes for feature in features)
        self._size, self.versions = size, min(self._config.kept_versions or 0, self._limit // (count * nbytes))
        if self.versions == 0:
            logger.debug("the features of %d images of %s are not kept: they exceed the limit", count, size)
            return
        rows = count * self.versions
        self.table = FeatureTable([torch.empty(rows, *level.shape[1:], dtype=level.dtype) for level in features], size)

    def _keep(self, rows: Tensor, images: Tensor, masks: Tensor) -> None:
        """Compute and keep the features of images, and keep their masks."""
        assert self.table is not None
        if tuple(images.shape[-2:]) != self._size:
            images, masks = resize_batch(images, masks, self.table.size)
        if self._masks is None:
            self._masks = torch.empty(self._sampler.length * self.versions, *masks.shape[1:], dtype=masks.dtype)
        for level, feature in zip(self.table.levels, self._encode(images), strict=True):
            level[rows] = feature.permute(0, 2, 3, 1)
        self._masks[rows] = masks

    @torch.no_grad()
    def _encode(self, images: Tensor) -> list[Tensor]:
        with self._fabric.autocast():
            return self._model.encode(images)

    def _drop(self) -> None:
        self.table = self._size = self._masks = None
        self.versions = self._sampler.versions = 0
        self._known.clear()


def make_kept_features(
    model: SegmentationModel, config: Config, fabric: "Fabric", course: Course, sampler: EpochSampler
) -> KeptFeatures | None:
    """Return the features for a training, or None if the setting `kept_versions` has no effect on it.

    Args:
        model, config, fabric, course, sampler: see `KeptFeatures`.
    """
    is_constant = config.encoder_training == "none" or config.freeze_batchnorm
    is_single = fabric.device.type == "cpu" and fabric.world_size == 1 and type(sampler) is EpochSampler
    is_whole = config.view == "whole" and model.feature_cache is None  # that cache keeps all versions
    if not (config.kept_versions and is_constant and is_single and is_whole):
        return None
    return KeptFeatures(model, config, fabric, course, sampler)
