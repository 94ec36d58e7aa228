"""The drawn data set: official layout, true masks, same images every time, and not solved by color."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.demo import synthetic as drawn
from pixelwise.data.demo.synthetic import BACKGROUND, BORDER, KINDS, PET, draw_animal_scene, draw_dataset, scene
from pixelwise.data.demo.synthetic.painter import paint
from pixelwise.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "pets", train=40, test=20, seed=3)


@pytest.fixture(scope="module")
def scenes(root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, HWC uint8, and trimaps, HW uint8, as they lie on the disk, in drawing order."""
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


def test_every_class_has_a_sensible_share(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    shares = np.array([[(trimap == value).mean() for value in (PET, BACKGROUND, BORDER)] for _, trimap in scenes])
    assert np.allclose(shares.sum(1), 1), "only 1, 2 and 3"
    assert shares[:, 0].min() >= 0.03 and shares[:, 0].max() < 0.9
    assert shares[:, 1].min() > 0.05
    pet, background, border = shares.mean(0)
    assert 0.1 < pet < 0.4 and 0.45 < background < 0.85 and 0.03 < border < 0.15


def test_the_border_parts_pet_from_background(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for _, trimap in scenes:
        for other, one in (
            (trimap[1:], trimap[:-1]),
            (trimap[:, 1:], trimap[:, :-1]),
            (trimap[1:, 1:], trimap[:-1, :-1]),
            (trimap[1:, :-1], trimap[:-1, 1:]),
        ):
            assert not ((one == PET) & (other == BACKGROUND) | (one == BACKGROUND) & (other == PET)).any()


def test_the_mask_lies_on_the_animal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn once with and once without its animal, a scene differs on the pet and hardly elsewhere."""
    monkeypatch.setattr(scene, "_simulate_camera", lambda rng, image: image.clip(0, 255).astype(np.uint8))
    monkeypatch.setattr(scene, "_cast_shadow", lambda *_: None)
    paint_thing = scene._paint_thing

    def paint_nothing(rng, image, *rest):  # type: ignore[no-untyped-def]
        return paint(rng, image.copy(), *rest)

    def still_paint_thing(*arguments):  # type: ignore[no-untyped-def]
        with monkeypatch.context() as patch:
            patch.setattr(scene, "paint", paint)
            return paint_thing(*arguments)

    for index, kind in enumerate([*KINDS, *KINDS]):
        image, trimap = draw_animal_scene(np.random.default_rng(index), (160, 120), kind)
        with monkeypatch.context() as patch:
            patch.setattr(scene, "paint", paint_nothing)
            patch.setattr(scene, "_paint_thing", still_paint_thing)
            empty, same = draw_animal_scene(np.random.default_rng(index), (160, 120), kind)
        assert (same == trimap).all()
        changed = (image != empty).any(-1)
        assert changed[trimap == PET].mean() > 0.97
        assert changed[trimap == BACKGROUND].mean() < 0.02, "whiskers only"


def test_same_seed_same_images(root: Path, tmp_path: Path) -> None:
    again = draw_dataset(tmp_path / "again", train=5, test=5, seed=3)
    other = draw_dataset(tmp_path / "other", train=5, test=5, seed=4)
    for path in sorted((again / "images").iterdir()):
        mask = Path("annotations", "trimaps", f"{path.stem}.png")
        assert (again / mask).read_bytes() == (root / mask).read_bytes()
        assert (np.asarray(Image.open(path)) == np.asarray(Image.open(root / "images" / path.name))).all()
        assert (again / mask).read_bytes() != (other / mask).read_bytes()


def test_color_alone_does_not_solve_it(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The chance of pet in each of 4096 colors, learnt on two thirds; the best threshold on the rest."""

    def cells(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image // 16, -1, 0).astype(int)
        return np.asarray(red * 256 + green * 16 + blue)

    pet, seen = np.zeros(4096), np.zeros(4096)
    for image, trimap in scenes[:40]:
        np.add.at(pet, cells(image), trimap == PET)
        np.add.at(seen, cells(image), trimap != BORDER)
    chance = (pet + 0.2) / (seen + 1)
    ious = []
    for threshold in np.linspace(0.05, 0.8, 16):
        inside = union = 0
        for image, trimap in scenes[40:]:
            guess, true = chance[cells(image)] > threshold, trimap == PET
            scored = trimap != BORDER
            inside += (guess & true & scored).sum()
            union += ((guess | true) & scored).sum()
        ious.append(inside / union)
    assert max(ious) < 0.4


def test_killed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupted(rng: np.random.Generator, size: tuple[int, int], kind: str) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls == 3:
            assert not (tmp_path / "pets").exists(), "half-made under its final name"
            raise KeyboardInterrupt
        return draw_animal_scene(rng, size, kind)

    monkeypatch.setattr(drawn, "draw_animal_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "pets", train=5, test=5)
    assert list(tmp_path.iterdir()) == []


def test_existing_folders_are_left_alone(root: Path, tmp_path: Path) -> None:
    def state(folder: Path) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}

    before = state(root)
    assert draw_dataset(root, train=40, test=20, seed=3) == root
    with pytest.raises(DataError, match="another folder"):
        draw_dataset(root, train=40, test=20, seed=4)
    assert state(root) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(DataError, match="mine"):
        draw_dataset(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("missing", ["one image", "all images", "everything"])
def test_a_damaged_copy_is_refused(missing: str, tmp_path: Path) -> None:
    copy = draw_dataset(tmp_path / "pets", train=1, test=1, size=(80, 60))
    if missing == "one image":
        (copy / "images" / "Cat_1.jpg").unlink()
    else:
        shutil.rmtree(copy / "images" if missing == "all images" else copy)
    if missing == "everything":
        copy.write_text("a file")
    with pytest.raises(DataError, match="remove it"):
        draw_dataset(copy, train=1, test=1, size=(80, 60))
