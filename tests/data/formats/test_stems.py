"""Stems of images and masks: the parts that are removed before they are compared."""

from pathlib import Path

import pytest

from tests.data.formats.support import assert_error, pairs, read_as, touch


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/img_{:03}.jpg", "masks/{}.png"),
        ("images/{}.jpg", "masks/{:04}.png"),
        ("images/scan{:02}.jpg", "masks/annotation-{}.png"),
        ("images/ISIC_{:07}.jpg", "masks/ISIC_{:07}_Segmentation.png"),
        ("images/IMG_{}.JPG", "masks/img_{}.png"),
        ("images/case{}_left.jpg", "masks/case{}_GT.png"),
        ("images/{}_training.tif", "masks/{}_manual1.gif"),
        ("images/{}-rgb.tif", "masks/{}-label.tif"),
        ("images/{}_0000.png", "masks/{}.png"),
        ("images/{}.jpg", "masks/{}.jpg_annotator2.png"),
        ("images/site_a_img_{}.jpg", "masks/site_a_mask_{}.png"),
    ],
)
def test_what_all_names_have_is_ignored(images: str, masks: str, tmp_path: Path) -> None:
    numbers = [*range(12), 100]
    touch(tmp_path, *(images.format(number) for number in numbers), *(masks.format(number) for number in numbers))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {images.format(number): masks.format(number) for number in numbers}
    assert not [issue for issue in result.issues if issue.severity == "error"]


def test_endings_can_differ_between_splits(tmp_path: Path) -> None:
    for split, numbers in {"training": (21, 22, 23), "test": (1, 2, 3)}.items():
        touch(tmp_path, *(f"{split}/images/{number:02}_{split}.tif" for number in numbers))
        touch(tmp_path, *(f"{split}/masks/{number:02}_manual1.gif" for number in numbers))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path)["training/images/22_training.tif"] == "training/masks/22_manual1.gif"
    assert pairs(result, tmp_path, "test")["test/images/03_test.tif"] == "test/masks/03_manual1.gif"
    assert "what differs between them: test/masks/01_manual1.gif is the mask of test/images/01_test.tif" in str(
        result.issues
    )


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (("scan_1.jpg", "scan_2.jpg"), ("01.png", "03.png")),
        (("x_1.jpg", "x_01.jpg"), ("1.png", "2.png")),
        (("x_1.jpg", "x_2.jpg", "x_3.jpg"), ("01.png", "02.png")),
        (("a_1.jpg", "b_2.jpg"), ("1.png", "2.png")),
    ],
)
def test_numbers_alone_match_only_one_to_one(images: tuple[str, ...], masks: tuple[str, ...], tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}" for name in images), *(f"masks/{name}" for name in masks))
    assert_error("folders", tmp_path, "no image has a mask of the same name")


def test_words_that_some_images_have_stay(tmp_path: Path) -> None:
    touch(tmp_path, "images/scene_raw.jpg", "images/scene.jpg", "masks/scene_raw_mask.png", "masks/scene_mask.png")
    assert pairs(read_as("folders", tmp_path), tmp_path) == {
        "images/scene.jpg": "masks/scene_mask.png",
        "images/scene_raw.jpg": "masks/scene_raw_mask.png",
    }
