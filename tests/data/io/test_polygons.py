"""Polygons are clipped to the image before pycocotools draws them."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from pixelwise.data.io.polygons import MARGIN, MAX_OUTLINE, clip_polygons
from pixelwise.data.io.rasterize import rasterize
from pixelwise.data.schema import Annotation, PolygonMask
from pixelwise.errors import AnnotationError, DataError

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def drawn(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels that pycocotools draws, (H, W) uint8."""
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects([points.ravel().tolist()], *size))))


def test_polygons_within_the_margin_are_unchanged() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        points = random.uniform(-MARGIN, (40 + MARGIN, 30 + MARGIN), (9, 2))
        (clipped,) = clip_polygons([points], (30, 40))
        assert clipped is points


def test_clipping_changes_no_pixels_but_those_on_outlines() -> None:
    random = np.random.default_rng(1)
    size, differing = (30, 40), 0
    for _ in range(200):
        points = random.uniform((-260, -250), (300, 280), (random.integers(3, 12), 2))
        clipped = clip_polygons([points], size)
        mask = drawn(clipped[0], size) if clipped else np.zeros(size, np.uint8)
        difference = mask != drawn(points, size)
        differing += int(difference.sum())
        for polygon in clipped:
            assert polygon.min() >= -MARGIN and (polygon.max(0) <= (40 + MARGIN, 30 + MARGIN)).all()
    # Cut outlines start at other points, which pycocotools rounds to a fifth of a pixel.
    assert differing / (200 * size[0] * size[1]) < 0.0005


def test_a_polygon_around_the_image_covers_it_and_one_beside_it_vanishes() -> None:
    around = np.array([[-9e4, -9e4], [9e4, -9e4], [9e4, 9e4], [-9e4, 9e4]])
    mask = PolygonMask((Annotation(1, (around,)), Annotation(2, (around + 1e5,))), "x")
    assert (rasterize(mask, (6, 8)) == 1).all()


@pytest.mark.parametrize("relative", [False, True])
def test_outlines_far_outside_are_short_when_pycocotools_gets_them(
    relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, lengths = (48, 64), []
    real = coco.frPyObjects

    def measure(polygons: list[list[float]], *of_image: int) -> Any:
        for polygon in polygons:
            points = np.reshape(polygon, (-1, 2))
            lengths.append(np.abs(np.diff(points, axis=0)).max(1).sum())
        return real(polygons, *of_image)

    monkeypatch.setattr(coco, "frPyObjects", measure)
    x = np.where(np.arange(2000) % 2, -99999.0, 99999.0)
    points = np.stack([x, np.arange(2000.0) % 48], axis=1) / ((64, 48) if relative else (1, 1))
    rasterize(PolygonMask((Annotation(1, (points,), relative=relative),), "x"), size)
    assert len(lengths) == 1 and 0 < lengths[0] < 2100 * (64 + 2 * MARGIN)  # 400 million pixels if it is not clipped


def test_a_longer_outline_than_the_maximum_raises_and_names_the_mask() -> None:
    size = (2000, 3000)
    corner = np.array([[0.0, 0.0], [3000.0, 2000.0]])
    points = np.tile(corner, (MAX_OUTLINE // 3000 // 2 + 1, 1))
    with pytest.raises(AnnotationError, match=r"is 4,00\d,\d{3} pixels long, more than the maximum of 4,000,000"):
        clip_polygons([points], size)
    with pytest.raises(DataError, match=r"^labels\.txt: a polygon of 1,334 points"):
        rasterize(PolygonMask((Annotation(1, (points,)),), "labels.txt"), size)
