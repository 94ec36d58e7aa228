"""The data set that training draws from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.data.masks import read_pair
from pixelwise.data.records import Reading, Record
from pixelwise.data.streams import Progress, no_progress, read_ahead
from pixelwise.data.transforms import Transform, resize_mask, resize_photo
from pixelwise.losses import pixel_weights


class SegmentationDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Photos and masks as uint8 tensors, prepared once and kept in memory, transformed each time they are drawn.

    An item is asked for by its index or by (index, seed); with a seed the random transform is drawn from it
    alone, so that an epoch is the same with any number of workers or processes, and after a resume.

    Args:
        records: what to read, each with a mask.
        reading: how its files become arrays.
        size: pixels; photos and masks are kept at size x size.
        transform: applied to (image, mask) when an item is drawn; None leaves them as prepared.
        class_weights: (C,) float; where given, items are (image, mask, weight).
        progress: see `Progress`.

    Items: image (3, size, size) uint8 RGB in [0, 255], mask (size, size) uint8 (255 = ignore) and, where asked,
    weight (size, size) float32, the class weight of each pixel (0 where ignored).
    """

    def __init__(
        self,
        records: Sequence[Record],
        reading: Reading,
        size: int,
        transform: Transform | None = None,
        class_weights: Tensor | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.transform = transform
        self.class_weights = class_weights

        def prepare(record: Record) -> tuple[Tensor, Tensor]:
            image, mask = read_pair(record, reading)
            return resize_photo(image, (size, size)), resize_mask(mask, (size, size))

        self.items = list(progress(read_ahead(prepare, records), len(records)))

    def __len__(self) -> int:
        return len(self.items)

    def class_pixels(self, classes: int) -> Tensor:
        """How many pixels each class has in the prepared masks: (C,) int64, ignored pixels left out."""
        counts = torch.zeros(256, dtype=torch.int64)
        for _, mask in self.items:
            counts += torch.bincount(mask.flatten(), minlength=256)
        return counts[:classes]

    def __getitem__(self, draw: int | tuple[int, int]) -> tuple[Tensor, ...]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int | tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """The items of a batch: saving torch's random state takes longer than a flip, so it is done once for all."""
        if not all(isinstance(draw, tuple) for draw in draws):
            return [self._item(draw) if isinstance(draw, int) else self[draw] for draw in draws]
        with torch.random.fork_rng(devices=[]):
            return [self._item(*draw) for draw in draws if isinstance(draw, tuple)]

    def _item(self, index: int, seed: int | None = None) -> tuple[Tensor, ...]:
        if seed is not None:
            torch.manual_seed(seed)
        image, mask = self.items[index]
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        if self.class_weights is None:
            return image, mask
        return image, mask, pixel_weights(mask, self.class_weights)
