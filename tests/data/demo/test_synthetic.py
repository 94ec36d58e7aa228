"""The synthetic data set: official layout, exact masks, reproducible images, and not solvable by color."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.demo import synthetic
from pixelwise.data.demo.synthetic import BACKGROUND, BORDER, KINDS, PET, draw_animal_scene, draw_dataset, scene
from pixelwise.data.demo.synthetic.painter import paint
from pixelwise.errors import DataError

SIZE = (160, 120)
"""Mean (width, height) of the images: half of the default, which is drawn in a quarter of the time."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("synthetic") / "pets", train=40, test=20, seed=3, size=SIZE)


@pytest.fixture(scope="module")
def scenes(root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, HWC uint8, and trimaps, HW uint8, from disk, in drawing order."""
    pairs = []
    for number in range(1, 13):
        for kind in KINDS:
            image = Image.open(root / "images" / f"{kind}_{number}.jpg")
            trimap = Image.open(root / "annotations" / "trimaps" / f"{kind}_{number}.png")
            assert (image.format, image.mode, trimap.mode) == ("JPEG", "RGB", "L")
            pairs.append((np.asarray(image), np.asarray(trimap)))
    return pairs


def test_lists_have_the_official_format(root: Path) -> None:
    lists = {
        name: (root / "annotations" / f"{name}.txt").read_text().splitlines() for name in ("trainval", "test", "list")
    }
    assert [len(lists[name]) for name in ("trainval", "test", "list")] == [40, 20, 60]
    assert sorted(lists["trainval"] + lists["test"]) == lists["list"]
    assert lists["list"][0] == "Bird_1 3 3 1"
    names = {line.split()[0] for line in lists["list"]}
    assert names == {path.stem for path in (root / "images").glob("*.jpg")}
    assert names == {path.stem for path in (root / "annotations" / "trimaps").glob("*.png")}
    for line in lists["list"]:
        name, *numbers = line.split()
        assert numbers == [str(list(KINDS).index(name.split("_")[0]) + 1)] * 2 + ["1"]


def test_images_vary_in_size_and_orientation(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    sizes = {trimap.shape for _, trimap in scenes}
    assert len(sizes) > 30
    assert {high > wide for high, wide in sizes} == {True, False}
    assert all(image.shape == (*trimap.shape, 3) for image, trimap in scenes)


def test_every_class_has_a_sensible_fraction_of_the_pixels(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    fractions = np.array([[(trimap == value).mean() for value in (PET, BACKGROUND, BORDER)] for _, trimap in scenes])
    assert np.allclose(fractions.sum(1), 1), "only 1, 2 and 3"
    assert fractions[:, 0].min() >= 0.03 and fractions[:, 0].max() < 0.9
    assert fractions[:, 1].min() > 0.05
    pet, background, border = fractions.mean(0)
    assert 0.1 < pet < 0.4 and 0.45 < background < 0.85 and 0.03 < border < 0.15


def test_the_border_separates_pet_from_background(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for _, trimap in scenes:
        for other, one in (
            (trimap[1:], trimap[:-1]),
            (trimap[:, 1:], trimap[:, :-1]),
            (trimap[1:, 1:], trimap[:-1, :-1]),
            (trimap[1:, :-1], trimap[:-1, 1:]),
        ):
            assert not ((one == PET) & (other == BACKGROUND) | (one == BACKGROUND) & (other == PET)).any()


def test_the_mask_covers_the_animal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene drawn with and without its animal differs on the pet, and almost nowhere else."""
    monkeypatch.setattr(scene, "_simulate_camera", lambda rng, image: image.clip(0, 255).astype(np.uint8))
    monkeypatch.setattr(scene, "_cast_shadow", lambda *_: None)
    paint_object = scene._paint_object

    def paint_nothing(rng: np.random.Generator, image: np.ndarray, *rest: Any) -> np.ndarray:
        return paint(rng, image.copy(), *rest)

    def paint_object_as_before(*arguments: Any) -> np.ndarray:
        with monkeypatch.context() as patch:
            patch.setattr(scene, "paint", paint)
            return paint_object(*arguments)

    for index, kind in enumerate([*KINDS, *KINDS]):
        image, trimap = draw_animal_scene(np.random.default_rng(index), (160, 120), kind)
        with monkeypatch.context() as patch:
            patch.setattr(scene, "paint", paint_nothing)
            patch.setattr(scene, "_paint_object", paint_object_as_before)
            empty, same = draw_animal_scene(np.random.default_rng(index), (160, 120), kind)
        assert (same == trimap).all()
        changed = (image != empty).any(-1)
        assert changed[trimap == PET].mean() > 0.97
        assert changed[trimap == BACKGROUND].mean() < 0.02, "whiskers only"


def test_the_same_seed_gives_the_same_images(root: Path, tmp_path: Path) -> None:
    again = draw_dataset(tmp_path / "again", train=5, test=5, seed=3, size=SIZE)
    other = draw_dataset(tmp_path / "other", train=5, test=5, seed=4, size=SIZE)
    for path in sorted((again / "images").iterdir()):
        mask = Path("annotations", "trimaps", f"{path.stem}.png")
        assert (again / mask).read_bytes() == (root / mask).read_bytes()
        assert (np.asarray(Image.open(path)) == np.asarray(Image.open(root / "images" / path.name))).all()
        assert (again / mask).read_bytes() != (other / mask).read_bytes()


def test_color_alone_does_not_solve_it(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Estimate the probability of pet for each of 4096 colors on two thirds, and test all thresholds on the rest."""

    def color_bins(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image // 16, -1, 0).astype(int)
        return np.asarray(red * 256 + green * 16 + blue)

    pet, counted = np.zeros(4096), np.zeros(4096)
    for image, trimap in scenes[:40]:
        np.add.at(pet, color_bins(image), trimap == PET)
        np.add.at(counted, color_bins(image), trimap != BORDER)
    probability = (pet + 0.2) / (counted + 1)
    ious = []
    for threshold in np.linspace(0.05, 0.8, 16):
        intersection = union = 0
        for image, trimap in scenes[40:]:
            predicted, true = probability[color_bins(image)] > threshold, trimap == PET
            scored = trimap != BORDER
            intersection += (predicted & true & scored).sum()
            union += ((predicted | true) & scored).sum()
        ious.append(intersection / union)
    assert max(ious) < 0.4


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupted(rng: np.random.Generator, size: tuple[int, int], kind: str) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls == 3:
            assert not (tmp_path / "pets").exists(), "incomplete under its final name"
            raise KeyboardInterrupt
        return draw_animal_scene(rng, size, kind)

    monkeypatch.setattr(synthetic, "draw_animal_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "pets", train=5, test=5, size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_existing_folders_are_not_changed(root: Path, tmp_path: Path) -> None:
    def state(folder: Path) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}

    before = state(root)
    assert draw_dataset(root, train=40, test=20, seed=3, size=SIZE) == root
    with pytest.raises(DataError, match="another folder"):
        draw_dataset(root, train=40, test=20, seed=4, size=SIZE)
    assert state(root) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(DataError, match="mine"):
        draw_dataset(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("missing", ["one image", "all images", "everything"])
def test_an_incomplete_copy_raises_an_error(missing: str, tmp_path: Path) -> None:
    copy = draw_dataset(tmp_path / "pets", train=1, test=1, size=(80, 60))
    if missing == "one image":
        (copy / "images" / "Cat_1.jpg").unlink()
    else:
        shutil.rmtree(copy / "images" if missing == "all images" else copy)
    if missing == "everything":
        copy.write_text("a file")
    with pytest.raises(DataError, match="remove it"):
        draw_dataset(copy, train=1, test=1, size=(80, 60))
