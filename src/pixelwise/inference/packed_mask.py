"""Multi-label masks in little memory, for images that have many classes and pixels."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.palette import IGNORE_INDEX


class PackedMask:
    """A multi-label mask whose classes are compressed: 150 classes at 12 megapixels take about 10 MB instead of 1.8 GB.

    It has some of the methods of a (C, H, W) uint8 array of zeros and ones. A class is unpacked each time it is read.
    To save memory, delete it before the next one is read.

    Args:
        channels: the (H, W) uint8 mask of each class, of zeros and ones. There is at least one. They are consumed one
            at a time.

    Attributes:
        ignored: (H, W) bool, True for pixels that are 255 ("ignore") in all classes, or None.
        shape: (C, H, W).
        ndim: 3.
        dtype: uint8.

    >>> mask = PackedMask(iter([np.array([[1, 0, 1]], np.uint8), np.array([[0, 0, 1]], np.uint8)]))
    >>> mask[0].tolist(), np.asarray(mask).shape
    ([[1, 0, 1]], (2, 1, 3))
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, channels: Iterable[npt.NDArray[np.uint8]]) -> None:
        self._channels: list[bytes] = []
        size: tuple[int, ...] = (0, 0)
        for channel in channels:
            size = channel.shape
            self._channels.append(zlib.compress(np.packbits(channel, axis=-1).tobytes(), level=1))
        self.shape = (len(self._channels), *size)
        self.ignored: npt.NDArray[np.bool_] | None = None

    def with_ignored(self, ignored: npt.NDArray[np.bool_]) -> "PackedMask":
        """Return a mask of the same classes that is 255 in all of them at some pixels.

        Args:
            ignored: (H, W) bool, True for these pixels.
        """
        mask = PackedMask(())
        mask._channels, mask.shape, mask.ignored = self._channels, self.shape, ignored
        return mask

    def __len__(self) -> int:
        return len(self._channels)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        bits = np.frombuffer(zlib.decompress(self._channels[index]), np.uint8)
        channel = np.unpackbits(bits.reshape(self.shape[1], -1), axis=-1, count=self.shape[2])
        if self.ignored is not None:
            channel[self.ignored] = IGNORE_INDEX
        return channel

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a packed mask cannot become an array without a copy")
        return np.stack(list(self)).astype(dtype or np.uint8, copy=False)
