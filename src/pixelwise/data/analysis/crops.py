"""Search for images that are crops of other images, on small thumbnails.

Regions of one thumbnail are compared with the whole other thumbnail: first a fixed grid of regions at a low resolution,
then, for the pairs that may match, regions near the best one at a higher resolution.
"""

from collections.abc import Callable, Iterator

import numpy as np

SEARCH_SIDE = 10
"""Side to which regions are reduced in the first search, in pixels. A larger side would need more regions."""

REFINED_SIDE = 16
"""Side to which regions are reduced in the second search, in pixels."""

SCALES = (0.96, 0.91, 0.85)
"""Sides of the regions of the first search, relative to those of the image."""

OFFSETS = (0.0, 0.5, 1.0)
"""Positions of a region along each axis: at the start, in the middle and at the end of the image."""

MIN_SCALE = 0.75
"""Smallest side of a region in the second search, relative to the image. Smaller crops are not found."""

MIN_SEARCH_SIMILARITY = 0.85
"""Smallest similarity in the first search. Pairs below it are not compared in the second search."""

MIN_CROP_SIMILARITY = 0.93
"""Smallest similarity of a crop in the second search (docs/decisions.md)."""

_STEPS = (0.03, 0.015, 0.008)
"""Steps by which the second search moves each side of a region, relative to the image."""

_PAIRS_PER_BLOCK = 1 << 22
"""Number of pairs whose similarities are computed at a time, to limit memory."""

Box = tuple[float, float, float, float]
"""Left, upper, right and lower side of a region, as fractions of the width and height of the image, in [0, 1]."""

Pattern = Callable[[np.ndarray], np.ndarray]
"""(N, side, side) thumbnails → (N, D) vectors of length 1 whose scalar product is the similarity."""


def resample(thumbnails: np.ndarray, side: int, box: Box = (0.0, 0.0, 1.0, 1.0)) -> np.ndarray:
    """Reduce a region of thumbnails by averaging over areas.

    Args:
        thumbnails: (N, S, S) gray values of any dtype.
        side: side of the result in pixels.
        box: the region.

    Returns:
        (N, side, side) float32.

    >>> resample(np.arange(16.0).reshape(1, 4, 4), 2).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    left, top, right, bottom = box
    rows = _area_weights(thumbnails.shape[1], side, top, bottom)
    columns = _area_weights(thumbnails.shape[2], side, left, right)
    return rows @ thumbnails.astype(np.float32) @ columns.T


def _area_weights(size: int, side: int, start: float, end: float) -> np.ndarray:
    """Return (side, size) float32: the weight of each old pixel in each new pixel. The sum of each row is 1."""
    edges = np.linspace(start * size, end * size, side + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def search_boxes() -> Iterator[Box]:
    """Yield the regions of the first search."""
    for scale in SCALES:
        for x in OFFSETS:
            for y in OFFSETS:
                left, top = x * (1 - scale), y * (1 - scale)
                yield left, top, left + scale, top + scale


def search_step(count: int, other_count: int, max_comparisons: int) -> int:
    """Return the step k with which `find_crops` compares only every k-th image of its first set.

    Args:
        count: number of images of the first set.
        other_count: number of images of the second set.
        max_comparisons: see `find_crops`.
    """
    return max(1, -(-2 * len(list(search_boxes())) * count * other_count // max_comparisons))


def find_crops(
    thumbnails: np.ndarray, others: np.ndarray, pattern: Pattern, max_comparisons: int
) -> dict[int, tuple[int, float]]:
    """Find the images of a first set of which an image of a second set is a crop, or the reverse.

    Args:
        thumbnails: (N, S, S) uint8, the first set. If there are too many pairs for `max_comparisons`, only every k-th
            of these images is compared.
        others: (M, S, S) uint8, the second set.
        pattern: see `Pattern`.
        max_comparisons: maximum number of comparisons of a region with an image.

    Returns:
        Index in the first set → (index in the second set, similarity in [`MIN_CROP_SIMILARITY`, 1]).
    """
    boxes = list(search_boxes())
    chosen = np.arange(0, len(thumbnails), search_step(len(thumbnails), len(others), max_comparisons))
    if not len(chosen) or not len(others):
        return {}
    found = {}
    first, second = thumbnails[chosen], others
    best = np.full(len(first), -1.0, np.float32)
    best_other, best_box = np.zeros(len(first), int), np.zeros(len(first), int)
    whole = tuple(pattern(resample(each, SEARCH_SIDE)) for each in (first, second))
    for number, box in enumerate(boxes):
        regions = tuple(pattern(resample(each, SEARCH_SIDE, box)) for each in (first, second))
        for is_second, (ours, theirs) in enumerate(((regions[0], whole[1]), (whole[0], regions[1]))):
            values, indices = _best(ours, theirs)
            better = values > best
            best[better], best_other[better] = values[better], indices[better]
            best_box[better] = 2 * number + is_second
    for row in np.flatnonzero(best >= MIN_SEARCH_SIMILARITY).tolist():
        number, is_second = divmod(int(best_box[row]), 2)
        pair = first[row], second[best_other[row]]
        outer, inner = (pair[1], pair[0]) if is_second else pair
        similarity = _refine(outer, inner, boxes[number], pattern)
        if similarity >= MIN_CROP_SIMILARITY:
            found[int(chosen[row])] = int(best_other[row]), min(similarity, 1.0)
    return found


def _best(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pattern of `ours` the greatest similarity to one of `theirs`, and the index of that one."""
    values, indices = np.empty(len(ours), np.float32), np.empty(len(ours), int)
    block = max(1, _PAIRS_PER_BLOCK // len(theirs))
    for start in range(0, len(ours), block):
        part = slice(start, start + block)
        similarity = ours[part] @ theirs.T
        indices[part] = similarity.argmax(1)
        values[part] = similarity[np.arange(len(similarity)), indices[part]]
    return values, indices


def _refine(outer: np.ndarray, inner: np.ndarray, box: Box, pattern: Pattern) -> float:
    """Move the sides of a region of the outer thumbnail until it is most similar to the inner one.

    Returns:
        The similarity at a resolution of `REFINED_SIDE` pixels.
    """
    target = pattern(resample(inner[None], REFINED_SIDE))[0]

    def similarity(boxes: list[Box]) -> np.ndarray:
        regions = np.concatenate([resample(outer[None], REFINED_SIDE, each) for each in boxes])
        return pattern(regions) @ target

    best = float(similarity([box])[0])
    for step in _STEPS:
        while True:
            neighbors = list(_neighbors(box, step))
            values = similarity(neighbors)
            index = int(values.argmax())
            if values[index] <= best + 1e-4:
                break
            best, box = float(values[index]), neighbors[index]
    return best


def _neighbors(box: Box, step: float) -> Iterator[Box]:
    """Yield the regions with one side moved by a step, or all moved in one direction, that are inside the image."""
    shifts = [
        (0, 0, step, 0),
        (0, 0, 0, step),
        (step, 0, 0, 0),
        (0, step, 0, 0),
        (step, 0, step, 0),
        (0, step, 0, step),
    ]
    for shift in shifts:
        for sign in (-1, 1):
            left, top, right, bottom = (
                min(max(side + sign * move, 0.0), 1.0) for side, move in zip(box, shift, strict=True)
            )
            if right - left >= MIN_SCALE and bottom - top >= MIN_SCALE:
                yield left, top, right, bottom
