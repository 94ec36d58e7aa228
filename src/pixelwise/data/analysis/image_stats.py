"""What was seen of all images: flat arrays of some hundred bytes an image, and what they say together."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pixelwise.data.analysis.scan import RecordStats
from pixelwise.data.schema import DataIssue, Record, Split

_DIGEST, _THUMBNAIL = 16, 64


class ImageStatsTable:
    """The images of a data set, as they were seen, in the order they were added; files that cannot be read included.

    Attributes:
        problems: what is wrong, file by file.
        modes: how pixels are stored → number of images.
    """

    def __init__(self) -> None:
        self.problems: list[DataIssue] = []
        self.modes: Counter[str] = Counter()
        self._bad = bytearray()
        self._digests, self._mask_digests, self._thumbnails = bytearray(), bytearray(), bytearray()
        self._heights, self._widths, self._channels = array("L"), array("L"), array("H")
        self._greatest = 0
        self._moments: dict[tuple[int, bool], np.ndarray] = {}  # (channels, 16 bits) → sums of 1, means, squares

    def __len__(self) -> int:
        return len(self._bad)

    def add(self, look: RecordStats) -> None:
        """Add what was seen of the next record."""
        image = look.image
        self.problems += look.issues
        self._bad.append(any(problem.severity == "error" for problem in look.issues))
        self._digests += image.digest if image else bytes(_DIGEST)
        self._mask_digests += look.mask_digest or bytes(_DIGEST)
        self._thumbnails += image.thumbnail if image else bytes(_THUMBNAIL)
        height, width = image.size if image else (0, 0)
        self._heights.append(height)
        self._widths.append(width)
        self._channels.append(image.channels if image else 0)
        if image is None:
            return
        self.modes[image.mode] += 1
        self._greatest = max(self._greatest, image.greatest)
        own = np.array([np.ones(image.channels), image.means, image.squares])
        key = image.channels, image.greatest > 0
        self._moments[key] = self._moments.get(key, 0) + own

    @property
    def bad(self) -> np.ndarray:
        """(N,) bool: which records cannot be trained on."""
        return np.frombuffer(bytes(self._bad), bool)

    def add_issue(self, index: int, problem: DataIssue) -> None:
        """Note what is wrong with a record."""
        self.problems.append(problem)
        self._bad[index] |= problem.severity == "error"

    @property
    def pixels(self) -> np.ndarray:
        """(N,) int64: of each image; 0 where it cannot be read."""
        return np.array(self._heights, np.int64) * np.array(self._widths, np.int64)

    @property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Widths and heights, (M,) each, of the M images that can be read."""
        seen = np.array(self._heights) > 0
        return np.array(self._widths)[seen], np.array(self._heights)[seen]

    @property
    def channels(self) -> int:
        """How many channels most images have."""
        return Counter(each for each in self._channels if each).most_common(1)[0][0]

    def check_channels(self, records: Sequence[Record]) -> None:
        """Refuse images with another number of channels than most have."""
        wanted = self.channels
        for index, own in enumerate(self._channels):
            if own not in (0, wanted):
                what = f"has {own} channels, where most images have {wanted}; save it like the others or remove it"
                self.add_issue(index, DataIssue("other channels", str(records[index].image), what))

    @property
    def bits(self) -> int:
        """Of 16 bits a channel, how many are in use: 8 to 16; 16 where no image has 16."""
        return min(max(self._greatest.bit_length(), 8), 16) if self._greatest else 16

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over all images with `channels` channels, in [0, 255]."""
        total = np.zeros((3, self.channels))
        for (channels, deep), sums in self._moments.items():
            if channels == self.channels:
                scale = 1 << (self.bits - 8) if deep else 1
                total += sums / np.array([[1], [scale], [scale**2]])
        means = total[1] / total[0]
        stds = np.sqrt(np.maximum(total[2] / total[0] - means**2, 0))
        return tuple(means.tolist()), tuple(stds.tolist())

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Of the content of images; only zeros where one cannot be read."""
        return [bytes(self._digests[_DIGEST * index : _DIGEST * (index + 1)]) for index in indices]

    def thumbnails(self, indices: Sequence[int]) -> np.ndarray:
        """(len(indices), 64) uint8, small gray images."""
        return np.frombuffer(bytes(self._thumbnails), np.uint8).reshape(-1, _THUMBNAIL)[list(indices)]

    def find_duplicates(self, records: Sequence[Record], splits: Sequence[Split]) -> None:
        """Note images that are there twice, by content; those in two splits are leakage."""
        digests = np.frombuffer(bytes(self._digests), f"V{_DIGEST}")
        masks = np.frombuffer(bytes(self._mask_digests), f"V{_DIGEST}")
        _, which, counts = np.unique(digests, return_inverse=True, return_counts=True)
        readable = np.array(self._heights) > 0
        first: dict[int, int] = {}
        for index in np.flatnonzero((counts[which] > 1) & readable).tolist():
            original = first.setdefault(which[index], index)
            if original != index:
                file, other = str(records[index].image), records[original].image
                differs = masks[index] != masks[original]
                self.problems.append(_copy(file, str(other), splits[index], splits[original], bool(differs)))


def _copy(file: str, other: str, split: Split, other_split: Split, differs: bool) -> DataIssue:
    mask = ", and their masks differ" if differs else ""
    if split != other_split:
        what = f"the same image as {other}: it is in {other_split} and in {split}{mask}, so figures come out too good"
        return DataIssue("leakage", file, f"{what}; remove one", severity="warning")
    if differs:
        what = f"the same image as {other}, but their masks differ; keep the one that is right"
        return DataIssue("copy with another mask", file, what, severity="warning")
    return DataIssue("copy", file, f"the same image as {other}; remove one", severity="warning")
