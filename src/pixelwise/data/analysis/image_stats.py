"""Per-image statistics in flat arrays (about 600 bytes per image), and totals over the data set."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE, copy_issue, find_copies, near_duplicate_issues
from pixelwise.data.analysis.scan import RecordStats
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import DataIssue, Record, Split

_DIGEST_BYTES, _THUMBNAIL_BYTES = 16, THUMBNAIL_SIDE**2


class ImageStatsTable:
    """The statistics of all images of a data set, one row per record, in the order of the records.

    An unreadable image has a row of zeros.

    Args:
        scale: the conversion of the data set's pixels to 8 bits, with which the statistics were computed.

    Attributes:
        scale: the argument.
        issues: the faults in single files that were found so far.
        modes: Pillow's pixel mode ("RGB"), or "5 bands" → number of readable images.
    """

    def __init__(self, scale: PixelScale = UNSCALED) -> None:
        self.scale = scale
        self.issues: list[DataIssue] = []
        self.modes: Counter[str] = Counter()
        self._unusable = bytearray()
        self._digests, self._mask_digests, self._thumbnails = bytearray(), bytearray(), bytearray()
        self._heights, self._widths, self._channels = array("L"), array("L"), array("H")
        self._max_value = 0
        self._nodata = 0.0  # number of pixels without data
        self._wide: list[int] = []  # indices of images of floats and wide integers that the scale cannot convert
        # (channels, is 16-bit) → sums over images of 1, means and mean squares, per channel
        self._moments: dict[tuple[int, bool], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._unusable)

    def add(self, stats: RecordStats) -> None:
        """Add the statistics of the next record."""
        image = stats.image
        self.issues += stats.issues
        self._unusable.append(any(issue.severity == "error" for issue in stats.issues))
        self._digests += image.digest if image else bytes(_DIGEST_BYTES)
        self._mask_digests += stats.mask.digest if stats.mask else bytes(_DIGEST_BYTES)
        self._thumbnails += image.thumbnail if image else bytes(_THUMBNAIL_BYTES)
        height, width = image.size if image else (0, 0)
        self._heights.append(height)
        self._widths.append(width)
        self._channels.append(image.channels if image else 0)
        if image is None:
            return
        self.modes[image.mode] += 1
        self._max_value = max(self._max_value, image.max_value)
        self._nodata += image.nodata_fraction * height * width
        if image.has_wide_numbers and not self.scale.band_ranges:
            self._wide.append(len(self) - 1)
            return
        moments = np.array([np.ones(image.channels), image.means, image.mean_squares])
        key = image.channels, image.max_value > 0
        self._moments[key] = self._moments.get(key, 0) + moments

    def add_issue(self, index: int, issue: DataIssue) -> None:
        """Add an issue of the record with this index.

        Args:
            index: the position of the record.
            issue: the issue. An error makes the record unusable.
        """
        self.issues.append(issue)
        self._unusable[index] |= issue.severity == "error"

    @property
    def unusable(self) -> np.ndarray:
        """(N,) bool: True for each record that has an issue of severity "error"."""
        return np.frombuffer(bytes(self._unusable), bool)

    @property
    def pixels(self) -> np.ndarray:
        """(N,) int64: number of pixels of each image, 0 for an unreadable image."""
        return np.array(self._heights, np.int64) * np.array(self._widths, np.int64)

    @property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Two (M,) arrays: the widths and the heights in pixels of the M readable images."""
        readable = np.array(self._heights) > 0
        return np.array(self._widths)[readable], np.array(self._heights)[readable]

    @property
    def channels(self) -> int:
        """The most frequent number of channels. 3 if no image can be read."""
        counts = Counter(channels for channels in self._channels if channels)
        return counts.most_common(1)[0][0] if counts else 3

    @property
    def bit_depth(self) -> int:
        """Number of bits in use by images with 16 bits a channel, 8 to 16. 16 if there are no such images."""
        return min(max(self._max_value.bit_length(), 8), 16) if self._max_value else 16

    @property
    def nodata_fraction(self) -> float:
        """The fraction of all pixels that have no data in any channel, in [0, 1]."""
        return self._nodata / max(1, int(self.pixels.sum()))

    @property
    def read_scale(self) -> PixelScale:
        """The conversion of pixels: `scale` if it has ranges, else one with `bit_depth`."""
        return self.scale if self.scale.band_ranges else PixelScale(self.bit_depth)

    def check_channels(self, records: Sequence[Record]) -> None:
        """Add an error for each image whose number of channels differs from `channels`.

        If the scale has no ranges, each image of floats or wide integers (signed, or of 32 bits) also gets an error.

        Args:
            records: all records, in the order they were added.
        """
        expected = self.channels
        for index in self._wide:
            message = "has floats or wide integers, but most images have 8 or 16 bits; convert it or remove it"
            self.add_issue(index, DataIssue("other number type", str(records[index].image), message))
        for index, channels in enumerate(self._channels):
            if channels not in (0, expected):
                message = f"has {channels} channels, but most images have {expected}; convert it or remove it"
                self.add_issue(index, DataIssue("other channels", str(records[index].image), message))

    def channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation of each channel over the images with `channels` channels.

        Both are on the scale 0..255. If the scale has no ranges, images of floats and wide integers are left out. Both
        are zeros if there are no images.
        """
        total = np.zeros((3, self.channels))
        for (channels, has_16_bits), sums in self._moments.items():
            if channels == self.channels:
                is_shifted = has_16_bits and not self.scale.band_ranges
                factor = float(1 << (self.bit_depth - 8)) if is_shifted else 1.0
                total += sums / np.array([[1], [factor], [factor**2]])
        counts = np.maximum(total[0], 1)
        means = total[1] / counts
        stds = np.sqrt(np.maximum(total[2] / counts - means**2, 0))
        return tuple(means.tolist()), tuple(stds.tolist())

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Return the 16-byte content digests of the images with these indices. An unreadable image has zeros."""
        return [bytes(self._digests[_DIGEST_BYTES * index : _DIGEST_BYTES * (index + 1)]) for index in indices]

    def thumbnails(self, indices: Sequence[int]) -> np.ndarray:
        """Return the (len(indices), `THUMBNAIL_SIDE`²) uint8 gray thumbnails of the images with these indices."""
        return np.frombuffer(bytes(self._thumbnails), np.uint8).reshape(-1, _THUMBNAIL_BYTES)[list(indices)]

    def find_duplicates(self, records: Sequence[Record], splits: Sequence[Split]) -> list[str]:
        """Add a warning for each image whose pixels equal, or nearly equal, those of another one.

        The decoded pixels are compared, so a PNG and a TIFF can be equal. Nearly equal images are reported only if they
        are in different splits.

        Args:
            records: all records, in the order they were added.
            splits: the split of each record. Equal images in two splits are data leakage.

        Returns:
            One message for each split of which only some images were compared with the splits before it.
        """
        masks = np.frombuffer(bytes(self._mask_digests), f"V{_DIGEST_BYTES}")
        files = [str(record.image) for record in records]
        copies = find_copies(np.frombuffer(bytes(self._digests), f"V{_DIGEST_BYTES}"))
        for index, original in copies.items():
            masks_differ = bool(masks[index] != masks[original])
            self.issues.append(copy_issue(files[index], files[original], splits[index], splits[original], masks_differ))
        thumbnails = self.thumbnails(range(len(self)))
        issues, messages = near_duplicate_issues(thumbnails, files, splits, frozenset(copies))
        self.issues += issues
        return messages
