"""Folders of masks that match the same images, and folders of masks without a word for masks."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import assert_error, pairs, read_as, touch
from tests.data.formats.writers.folders import in_colors, save

NAMES = ("a", "b", "c")


def scene(index: int) -> np.ndarray:
    """Return a mask (12, 16) of the classes 0, 1 and 2."""
    mask = np.zeros((12, 16), np.uint8)
    mask[2:5, index : index + 4] = 1
    mask[7:, 8:] = 2
    return mask


def write_images(root: Path, template: str = "images/{}.jpg") -> None:
    for index, name in enumerate(NAMES):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8)
        save(root / template.format(name), pixels)


def write_masks(root: Path, template: str, *, as_colors: bool = False, classes: int = 3) -> None:
    for index, name in enumerate(NAMES):
        mask = np.minimum(scene(index), classes - 1)
        save(root / template.format(name), in_colors(mask, 3) if as_colors else mask)


@pytest.mark.parametrize(
    ("gray", "colored"),
    [
        ("labels/masks/{}.png", "labels/colormaps/{}.png"),
        ("labels/sem_seg/masks/{}.png", "labels/sem_seg/colormaps/{}.png"),
        ("masks/{}.png", "masks_rgb/{}.png"),
        ("masks/{}.png", "vis/{}_color.png"),
        ("labels/{}.png", "annotations/{}.png"),
    ],
)
def test_the_same_labels_in_colors_are_left_out(gray: str, colored: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    write_masks(tmp_path, gray)
    write_masks(tmp_path, colored, as_colors=True)
    data = load_dataset(tmp_path)
    assert len(data.train) == 3 and data.read_spec.label_map.kind == "index"
    assert np.array_equal(data.read(data.train[1])[1], scene(1))
    folder = colored.rpartition("/")[0]
    assert any(f"{folder}/ is left out: it has the same labels" in message for message in data.messages)


def test_photographs_beside_the_masks_are_left_out(tmp_path: Path) -> None:
    write_images(tmp_path)
    write_masks(tmp_path, "masks/{}.png")
    write_images(tmp_path, "enhanced/{}.png")
    data = load_dataset(tmp_path)
    assert len(data.train) == 3 and len(data.classes) == 3
    assert any("enhanced/ is left out: its images have too many values" in message for message in data.messages)


@pytest.mark.parametrize("first", ["mask", "masks", "labels"])
@pytest.mark.parametrize("second", ["1st_manual", "vessels", "outlines/thin"])
def test_two_folders_of_different_masks_are_a_question(first: str, second: str, tmp_path: Path) -> None:
    for split in ("training", "test"):
        write_images(tmp_path, f"{split}/images/{{}}_{split}.tif")
        write_masks(tmp_path, f"{split}/{first}/{{}}_{split}_mask.gif", classes=2)
        for index, name in enumerate(NAMES):
            save(tmp_path / split / second / f"{name}_manual1.gif", (scene(index) == 2).astype(np.uint8))
    question = (f"test/{first}/ + training/{first}/", f"test/{second}/ + training/{second}/", "move one of the folders")
    assert_error("folders", tmp_path, "both ", *question)
    for split in ("training", "test"):
        (tmp_path / split / first).rename(tmp_path.parent / f"{split}-{tmp_path.name}")
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.test)) == (3, 3)
    assert np.array_equal(data.read(data.train[0])[1], scene(0) == 2)
    assert any("is taken for the folder of masks" in message for message in data.messages)


def test_all_candidates_are_in_one_question(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg")
    touch(tmp_path, *(f"{folder}/{index}.png" for folder in ("masks", "lines", "areas") for index in (1, 2, 3)))
    touch(tmp_path, "plots/loss.png", "few/1.png")
    assert_error("folders", tmp_path, "areas/, lines/ and masks/ have masks of the same images", "all but one")
    for folder in ("areas", "masks"):
        (tmp_path / folder).rename(tmp_path.parent / f"{folder}-{tmp_path.name}")
    assert pairs(read_as("folders", tmp_path), tmp_path)["images/2.jpg"] == "lines/2.png"


def test_the_same_labels_in_different_places_are_a_question(tmp_path: Path) -> None:
    write_images(tmp_path, "data/original_images/{}.jpg")
    write_masks(tmp_path, "data/label_images/{}.png")
    write_masks(tmp_path, "RGB_masks/RGB_masks/{}.png", as_colors=True)
    assert_error("folders", tmp_path, "RGB_masks/RGB_masks/", "data/label_images/", "move one of the folders away")
    (tmp_path / "RGB_masks").rename(tmp_path.parent / f"away-{tmp_path.name}")
    data = load_dataset(tmp_path)
    assert np.array_equal(data.read(data.train[2])[1], scene(2))


def test_a_folder_that_matches_only_some_images_is_not_taken_for_masks(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{index}.jpg" for index in range(5)), "examples/1.png", "examples/2.png")
    with pytest.raises(DataError, match="does not match any format"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("kinds", [("color", "index"), ("masks", "colormaps")])
def test_subfolders_with_the_same_labels_are_not_classes(kinds: tuple[str, str], tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_images(tmp_path, f"images/{split}/{{}}.jpg")
        for kind in kinds:
            write_masks(tmp_path, f"labels/{kind}/{split}/{{}}.png", as_colors="color" in kind)
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.val), data.read_spec.label_map.kind) == (3, 3, "index")
    assert np.array_equal(data.read(data.val[0])[1], scene(0))


def test_a_binary_mask_per_class_folder_is_still_multilabel(tmp_path: Path) -> None:
    write_images(tmp_path)
    for label in (1, 2):
        for index, name in enumerate(NAMES):
            save(tmp_path / f"masks/class{label}/{name}.png", (scene(index) == label).astype(np.uint8) * 255)
    data = load_dataset(tmp_path)
    assert data.classes == ("class1", "class2")
    assert np.array_equal(data.read(data.train[1])[1][1], scene(1) == 2)


def test_numbered_folders_of_images(tmp_path: Path) -> None:
    write_images(tmp_path, "training/image_2/{}.png")
    write_masks(tmp_path, "training/semantic/{}.png")
    write_masks(tmp_path, "training/semantic_rgb/{}.png", as_colors=True)
    write_masks(tmp_path, "training/instance/{}.png", as_colors=True)
    data = load_dataset(tmp_path)
    assert len(data.train) == 3 and np.array_equal(data.read(data.train[0])[1], scene(0))
    (message,) = (message for message in data.messages if "is left out" in message)
    assert "training/semantic_rgb/ is left out" in message and "training/instance/ is left out" in message


def numbered(mask: np.ndarray) -> np.ndarray:
    """Return a mask whose objects have numbers: class 1 is cut into two objects."""
    objects = mask.astype(np.uint16) * 256
    objects[3:][mask[3:] == 1] += 1
    return objects


@pytest.mark.parametrize(
    ("classes", "objects"),
    [
        ("SegmentationClass", "SegmentationObject"),
        ("labels", "instances"),
        ("SegmentationClassPNG", "SegmentationObjectPNG"),
    ],
)
def test_numbers_of_objects_beside_the_classes_are_left_out(classes: str, objects: str, tmp_path: Path) -> None:
    write_images(tmp_path, "JPEGImages/{}.jpg")
    write_images(tmp_path, "SegmentationClassVisualization/{}.jpg")
    write_masks(tmp_path, f"{classes}/{{}}.png")
    for index, name in enumerate(NAMES):
        save(tmp_path / objects / f"{name}.png", numbered(scene(index)))
    data = load_dataset(tmp_path, "folders")
    assert np.array_equal(data.read(data.train[1])[1], scene(1))
    message = next(message for message in data.messages if "is left out" in message)
    assert f"{objects}/ is left out: it numbers the objects of {classes}/" in message
    assert "SegmentationClassVisualization/ is left out: its images have too many values" in message
    for index, name in enumerate(NAMES):  # other regions: a question
        save(tmp_path / objects / f"{name}.png", numbered(np.roll(scene(index), 1, 0)))
    assert_error("folders", tmp_path, f"{classes}/", f"{objects}/", "move one of the folders away")


def test_masks_saved_as_jpeg_are_candidates(tmp_path: Path) -> None:
    write_images(tmp_path)
    for index, name in enumerate(NAMES):
        save(tmp_path / "vessels" / f"{name}.jpg", (scene(index) == 2).astype(np.uint8) * 255)
    data = load_dataset(tmp_path)
    assert np.array_equal(data.read(data.train[0])[1], scene(0) == 2)
    write_masks(tmp_path, "mask/{}.png", classes=2)
    assert_error("folders", tmp_path, "both mask/ and vessels/", "move one of the folders away")
    for path in (tmp_path / "mask").glob("*"):
        path.unlink()
    write_images(tmp_path, "vessels/{}.jpg")  # photographs
    with pytest.raises(DataError, match="images/ and vessels/ have the same file names"):
        load_dataset(tmp_path)
