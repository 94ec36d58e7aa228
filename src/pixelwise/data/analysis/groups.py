"""Groups of images that must stay in one split: frames of one video, tiles of one image, copies."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE, find_copies
from pixelwise.data.analysis.large_image import thumbnail_and_digest
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.tar_shard import TarMember
from pixelwise.data.schema import BytesSource, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

MIN_FRAMES = 8
"""Minimum number of frames of a video. In a shorter sequence, consecutive frames could be similar by chance."""

MAX_STEP_RATIO = 0.75
"""In a video, the mean difference of consecutive frames is less than this fraction of that in random order."""

PERMUTATIONS = 200
MAX_BETTER_PERMUTATIONS = 2
"""Permutation test: consecutive frames must be more similar than in all random orders except at most
`MAX_BETTER_PERMUTATIONS` of `PERMUTATIONS`."""

MAX_TESTED_FRAMES = 1000
"""Maximum number of frames in a permutation test. If a sequence is longer, the test uses its first frames."""

MIN_SEQUENCES = 5
"""If there are fewer sequences, each one is cut into blocks, and the validation split consists of whole blocks."""

TARGET_BLOCKS = 12
"""Approximate number of blocks of all sequences together. Two of 12 blocks are about the 15 % used for validation."""

MIN_BLOCK_FRAMES = 4
"""Minimum number of frames per block, on average over a sequence."""

MIN_TILE_SPACING = 16
"""Minimum common divisor, in pixels, of all numbers in names like "slide_512_1024", if they are tile coordinates."""

MIN_TILE_FRACTION = 0.8
"""Fraction of the names that must match a tile pattern."""

_VIDEO_SIDE = 8
"""Side of the thumbnails that the video test compares, in pixels. Finer ones show the noise of the camera."""

_FRAME = re.compile(r"(.*?)(\d+)(\D*)")

_GRID = re.compile(r"(.+?)[_.-](\d+)[_.-](\d+)")

_TILES = (
    re.compile(r"(.+?)[ _.-]?(?:x|col|c)[_=-]?(\d+)[ _.,-]*(?:y|row|r)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-]?(?:y|row|r)[_=-]?(\d+)[ _.,-]*(?:x|col|c)[_=-]?(\d+)", re.IGNORECASE),
    re.compile(r"(.+?)[ _.-](?:tile|patch|crop)[ _.-]?(\d+)(?:[ _.x-](\d+))?", re.IGNORECASE),
    _GRID,
)


def assign_groups(data: DatasetIndex, progress: Progress = no_progress) -> DatasetIndex:
    """Find the groups of the train split.

    This reads all images of the split, unless the data set names its groups or the images are in shards. `pack` has
    grouped images in shards before. An unreadable image is in no group.

    Args:
        data: the data set. If its `group_summary` is not None, it is returned unchanged. Of joined data sets, only
            those without a val split get groups.
        progress: see `Progress`.

    Returns:
        The data set with `group_summary` and the groups of its train records.
    """
    if data.group_summary is not None:
        return data
    if data.sets:
        return _assign_by_set(data, progress)
    if any(record.group for record in data.train) or all(isinstance(record.image, TarMember) for record in data.train):
        return add_groups(data)
    images = (record.image for record in data.train)
    stats = [*progress(prefetch_map(_thumbnail_and_digest, images), len(data.train))]
    thumbnails = np.frombuffer(b"".join(thumbnail for thumbnail, _ in stats), np.uint8)
    return add_groups(data, thumbnails.reshape(len(stats), -1), [digest for _, digest in stats])


def _assign_by_set(data: DatasetIndex, progress: Progress) -> DatasetIndex:
    """Find the groups of each of the joined data sets that has no val split."""
    train: list[Record] = []
    summaries: list[str] = []
    for number, (records, val) in enumerate(data.records_by_set("train", "val")):
        if records and not val:
            part = assign_groups(replace(data, train=records, val=(), test=(), sets=()), progress)
            names = (None if record.group is None else f"{number}: {record.group}" for record in part.train)
            records = tuple(replace(record, group=name) for record, name in zip(part.train, names, strict=True))
            summaries += [part.group_summary] if part.group_summary else []
        train += records
    return replace(data, train=tuple(train), group_summary="; ".join(summaries))


def _thumbnail_and_digest(image: BytesSource) -> tuple[bytes, bytes]:
    try:
        return thumbnail_and_digest(image)
    except DataError:
        return bytes(THUMBNAIL_SIDE**2), bytes(16)


def add_groups(data: DatasetIndex, thumbnails: np.ndarray | None = None, digests: Sequence[bytes] = ()) -> DatasetIndex:
    """Add groups to the train split. If the data set names groups, they are used instead.

    Args:
        data: the data set.
        thumbnails: a gray thumbnail of each train image, see `find_groups`. If None, groups are not searched for.
        digests: a 16-byte content digest of each train image. Images with equal digests get the same group. A digest of
            zeros stands for an unreadable image.

    Returns:
        The data set with `group_summary` and the groups of its train records.
    """
    named = {record.group for record in data.train} - {None}
    if named or thumbnails is None:
        return replace(data, group_summary=f"{len(named)} groups, as the data set names them" if named else "")
    root = f"{data.root}/"
    names = [str(record.image).rpartition(".")[0].removeprefix(root) for record in data.train]
    groups, summary = find_groups(names, thumbnails)
    for index, original in find_copies(np.frombuffer(b"".join(digests), "V16")).items():
        groups[original] = groups[original] or f"copies of {names[original]}"
        groups[index] = groups[original]
    train = tuple(replace(record, group=group) for record, group in zip(data.train, groups, strict=True))
    return replace(data, train=train, group_summary=summary)


def find_groups(names: Sequence[str], thumbnails: np.ndarray) -> tuple[list[str | None], str]:
    """Find groups of tiles or video frames.

    Tiles are recognized by their names ("slide7_x0_y512"). Video frames are recognized by names with a running number
    ("seq1_0001") and by their thumbnails, which differ less between consecutive numbers than in random order. Numbered
    images of unrelated scenes fail this test. If there are fewer than `MIN_SEQUENCES` sequences, they are cut into
    blocks of consecutive frames, at large changes between two frames.

    Args:
        names: N paths without suffixes. Frames of one sequence have the same folder.
        thumbnails: (N, side²) uint8, square gray thumbnails of `_VIDEO_SIDE` pixels a side, or a multiple of it.

    Returns:
        The group of each image (None if it has no group), and a summary for the user ("" if there are no groups).

    >>> find_groups(["a_tile_1", "a_tile_2", "b_tile_1", "b_tile_2"], np.zeros((4, 64), np.uint8))
    (['a', 'a', 'b', 'b'], 'tiles: of 2 images')
    """
    if not names:
        return [], ""
    thumbnails = _reduce_thumbnails(thumbnails)
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


def _reduce_thumbnails(thumbnails: np.ndarray) -> np.ndarray:
    """Reduce (N, side²) uint8 thumbnails to `_VIDEO_SIDE` pixels a side by averaging blocks of pixels."""
    block = math.isqrt(thumbnails.shape[1]) // _VIDEO_SIDE
    blocks = thumbnails.reshape(-1, _VIDEO_SIDE, block, _VIDEO_SIDE, block)
    return blocks.mean((2, 4)).round().astype(np.uint8).reshape(-1, _VIDEO_SIDE**2)


def _tile_groups(names: Sequence[str]) -> list[str | None] | None:
    """Return the name of the image that each tile belongs to. Return None if the names are not those of tiles.

    At least `MIN_TILE_FRACTION` of the names must match a pattern. There must be at least two images, with at least two
    names per image on average.
    """
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
    """Return sequence name → image indices in order, for the numbered sequences that are videos."""
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
    """Return the mean absolute difference between each frame and the previous one in gray values, (N - 1,)."""
    return np.abs(np.diff(frames, axis=0)).mean(1)


def _cut_into_blocks(frames: list[int], thumbnails: np.ndarray, count: int) -> list[list[int]]:
    """Cut a sequence into at most `count` blocks of similar length. Each cut is at the greatest change in its range."""
    count = max(1, min(count, len(frames) // MIN_BLOCK_FRAMES))
    differences = _differences(thumbnails[frames].astype(np.int16))
    length = len(frames) / count
    cuts = [0]
    for number in range(1, count):
        low, high = round((number - 0.25) * length), round((number + 0.25) * length)
        low = max(low, cuts[-1] + 1)
        cuts.append(low + int(differences[low - 1 : max(high, low)].argmax()))
    return [frames[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(frames)], strict=True)]
