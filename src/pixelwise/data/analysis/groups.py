"""Images that belong together: frames of one video, tiles of one image, copies. They must not be split."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixelwise.data.analysis.scan import image_stats
from pixelwise.data.io.tar_shard import TarMember
from pixelwise.data.schema import BytesSource, DatasetIndex
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

MIN_FRAMES = 8
"""Of fewer images nobody can tell whether neighbors look alike by chance."""


ALIKE = 0.75
"""Neighbors in a video differ at most by this share of what any two of its frames differ by."""


SHUFFLES = 200
"""Neighbors must be more alike than in all of so many random orders, but for `LUCKY`."""


LUCKY = 2


ENOUGH_GROUPS = 5
"""With fewer sequences, long ones are cut."""


WANTED_BLOCKS = 12
"""How many blocks all frames are cut into; two of them are about the 15 % that validation takes."""


SHORTEST_BLOCK = 4


FINEST_GRID = 16
"""Tiles lie on a grid of so many pixels at least."""


_FRAME = re.compile(r"(.*?)(\d+)(\D*)")


_TILE = (
    re.compile(r"(.+?)[ _.-]?(?:x|col|c)[_=-]?(\d+)[ _.,-]*(?:y|row|r)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-]?(?:y|row|r)[_=-]?(\d+)[ _.,-]*(?:x|col|c)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-](?:tile|patch|crop)[ _.-]?(\d+)(?:[ _.x-](\d+))?", re.IGNORECASE),
)


_GRID = re.compile(r"(.+?)[_.-](\d+)[_.-](\d+)")


def assign_groups(data: DatasetIndex, progress: Progress = no_progress) -> DatasetIndex:
    """The data set with groups in its train split, for which each image is looked at, unless that was done before.

    What lies in shards was looked at by `pack`. Images that cannot be read stand for themselves.
    """
    if data.group_summary is not None:
        return data
    if any(record.group for record in data.train) or all(isinstance(record.image, TarMember) for record in data.train):
        return add_groups(data)
    looks = [*progress(prefetch_map(_look, (record.image for record in data.train)), len(data.train))]
    thumbnails = np.frombuffer(b"".join(thumbnail for thumbnail, _ in looks), np.uint8).reshape(-1, 64)
    return add_groups(data, thumbnails, [digest for _, digest in looks])


def _look(image: BytesSource) -> tuple[bytes, bytes]:
    try:
        look = image_stats(image)
    except DataError:
        return bytes(64), b""
    return look.thumbnail, look.digest


def add_groups(data: DatasetIndex, thumbnails: np.ndarray | None = None, digests: Sequence[bytes] = ()) -> DatasetIndex:
    """The data set with the groups that its train split's images show, unless it names groups itself.

    Args:
        thumbnails: (N, 64) uint8, a small gray image of each; None: groups are not looked for.
        digests: of each image's content; b"" stands for no other.
    """
    named = {record.group for record in data.train} - {None}
    if named or thumbnails is None:
        return replace(data, group_summary=f"{len(named)} groups, as the data set names them" if named else "")
    root = f"{data.root}/"
    names = [str(record.image).rpartition(".")[0].removeprefix(root) for record in data.train]
    groups, reason = find_groups(names, thumbnails)
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        original = first.setdefault(digest, index) if any(digest) else index
        if original != index:
            groups[original] = groups[original] or f"copies of {names[original]}"
            groups[index] = groups[original]
    train = tuple(replace(record, group=group) for record, group in zip(data.train, groups, strict=True))
    return replace(data, train=train, group_summary=reason)


def find_groups(names: Sequence[str], thumbnails: np.ndarray) -> tuple[list[str | None], str]:
    """The group of each image, or None where it stands for itself; and in words why.

    Tiles are told by their names ("slide7_x0_y512"). Frames are told by names that end in a running number
    ("seq1_0001"), where neighbors in number look much more alike than others of that sequence: numbered images of
    breeds do not. Where there are few sequences, they are cut into blocks of consecutive frames, at the greatest
    changes.

    Args:
        names: without suffixes; those of one sequence have the same folder.
        thumbnails: (N, 64) uint8, small gray images.

    >>> find_groups(["a_tile_1", "a_tile_2", "b_tile_1", "b_tile_2"], np.zeros((4, 64), np.uint8))
    (['a', 'a', 'b', 'b'], 'tiles: of 2 images')
    """
    tiles = _tiles(names)
    if tiles is not None:
        return tiles, f"tiles: of {len(set(tiles) - {None})} images"
    sequences = _sequences(names, thumbnails)
    if not sequences:
        return [None] * len(names), ""
    groups: list[str | None] = [None] * len(names)
    blocks = 0
    for key, frames in sequences.items():
        parts = [frames]
        if len(sequences) < ENOUGH_GROUPS:
            total = sum(map(len, sequences.values()))
            parts = _cut(frames, thumbnails, round(len(frames) / total * WANTED_BLOCKS))
        blocks += len(parts)
        for number, part in enumerate(parts, start=1):
            for index in part:
                groups[index] = key if len(parts) == 1 else f"{key} part {number}"
    reason = f"video frames: {len(sequences)} sequence{'s' * (len(sequences) != 1)}"
    return groups, reason if blocks == len(sequences) else f"{reason}, cut into {blocks} blocks"


def _tiles(names: Sequence[str]) -> list[str | None] | None:
    """The image that each is a tile of, where most names are of tiles, and of several images."""
    for pattern in (*_TILE, _GRID):
        found = [pattern.fullmatch(name) for name in names]
        if sum(each is not None for each in found) < 0.8 * len(names):
            continue
        groups = [None if each is None else each[1] for each in found]
        several = len(set(groups) - {None})
        if pattern is _GRID and np.gcd.reduce([int(each[i]) for each in found if each for i in (2, 3)]) < FINEST_GRID:
            continue
        if 2 <= several <= len(names) / 2:
            return groups
    return None


def _sequences(names: Sequence[str], thumbnails: np.ndarray) -> dict[str, list[int]]:
    """Name → indices in order, of the sequences whose neighbors look alike."""
    numbered: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        if match := _FRAME.fullmatch(name):
            numbered.setdefault((match[1], match[3]), []).append((int(match[2]), index))
    found: dict[str, list[int]] = {}
    for (before, after), frames in numbered.items():
        indices = [index for _, index in sorted(frames)]
        if len(indices) >= MIN_FRAMES and _is_video(thumbnails[indices]):
            name = f"{before.rstrip(' _.-/') or 'frames'}{after}"
            found[name if name not in found else f"{before}{after}"] = indices
    return found


def _is_video(thumbnails: np.ndarray) -> bool:
    frames = thumbnails[:1000].astype(np.int16)  # enough to tell, and quick to shuffle
    neighbors = _steps(frames).mean()
    generator = np.random.default_rng(0)
    shuffled = np.array([_steps(frames[generator.permutation(len(frames))]).mean() for _ in range(SHUFFLES)])
    return bool(neighbors < ALIKE * shuffled.mean() and (shuffled <= neighbors).sum() <= LUCKY)


def _steps(frames: np.ndarray) -> np.ndarray:
    """How far each frame is from the one before, in gray values."""
    return np.abs(np.diff(frames, axis=0)).mean(1)


def _cut(frames: list[int], thumbnails: np.ndarray, blocks: int) -> list[list[int]]:
    """Cut a sequence into about so many blocks, each time at the greatest change near where it would be even."""
    blocks = max(1, min(blocks, len(frames) // SHORTEST_BLOCK))
    steps = _steps(thumbnails[frames].astype(np.int16))
    length = len(frames) / blocks
    cuts = [0]
    for number in range(1, blocks):
        low, high = round((number - 0.25) * length), round((number + 0.25) * length)
        low = max(low, cuts[-1] + 1)
        cuts.append(low + int(steps[low - 1 : max(high, low)].argmax()))
    return [frames[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(frames)], strict=True)]
