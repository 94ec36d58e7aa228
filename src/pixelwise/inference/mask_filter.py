"""Removal of small objects and small holes from predicted masks."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ConfigError
from pixelwise.inference.objects import ObjectFinder, ObjectTable, counted_values, paint_regions
from pixelwise.inference.packed_mask import PackedMask
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig

Channel = npt.NDArray[np.uint8]
_Counts = npt.NDArray[np.int64]

_ROWS = 512
"""Number of rows of a mask that are changed at once."""


@dataclass(frozen=True)
class MaskFilter:
    """Removes small objects and small holes from the masks of a model. Objects are removed first.

    Attributes:
        min_object: objects with fewer pixels get the class that has most of their border. Pixels that touch at a corner
            are one object. The background has no objects. 0 or 1 keeps all.
        min_hole: holes with fewer pixels get the class around them. A hole is a region of the background that is
            surrounded by one class. Its pixels touch at their sides. 0 or 1 keeps all.
    """

    min_object: int = 0
    min_hole: int = 0

    def check(self, config: ModelConfig) -> None:
        """Raise ConfigError if a number is negative, or if a model without background has `min_hole`."""
        for name, value in (("min_object", self.min_object), ("min_hole", self.min_hole)):
            if value < 0:
                raise ConfigError(f"`{name}` must be a number of pixels from 0, and is {value}")
        if self.min_hole > 1 and not _is_multilabel(config) and not config.background:
            raise ConfigError("the model has no background class, so its masks have no holes; use `min_object`")

    @property
    def is_used(self) -> bool:
        """True if it can change a mask."""
        return max(self.min_object, self.min_hole) > 1

    def sign(self, fingerprint: str) -> str:
        """Return the fingerprint of a model whose masks are filtered. It is unchanged if the filter is not used."""
        if not self.is_used:
            return fingerprint
        return hashlib.blake2b(f"{fingerprint} {self}".encode(), digest_size=16).hexdigest()

    def apply(self, prediction: Prediction, config: ModelConfig) -> Prediction:
        """Return a prediction with the filtered mask. The argument does not change."""
        if not self.is_used:
            return prediction
        mask = prediction.mask
        if isinstance(cast(object, mask), PackedMask):
            packed = cast(PackedMask, mask)

            def channels() -> Iterator[Channel]:
                for index in range(len(packed)):
                    channel = packed[index]
                    self.change(channel, index, config)
                    yield np.asarray(channel == 1).astype(np.uint8)

            result = PackedMask(channels())
            result = result if packed.ignored is None else result.with_ignored(packed.ignored)
            return replace(prediction, mask=cast(np.ndarray, result))
        mask = np.array(mask)
        self.change_all(mask, config)
        return replace(prediction, mask=mask)

    def change_all(self, mask: npt.NDArray[np.uint8], config: ModelConfig) -> None:
        """Change a mask of the model's task in place, see `change`."""
        if self.is_used:
            for index, channel in enumerate([mask] if mask.ndim == 2 else mask):
                self.change(channel, index, config)

    def change(self, channel: Channel, index: int, config: ModelConfig) -> None:
        """Change a channel of a mask in place. It is read and written by bands of rows.

        Args:
            channel: (H, W) uint8.
            index: the number of the channel.
            config: the configuration of the model.
        """
        classes = len(config.classes)
        counted = counted_values(config.task, classes, config.background)[index]
        background = [0] if _is_multilabel(config) else list(config.background)
        values = 2 if _is_multilabel(config) else classes
        if self.min_object > 1:
            fallback = background[0] if background else None
            _replace(
                channel, counted, True, lambda table: table.areas < self.min_object,
                lambda borders, old: _most_common(borders[:, :values], old, fallback),
            )  # fmt: skip
        if self.min_hole > 1:
            empty = np.zeros(256, bool)
            empty[background] = True
            height, width = channel.shape

            def is_hole(table: ObjectTable) -> npt.NDArray[np.bool_]:
                top, left, bottom, right = table.boxes.T
                inside = (top > 0) & (left > 0) & (bottom < height) & (right < width)
                return np.asarray(inside & (table.areas < self.min_hole))

            _replace(channel, empty, False, is_hole, lambda borders, old: _only_value(borders, old, counted))


def _is_multilabel(config: ModelConfig) -> bool:
    return len(config.task.mask_shape(1, 1, 1)) == 3


def _replace(
    channel: Channel,
    counted: npt.NDArray[np.bool_],
    corners: bool,
    select: Callable[[ObjectTable], npt.NDArray[np.bool_]],
    choose: Callable[[_Counts, _Counts], _Counts],
) -> None:
    """Replace the values of some regions of a channel in place.

    Args:
        channel: (H, W) uint8.
        counted: (256,) bool, the values of the regions.
        corners: see `ObjectFinder`.
        select: returns which regions of a table are replaced.
        choose: returns the new values (N,) of N regions from the numbers of border pixels by value, (N, 256), and from
            their values (N,). The border has no pixels of other regions that are replaced.
    """
    finder = ObjectFinder(counted, corners)
    for band in _bands(channel):
        finder.add(band)
    table, numbers = finder.table(), finder.numbers()
    selected = np.flatnonzero(select(table))
    if not len(selected):
        return
    index = np.full(len(table.areas) + 1, -1, np.int32)
    index[selected + 1] = np.arange(len(selected))
    regions = _Painter(channel, counted, corners, index[numbers])
    borders = np.zeros((len(selected), 256), np.int32)
    above: tuple[npt.NDArray[np.int32], Channel] | None = None
    for start, painted in regions:
        band = channel[start : start + _ROWS]
        if above is not None:
            _count_pairs(borders, np.stack([above[0], painted[0]]), np.stack([above[1], band[0]]), 0)
        _count_pairs(borders, painted, band, 0)
        _count_pairs(borders, painted, band, 1)
        above = painted[-1].copy(), np.array(band[-1])
    new = choose(borders.astype(np.int64), table.class_ids[selected]).astype(np.uint8)
    for start, painted in regions:
        is_replaced = painted >= 0
        channel[start : start + _ROWS][is_replaced] = new[painted[is_replaced]]


class _Painter:
    """The numbers of the regions that are replaced, band by band. Other pixels are -1.

    Args:
        channel: the channel, which may be changed band by band while this is iterated.
        counted: see `ObjectFinder`.
        corners: see `ObjectFinder`.
        index: for each region that `ObjectFinder.add` found its number, or -1.
    """

    def __init__(
        self, channel: Channel, counted: npt.NDArray[np.bool_], corners: bool, index: npt.NDArray[np.int32]
    ) -> None:
        self._channel, self._counted, self._corners = channel, counted, corners
        self._index = np.append(index, np.int32(-1))  # the last value is that of -1, a pixel without a region

    def __iter__(self) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
        first = 0
        for number, band in enumerate(_bands(self._channel)):
            count, painted = paint_regions(band, self._counted, self._corners)
            painted[painted >= 0] += first
            first += count
            yield number * _ROWS, self._index[painted]


def _bands(channel: Channel) -> Iterator[Channel]:
    return (np.asarray(channel[start : start + _ROWS]) for start in range(0, len(channel), _ROWS))


def _count_pairs(borders: npt.NDArray[np.int32], regions: npt.NDArray[np.int32], values: Channel, axis: int) -> None:
    """Add to `borders` the neighbors of regions along an axis, in both directions, that are in no region."""
    length = regions.shape[axis]
    first, second = (
        (np.take(regions, part, axis), np.take(values, part, axis)) for part in (range(length - 1), range(1, length))
    )
    for (region, _), (other, value) in ((first, second), (second, first)):
        is_border = (region >= 0) & (other < 0)
        np.add.at(borders, (region[is_border], value[is_border]), 1)


def _most_common(borders: _Counts, old: _Counts, fallback: int | None) -> _Counts:
    """Return the value with most border pixels. For a region without any: `fallback`, or its old value if None."""
    kept = old if fallback is None else np.full_like(old, fallback)
    return np.asarray(np.where(borders.any(1), borders.argmax(1), kept))


def _only_value(borders: _Counts, old: _Counts, counted: npt.NDArray[np.bool_]) -> _Counts:
    """Return the value of the border if it has only one and this one is in `counted`, else the old value."""
    values = borders.argmax(1)
    return np.asarray(np.where(((borders > 0).sum(1) == 1) & counted[values], values, old))
