"""Groups of images that must stay in one split: frames of one video, tiles of one image, copies."""

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
"""Shorter sequences are not tested for video: similar neighbors could be chance."""

MAX_STEP_RATIO = 0.75
"""In a video, the mean difference of consecutive frames is at most this fraction of that in random order."""

PERMUTATIONS = 200
MAX_BETTER_PERMUTATIONS = 2
"""Permutation test: consecutive frames must be more similar than in all random orders except at most
`MAX_BETTER_PERMUTATIONS` of `PERMUTATIONS`."""

MAX_TESTED_FRAMES = 1000
"""Number of frames of a sequence that the permutation test uses, the first ones."""

MIN_SEQUENCES = 5
"""With fewer sequences, each is cut into blocks, so that a validation split can have whole blocks."""

TARGET_BLOCKS = 12
"""Number of blocks that all sequences together are cut into. Two of them are about the 15 % used for validation."""

MIN_BLOCK_FRAMES = 4

MIN_TILE_SPACING = 16
"""Two numbers in a name are tile coordinates only if all are multiples of at least this many pixels."""

MIN_TILE_FRACTION = 0.8
"""Fraction of the names that must match a tile pattern."""

_FRAME = re.compile(r"(.*?)(\d+)(\D*)")

_GRID = re.compile(r"(.+?)[_.-](\d+)[_.-](\d+)")

_TILES = (
    re.compile(r"(.+?)[ _.-]?(?:x|col|c)[_=-]?(\d+)[ _.,-]*(?:y|row|r)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-]?(?:y|row|r)[_=-]?(\d+)[ _.,-]*(?:x|col|c)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-](?:tile|patch|crop)[ _.-]?(\d+)(?:[ _.x-](\d+))?", re.IGNORECASE),
    _GRID,
)


def assign_groups(data: DatasetIndex, progress: Progress = no_progress) -> DatasetIndex:
    """Find the groups of the train split. Reads each of its images, unless groups are known already.

    Images in shards are not read: `pack` has grouped them. An unreadable image is in no group.

    Args:
        data: the data set. It is returned as is if its groups have been searched for.
        progress: see `Progress`.

    Returns:
        The data set with `group_summary` and the groups of its train records.
    """
    if data.group_summary is not None:
        return data
    if any(record.group for record in data.train) or all(isinstance(record.image, TarMember) for record in data.train):
        return add_groups(data)
    images = (record.image for record in data.train)
    stats = [*progress(prefetch_map(_thumbnail_and_digest, images), len(data.train))]
    thumbnails = np.frombuffer(b"".join(thumbnail for thumbnail, _ in stats), np.uint8).reshape(-1, 64)
    return add_groups(data, thumbnails, [digest for _, digest in stats])


def _thumbnail_and_digest(image: BytesSource) -> tuple[bytes, bytes]:
    try:
        stats = image_stats(image)
    except DataError:
        return bytes(64), b""
    return stats.thumbnail, stats.digest


def add_groups(data: DatasetIndex, thumbnails: np.ndarray | None = None, digests: Sequence[bytes] = ()) -> DatasetIndex:
    """Add groups to the train split. Groups that the data set names itself are kept.

    Args:
        data: the data set.
        thumbnails: (N, 64) uint8, a gray thumbnail of each train image. None does not search for groups.
        digests: N content digests. Images with equal digests are in one group, except digests of zeros or b"".

    Returns:
        The data set with `group_summary` and the groups of its train records.
    """
    named = {record.group for record in data.train} - {None}
    if named or thumbnails is None:
        return replace(data, group_summary=f"{len(named)} groups, as the data set names them" if named else "")
    root = f"{data.root}/"
    names = [str(record.image).rpartition(".")[0].removeprefix(root) for record in data.train]
    groups, summary = find_groups(names, thumbnails)
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        original = first.setdefault(digest, index) if any(digest) else index
        if original != index:
            groups[original] = groups[original] or f"copies of {names[original]}"
            groups[index] = groups[original]
    train = tuple(replace(record, group=group) for record, group in zip(data.train, groups, strict=True))
    return replace(data, train=train, group_summary=summary)


def find_groups(names: Sequence[str], thumbnails: np.ndarray) -> tuple[list[str | None], str]:
    """Find tiles and video frames.

    Tiles are recognized by their names ("slide7_x0_y512"). Frames are recognized by names that end in a running number
    ("seq1_0001") and by thumbnails that differ less between consecutive numbers than in random order. Numbered images
    of unrelated scenes fail this test. Few sequences are cut into blocks of consecutive frames, at the greatest
    changes.

    Args:
        names: N paths without suffixes. Frames of one sequence have the same folder.
        thumbnails: (N, 64) uint8, gray thumbnails.

    Returns:
        The group of each image, or None if it is in none; and the reason, or "" without groups.

    >>> find_groups(["a_tile_1", "a_tile_2", "b_tile_1", "b_tile_2"], np.zeros((4, 64), np.uint8))
    (['a', 'a', 'b', 'b'], 'tiles: of 2 images')
    """
    tiles = _tile_groups(names)
    if tiles is not None:
        return tiles, f"tiles: of {len(set(tiles) - {None})} images"
    sequences = _find_sequences(names, thumbnails)
    if not sequences:
        return [None] * len(names), ""
    groups: list[str | None] = [None] * len(names)
    total, block_count = sum(map(len, sequences.values())), 0
    for key, frames in sequences.items():
        blocks = [frames]
        if len(sequences) < MIN_SEQUENCES:
            blocks = _cut_into_blocks(frames, thumbnails, round(len(frames) / total * TARGET_BLOCKS))
        block_count += len(blocks)
        for number, block in enumerate(blocks, start=1):
            for index in block:
                groups[index] = key if len(blocks) == 1 else f"{key} part {number}"
    reason = f"video frames: {len(sequences)} sequence{'s' * (len(sequences) != 1)}"
    return groups, reason if block_count == len(sequences) else f"{reason}, cut into {block_count} blocks"


def _tile_groups(names: Sequence[str]) -> list[str | None] | None:
    """Return the image that each name is a tile of. None if most names are not tiles, or all are of one image."""
    for pattern in _TILES:
        matches = [pattern.fullmatch(name) for name in names]
        if sum(match is not None for match in matches) < MIN_TILE_FRACTION * len(names):
            continue
        coordinates = [int(match[number]) for match in matches if match for number in (2, 3) if match[number]]
        if pattern is _GRID and np.gcd.reduce(coordinates) < MIN_TILE_SPACING:
            continue
        groups = [None if match is None else match[1] for match in matches]
        if 2 <= len(set(groups) - {None}) <= len(names) / 2:
            return groups
    return None


def _find_sequences(names: Sequence[str], thumbnails: np.ndarray) -> dict[str, list[int]]:
    """Return sequence name → image indices in order, for numbered names whose images are a video."""
    numbered: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        if match := _FRAME.fullmatch(name):
            numbered.setdefault((match[1], match[3]), []).append((int(match[2]), index))
    sequences: dict[str, list[int]] = {}
    for (before, after), frames in numbered.items():
        indices = [index for _, index in sorted(frames)]
        if len(indices) >= MIN_FRAMES and _is_video(thumbnails[indices]):
            name = f"{before.rstrip(' _.-/') or 'frames'}{after}"
            sequences[name if name not in sequences else f"{before}{after}"] = indices
    return sequences


def _is_video(thumbnails: np.ndarray) -> bool:
    """Return True if consecutive thumbnails are more similar than in random order (a permutation test)."""
    frames = thumbnails[:MAX_TESTED_FRAMES].astype(np.int16)
    step = _differences(frames).mean()
    generator = np.random.default_rng(0)
    shuffled = np.array([_differences(frames[generator.permutation(len(frames))]).mean() for _ in range(PERMUTATIONS)])
    better = (shuffled <= step).sum()
    return bool(step < MAX_STEP_RATIO * shuffled.mean() and better <= MAX_BETTER_PERMUTATIONS)


def _differences(frames: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of each frame to the previous one, in gray values."""
    return np.abs(np.diff(frames, axis=0)).mean(1)


def _cut_into_blocks(frames: list[int], thumbnails: np.ndarray, count: int) -> list[list[int]]:
    """Cut a sequence into about `count` blocks of similar length, each time at the greatest change nearby."""
    count = max(1, min(count, len(frames) // MIN_BLOCK_FRAMES))
    differences = _differences(thumbnails[frames].astype(np.int16))
    length = len(frames) / count
    cuts = [0]
    for number in range(1, count):
        low, high = round((number - 0.25) * length), round((number + 0.25) * length)
        low = max(low, cuts[-1] + 1)
        cuts.append(low + int(differences[low - 1 : max(high, low)].argmax()))
    return [frames[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(frames)], strict=True)]
