"""The symmetries of drawn data sets: seen from above, with an up, in layers, and too few images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import pixelwise as pw
from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.analysis.moments import brightness_moments, region_moments
from pixelwise.data.analysis.symmetry import MAX_SAMPLED, ImageSymmetry, find_symmetry, join_symmetries

SIDE = 48
Scene = Callable[[np.random.Generator, ImageDraw.ImageDraw], None]


def cells(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    for _ in range(rng.integers(3, 12)):
        x, y, radius = *rng.uniform(0, SIDE, 2), rng.uniform(2, 6)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def fields_from_above(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    for value in rng.integers(1, 4, 6).tolist():
        x, y, angle = *rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi)
        corners = angle + np.array([0.5, np.pi - 0.5, np.pi + 0.5, -0.5])
        draw.polygon([(x + 14 * np.cos(a), y + 14 * np.sin(a)) for a in corners], fill=value)
    if rng.random() < 0.5:
        draw.line([tuple(rng.uniform(0, SIDE, 2)), tuple(rng.uniform(0, SIDE, 2))], fill=4, width=2)


def street(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    horizon = rng.uniform(0.3, 0.7) * SIDE
    draw.rectangle((0, horizon, SIDE, SIDE), fill=1)
    cells(rng, draw)


def animal(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """Draw a body that is in the lower part of most images, with ears. Only the mask has an up."""
    x, y = rng.uniform(0.2, 0.8) * SIDE, rng.uniform(0.35, 0.9) * SIDE
    draw.ellipse((x - 12, y - 10, x + 12, y + 10), fill=1)


def layers(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    for y in rng.uniform(0, SIDE, 3):
        draw.rectangle((0, y - 3, SIDE, y + 3), fill=1)


def symmetry_of(scene: Scene, count: int, seed: int = 0, aspect: float = 1.0) -> ImageSymmetry:
    rng, moments = np.random.default_rng(seed), []
    for _ in range(count):
        image = Image.new("L", (SIDE, SIDE))
        scene(rng, ImageDraw.Draw(image))
        mask = np.array(image)
        tones = rng.integers(20, 235, 5)
        thumbnail = Image.fromarray(tones[mask].astype(np.uint8)).resize((THUMBNAIL_SIDE,) * 2, Image.Resampling.BOX)
        by_class = region_moments(mask, range(5))
        moments.append(np.concatenate([by_class, brightness_moments(np.array(thumbnail).reshape(1, -1))]))
    return find_symmetry(np.array(moments), [*"abcde", "brightness"], aspect)


@pytest.mark.parametrize("scene", [cells, fields_from_above])
@pytest.mark.parametrize("seed", range(3))
def test_images_from_above_have_no_up(scene: Scene, seed: int) -> None:
    found = symmetry_of(scene, 150, seed)
    assert not found.has_up and found.allows_quarter_turns, found


@pytest.mark.parametrize("scene", [street, animal])
@pytest.mark.parametrize("count", [10, 40, 150])
def test_scenes_have_an_up_however_few_images_there_are(scene: Scene, count: int) -> None:
    found = symmetry_of(scene, count)
    assert found.has_up and not found.allows_quarter_turns, found


def test_the_class_with_the_greatest_asymmetry_is_named() -> None:
    assert symmetry_of(street, 100).strongest in ("a", "b")


def test_few_images_count_as_having_an_up() -> None:
    assert symmetry_of(cells, 10).has_up and symmetry_of(fields_from_above, 12).has_up


def test_layers_may_be_flipped_and_not_turned() -> None:
    found = symmetry_of(layers, 200)
    assert not found.has_up and not found.allows_quarter_turns and found.diagonal > 0.3, found


def test_long_images_are_not_turned() -> None:
    found = symmetry_of(cells, 150, aspect=1.6)
    assert not found.has_up and not found.allows_quarter_turns


def test_moments_change_their_sign_with_the_image() -> None:
    rng = np.random.default_rng(0)
    mask, gray = rng.integers(0, 3, (20, 20)), rng.integers(0, 255, (1, THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    changes = {
        0: (mask[::-1], gray[:, ::-1]),
        1: (mask[:, ::-1], gray[:, :, ::-1]),
        2: (mask.T, gray.transpose(0, 2, 1)),
    }
    regions, brightness = region_moments(mask, range(3)), brightness_moments(gray)
    for kind, (new_mask, new_gray) in changes.items():
        assert np.allclose(region_moments(new_mask, range(3))[:, kind], -regions[:, kind], atol=1e-6)
        assert np.allclose(brightness_moments(np.ascontiguousarray(new_gray))[:, kind], -brightness[:, kind])
    assert np.abs(regions).min() > 1e-5 and np.abs(brightness).min() > 1e-5


def test_very_many_images_are_sampled() -> None:
    moments = np.random.default_rng(0).normal(size=(3 * MAX_SAMPLED, 2, 3))
    assert find_symmetry(moments, ["a", "brightness"], 1.0).count == MAX_SAMPLED


def test_joined_data_sets_have_the_greatest_asymmetries() -> None:
    above, upright = symmetry_of(cells, 150), symmetry_of(street, 40)
    joined = join_symmetries([above, upright])
    assert joined is not None and joined.has_up and joined.count == 190
    assert (joined.strongest, joined.upper_vertical) == (upright.strongest, upright.upper_vertical)
    assert join_symmetries([above, None]) is None


@pytest.mark.parametrize("has_up", [True, False])
def test_inspect_measures_it_without_the_test_split(tmp_path: Path, has_up: bool) -> None:
    """The images of the test split are upside down, and have no influence."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 120), ("test", 40)):
        for number in range(count):
            image = Image.new("L", (SIDE, SIDE))
            (street if has_up else fields_from_above)(rng, ImageDraw.Draw(image))
            mask = np.array(image)[:: -1 if split == "test" else 1]
            for folder, pixels in (
                ("images", np.repeat(mask[:, :, None] * 40 + rng.integers(90), 3, 2)),
                ("masks", mask),
            ):
                path = tmp_path / split / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path, compress_level=1)
    found = pw.inspect(tmp_path).symmetry
    assert found is not None and found.count == 120
    assert found.has_up == has_up
