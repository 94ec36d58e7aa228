"""Per-image statistics in flat arrays (about 100 bytes per image), and totals over the data set."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pixelwise.data.analysis.scan import RecordStats
from pixelwise.data.schema import DataIssue, Record, Split

_DIGEST_BYTES, _THUMBNAIL_BYTES = 16, 64


class ImageStatsTable:
    """The statistics of all images of a data set, in the order of its records. Unreadable images are included.

    Attributes:
        issues: the faults found so far, file by file.
        modes: Pillow's pixel mode, or "5 bands" → number of images.
    """

    def __init__(self) -> None:
        self.issues: list[DataIssue] = []
        self.modes: Counter[str] = Counter()
        self._unusable = bytearray()
        self._digests, self._mask_digests, self._thumbnails = bytearray(), bytearray(), bytearray()
        self._heights, self._widths, self._channels = array("L"), array("L"), array("H")
        self._max_value = 0
        self._moments: dict[tuple[int, bool], np.ndarray] = {}  # (channels, 16 bits) → sums of 1, means, squares

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
        moments = np.array([np.ones(image.channels), image.means, image.mean_squares])
        key = image.channels, image.max_value > 0
        self._moments[key] = self._moments.get(key, 0) + moments

    def add_issue(self, index: int, issue: DataIssue) -> None:
        """Add a fault of the record with this index."""
        self.issues.append(issue)
        self._unusable[index] |= issue.severity == "error"

    @property
    def unusable(self) -> np.ndarray:
        """(N,) bool: True for records with an error."""
        return np.frombuffer(bytes(self._unusable), bool)

    @property
    def pixels(self) -> np.ndarray:
        """(N,) int64: number of pixels of each image, 0 if it cannot be read."""
        return np.array(self._heights, np.int64) * np.array(self._widths, np.int64)

    @property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Widths and heights in pixels, (M,) each, of the M readable images."""
        readable = np.array(self._heights) > 0
        return np.array(self._widths)[readable], np.array(self._heights)[readable]

    @property
    def channels(self) -> int:
        """The most frequent number of channels."""
        return Counter(channels for channels in self._channels if channels).most_common(1)[0][0]

    @property
    def bit_depth(self) -> int:
        """Number of bits in use by images with 16 bits a channel, 8 to 16. 16 if there are no such images."""
        return min(max(self._max_value.bit_length(), 8), 16) if self._max_value else 16

    def check_channels(self, records: Sequence[Record]) -> None:
        """Add an error for each image whose number of channels differs from `channels`."""
        expected = self.channels
        for index, channels in enumerate(self._channels):
            if channels not in (0, expected):
                message = f"has {channels} channels, but most images have {expected}; convert it or remove it"
                self.add_issue(index, DataIssue("other channels", str(records[index].image), message))

    def channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, in [0, 255], over the images with `channels` channels."""
        total = np.zeros((3, self.channels))
        for (channels, has_16_bits), sums in self._moments.items():
            if channels == self.channels:
                scale = 1 << (self.bit_depth - 8) if has_16_bits else 1
                total += sums / np.array([[1], [scale], [scale**2]])
        means = total[1] / total[0]
        stds = np.sqrt(np.maximum(total[2] / total[0] - means**2, 0))
        return tuple(means.tolist()), tuple(stds.tolist())

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Return the 16-byte content digests of images. A digest of zeros stands for an unreadable image."""
        return [bytes(self._digests[_DIGEST_BYTES * index : _DIGEST_BYTES * (index + 1)]) for index in indices]

    def thumbnails(self, indices: Sequence[int]) -> np.ndarray:
        """Return (len(indices), 64) uint8 gray thumbnails of images."""
        return np.frombuffer(bytes(self._thumbnails), np.uint8).reshape(-1, _THUMBNAIL_BYTES)[list(indices)]

    def find_duplicates(self, records: Sequence[Record], splits: Sequence[Split]) -> None:
        """Add a warning for each image whose content equals that of an earlier one.

        Args:
            records: all records, in the order they were added.
            splits: the split of each record. Duplicates in two splits are leakage.
        """
        digests = np.frombuffer(bytes(self._digests), f"V{_DIGEST_BYTES}")
        masks = np.frombuffer(bytes(self._mask_digests), f"V{_DIGEST_BYTES}")
        _, content, counts = np.unique(digests, return_inverse=True, return_counts=True)
        readable = np.array(self._heights) > 0
        first: dict[int, int] = {}
        for index in np.flatnonzero((counts[content] > 1) & readable).tolist():
            original = first.setdefault(content[index], index)
            if original != index:
                file, other = str(records[index].image), str(records[original].image)
                masks_differ = bool(masks[index] != masks[original])
                self.issues.append(_duplicate_issue(file, other, splits[index], splits[original], masks_differ))


def _duplicate_issue(file: str, other: str, split: Split, other_split: Split, masks_differ: bool) -> DataIssue:
    same = f"the same image as {other}"
    if split != other_split:
        masks = ", and their masks differ" if masks_differ else ""
        message = f"{same}: it is in {other_split} and in {split}{masks}, so metrics are too high; remove one"
        return DataIssue("leakage", file, message, "warning")
    if masks_differ:
        message = f"{same}, but their masks differ; keep the one with the right mask"
        return DataIssue("copy with another mask", file, message, "warning")
    return DataIssue("copy", file, f"{same}; remove one", "warning")
