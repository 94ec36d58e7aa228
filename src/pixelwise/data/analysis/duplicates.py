"""Copies of images, found by their decoded pixels, and near-duplicates, found by a perceptual hash.

Copies have the same pixels and can have different file formats, for example PNG and TIFF. A near-duplicate is an image
that was resized, saved again with loss, changed in brightness or cropped (see `crops`), or the next frame of a video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.analysis.crops import find_crops, resample, search_step
from pixelwise.data.schema import DataIssue, Split

THUMBNAIL_SIDE = 24
"""Side of the gray thumbnails that are stored, in pixels."""

PATTERN_SIDE = 16
"""Side to which thumbnails are reduced before they are compared, in pixels."""

MIN_SIMILARITY = 0.95
"""Smallest similarity of near-duplicates (docs/decisions.md)."""

MIN_CONTRAST = 2.0
"""Smallest contrast of compared images: the root mean square difference of neighboring thumbnail pixels, in gray values
from 0 to 255. Images with less contrast are nearly blank, and the differences of their pixels are noise."""

MAX_COMPARISONS = 2_000_000_000
"""Maximum number of image pairs that are compared. They take about half a minute. In the search for crops, each pair
counts once for each of the regions that are compared."""

_PAIRS_PER_BLOCK = 1 << 23
"""Number of pairs whose similarities are computed at a time, to limit memory."""


def edge_pattern(thumbnails: np.ndarray) -> np.ndarray:
    """Return a perceptual hash of images: the differences of neighboring thumbnail pixels, with unit length.

    It is a dHash (Krawetz 2013) that keeps the size of each difference, not only its sign. It does not depend on
    brightness and contrast.

    Args:
        thumbnails: (N, side, side), gray thumbnails with values in [0, 255].

    Returns:
        (N, 2 · side · (side − 1)) float32. Each row has length 1, or is zero if the contrast is below `MIN_CONTRAST`.
        The scalar product of two rows is the similarity of their images, in [-1, 1].

    >>> ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    >>> float(edge_pattern(ramp)[0] @ edge_pattern(ramp // 2)[0]) > 0.99
    True
    """
    pixels = thumbnails.astype(np.float32)
    edges = [np.diff(pixels, axis=axis).reshape(len(pixels), -1) for axis in (1, 2)]
    pattern = np.concatenate(edges, axis=1)
    lengths = np.sqrt((pattern**2).sum(1, keepdims=True))
    has_contrast = lengths >= MIN_CONTRAST * np.sqrt(pattern.shape[1])
    return np.where(has_contrast, pattern / np.maximum(lengths, 1), np.float32(0))


@dataclass(frozen=True)
class NearDuplicates:
    """The images of a first set that are nearly equal to an image of a second set.

    Attributes:
        matches: index in the first set → (index of the most similar image in the second set, similarity).
        compared: number of images of the first set that were compared as a whole.
        searched: number of these images that matched as a whole or were searched for crops.
    """

    matches: dict[int, tuple[int, float]]
    compared: int
    searched: int


def find_near_duplicates(thumbnails: np.ndarray, others: np.ndarray) -> NearDuplicates:
    """Find the images of a first set that are nearly equal to an image of a second set.

    Args:
        thumbnails: (N, `THUMBNAIL_SIDE`²) uint8, the first set. If there are more than `MAX_COMPARISONS` pairs, only
            every k-th of these images is compared, with the smallest k that is enough. The search for crops has the
            same maximum, see `find_crops`.
        others: (M, `THUMBNAIL_SIDE`²) uint8, the second set. All of its images are compared.

    Returns:
        The matches with a similarity of at least `MIN_SIMILARITY`, and of the other images those that are crops of an
        image of the second set, or the reverse.
    """
    step = max(1, -(-len(thumbnails) * len(others) // MAX_COMPARISONS))
    indices = np.arange(0, len(thumbnails), step)
    if not len(indices) or not len(others):
        return NearDuplicates({}, 0, 0)
    first, second = (part.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE) for part in (thumbnails[indices], others))
    matches = _best_matches(*(edge_pattern(resample(part, PATTERN_SIDE)) for part in (first, second)))
    rest = np.array([index for index in range(len(indices)) if index not in matches], int)
    searched = len(matches) + len(rest[:: search_step(len(rest), len(others), MAX_COMPARISONS)])
    crops = find_crops(first[rest], second, edge_pattern, MAX_COMPARISONS)
    matches |= {int(rest[row]): match for row, match in crops.items()}
    return NearDuplicates({int(indices[row]): matches[row] for row in sorted(matches)}, len(indices), searched)


def _best_matches(patterns: np.ndarray, others: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return row → (index of the most similar other pattern, similarity), if it is at least `MIN_SIMILARITY`."""
    matches: dict[int, tuple[int, float]] = {}
    block = max(1, _PAIRS_PER_BLOCK // len(others))
    for start in range(0, len(patterns), block):
        similarity = patterns[start : start + block] @ others.T
        best = similarity.argmax(1)
        values = similarity[np.arange(len(similarity)), best]
        for row in np.flatnonzero(values >= MIN_SIMILARITY).tolist():
            matches[start + row] = int(best[row]), float(min(values[row], 1))
    return matches


def find_copies(digests: np.ndarray) -> dict[int, int]:
    """Find the images whose pixels are equal to those of an earlier image.

    Args:
        digests: (N,) hashes of the pixels, of a dtype that can be sorted, for example bytes. A hash of zero bytes marks
            an image that cannot be read. It is never a copy.

    Returns:
        Index of a copy → index of the first image with the same pixels.

    >>> find_copies(np.array([b"a", b"b", b"a", b"a"]))
    {2: 0, 3: 0}
    """
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    originals = first[group.ravel()]
    return {
        index: int(originals[index])
        for index in np.flatnonzero(originals != np.arange(len(digests))).tolist()
        if any(bytes(digests[index]))
    }


def copy_issue(file: str, original: str, split: Split, original_split: Split, masks_differ: bool) -> DataIssue:
    """Return the warning for an image with the same pixels as an earlier one.

    Args:
        file: the copy.
        original: the earlier image.
        split: the split of the copy. If it is not `original_split`, the copy is leakage.
        original_split: the split of the earlier image.
        masks_differ: True if the masks of the two images are not equal.
    """
    same = f"the same image as {original}"
    if split != original_split:
        masks = ", and their masks differ" if masks_differ else ""
        message = f"{same}: it is in {original_split} and in {split}{masks}, so metrics are too high; remove one"
        return DataIssue("leakage", file, message, "warning")
    if masks_differ:
        message = f"{same}, but their masks differ; keep the one with the right mask"
        return DataIssue("copy with another mask", file, message, "warning")
    return DataIssue("copy", file, f"{same}; remove one", "warning")


def near_duplicate_issues(
    thumbnails: np.ndarray, files: Sequence[str], splits: Sequence[Split], copies: frozenset[int]
) -> tuple[list[DataIssue], list[str]]:
    """Compare the images of each split with those of the splits before it, in the order train, val, test.

    Args:
        thumbnails: (N, `THUMBNAIL_SIDE`²) uint8.
        files: the N image files.
        splits: the split of each image.
        copies: indices of images that are already reported as copies. They are not compared.

    Returns:
        (warnings, messages). There is one warning for each near-duplicate, in the order of `files`, and messages for
        each split of which only some images were compared, or searched for crops.
    """
    issues, messages = {}, []
    names = np.array(splits)
    for number, split in enumerate(("val", "test"), start=1):
        later = np.array([index for index in np.flatnonzero(names == split).tolist() if index not in copies], int)
        earlier = np.flatnonzero(np.isin(names, ("train", "val", "test")[:number]))
        found = find_near_duplicates(thumbnails[later], thumbnails[earlier])
        for row, (match, similarity) in found.matches.items():
            index, original = int(later[row]), int(earlier[match])
            message = (
                f"nearly the same image as {files[original]} (similarity {similarity:.3f}): one is in "
                f"{splits[original]} and one in {split}, so metrics are too high; move both to one split"
            )
            issues[index] = DataIssue("near-duplicate", files[index], message, "warning")
        if len(earlier) and found.compared < len(later):
            messages.append(f"near-duplicates: compared {found.compared} of {len(later)} images of the {split} split")
        if found.searched < found.compared:
            messages.append(
                f"near-duplicates: searched {found.searched} of {len(later)} images of the {split} split for crops"
            )
    return [issues[index] for index in sorted(issues)], messages
