"""Images that are crops of other images are near-duplicates."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.crops import find_crops, resample
from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE, edge_pattern, find_near_duplicates


def picture(seed: int) -> Image.Image:
    """Return an image with coarse and fine structures, 192 x 160 pixels."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Image.fromarray(rng.integers(0, 256, side).astype(np.uint8)).resize((192, 160), Image.Resampling.BICUBIC)
        for side in ((6, 7), (13, 16))
    )
    return Image.blend(coarse, fine, 0.4)


PICTURES = [picture(seed) for seed in range(12)]


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BOX)).ravel() for image in images])


def cropped(fraction: float) -> list[Image.Image]:
    """Return the pictures without a fraction of their width and height, at different sides."""
    crops = []
    for number, image in enumerate(PICTURES):
        x, y = (
            fraction * side * share
            for side, share in zip(image.size, ((number % 3) / 2, (number % 5) / 4), strict=True)
        )
        box = (x, y, x + image.width * (1 - fraction), y + image.height * (1 - fraction))
        crops.append(image.crop(tuple(map(round, box))))  # type: ignore[arg-type]
    return crops


@pytest.mark.parametrize("fraction", [0.03, 0.06, 0.1])
@pytest.mark.parametrize("is_first", [True, False])
def test_crops_are_near_duplicates(fraction: float, is_first: bool) -> None:
    sets = thumbnails(cropped(fraction)), thumbnails(PICTURES)
    found = find_near_duplicates(*(sets if is_first else sets[::-1]))
    assert {index: match for index, (match, _) in found.matches.items()} == {index: index for index in range(12)}


def test_unrelated_pictures_are_none() -> None:
    others = thumbnails([picture(1000 + seed) for seed in range(40)])
    assert find_near_duplicates(thumbnails(PICTURES), others).matches == {}


def test_pictures_with_a_common_half_are_none() -> None:
    halves = [image.copy() for image in PICTURES]
    for number, image in enumerate(halves):
        image.paste(picture(2000 + number).crop((0, 0, 96, 160)), (0, 0))
    assert find_near_duplicates(thumbnails(halves), thumbnails(PICTURES)).matches == {}


def test_too_many_pairs_are_sampled() -> None:
    first, second = (
        each.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE) for each in (thumbnails(cropped(0.05)), thumbnails(PICTURES))
    )
    every = find_crops(first, second, edge_pattern, 10**9)
    assert list(every) == list(range(12))
    assert list(find_crops(first, second, edge_pattern, 2 * 27 * 12 * 4)) == [0, 3, 6, 9]
    assert find_crops(first[:0], second, edge_pattern, 10**9) == {}


def test_resampling_averages_over_areas() -> None:
    pixels = np.arange(36.0).reshape(1, 6, 6)
    assert resample(pixels, 6)[0].tolist() == pixels[0].tolist()
    assert resample(pixels, 1)[0, 0, 0] == pytest.approx(pixels.mean())
    assert resample(pixels, 1, (0, 0, 0.25, 1 / 6))[0, 0, 0] == pytest.approx((0 + 0.5 * 1) / 1.5)
