"""`read_folders`: matching of images and masks, and ambiguous folders."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.schema import LabelMap, MultilabelMask
from tests.data.formats.support import assert_error, label_map_of, pairs, read_as, touch


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/1.jpg", "masks/1.png"),
        ("Image/1.JPG", "Mask/1.PNG"),
        ("imgs/1.jpg", "gt/1.png"),
        ("color/1.jpg", "label/1.png"),
        ("JPEGImages/1.jpg", "SegmentationClassPNG/1.png"),
        ("img/猫 1.jpg", "ann/猫 1.png"),
        ("x/1.jpg", "y/1.png"),
        ("input/1.tif", "ground truth/1.tif"),
        ("photos/1.jpg", "ground_truth/1_segmentation.png"),
        ("original_images/1.jpg", "label_images_semantic/1.png"),
        ("images/1.jpg", "masks/1_mask.png"),
        ("images/1.jpg", "masks/1.jpg.png"),
        ("images/image_1.jpg", "masks/mask_1.png"),
        ("images/img1.jpg", "masks/mask1.png"),
        ("images/855_sat.jpg", "labels/855_mask.png"),
        ("imagesTr/case_0000.png", "labelsTr/case.png"),
        ("train/1.jpg", "trainannot/1.png"),
        ("train/1.jpg", "train_masks/1_mask.png"),
        ("training/1.jpg", "training_gt/1.png"),
        ("train/images/1.jpg", "train/masks/1.png"),
        ("images/train/1.jpg", "masks/train/1.png"),
        ("train_images/1.jpg", "train_masks/1.png"),
        ("images_train/1.jpg", "masks_train/1.png"),
        ("data/images/1.jpg", "data/masks/1.png"),
        ("input/images/1.jpg", "input/masks/1.png"),
        ("images/color/1.jpg", "masks/color/1.png"),
        ("images/a/b/1.jpg", "masks/a/b/1.png"),
        ("images/a/1.jpg", "masks/1.png"),
        ("images/1.jpg", "images/masks/1.png"),
        ("1.jpg", "masks/1.png"),
        ("xrays/1.jpg", "masks/1.png"),
        ("1.jpg", "1_mask.png"),
        ("1.jpg", "1-mask.png"),
        ("1.jpg", "1.mask.png"),
        ("1.jpg", "mask_1.png"),
        ("1.jpg", "1_seg.png"),
        ("1.jpg", "1_labels.png"),
        ("1.jpg", "1_annotation.png"),
        ("1.jpg", "1_L_gt.png"),
        ("deep/down/1.jpg", "deep/down/1_GT.png"),
        ("1_sat.jpg", "1_mask.png"),
    ],
)
def test_an_image_is_matched_with_its_mask(image: str, mask: str, tmp_path: Path) -> None:
    second = [name.replace("1", "2").replace("case", "other") for name in (image, mask)]
    if mask == "1_L_gt.png":
        image, second[0] = "1_L.jpg", "2_L.jpg"
    result = read_as("folders", touch(tmp_path, image, mask, *second))
    assert pairs(result, tmp_path) == {image: mask, second[0]: second[1]}
    assert result.issues == () and result.label_map is None


def test_endings_that_all_files_have_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}_training.tif" for i in (21, 22)), *(f"masks/{i}_manual1.gif" for i in (21, 22)))
    assert pairs(read_as("folders", tmp_path), tmp_path)["images/21_training.tif"] == "masks/21_manual1.gif"
    # If a mask stays without an image, the rule is not used at all.
    touch(tmp_path, "masks/23_manual1.gif")
    assert_error(
        "folders", tmp_path, "no image has a mask of the same name", "images/21_training.tif", "masks/21_manual1.gif"
    )


def test_numbers_in_names_are_not_endings(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b_2.png")
    kinds = {issue.kind: issue.file for issue in read_as("folders", tmp_path).issues}
    assert kinds == {
        "missing mask": str(tmp_path / "images/b.jpg"),
        "missing image": str(tmp_path / "masks/b_2.png"),
    }


def test_equal_names_in_different_folders_stay_apart(tmp_path: Path) -> None:
    names = [f"{split}/{day}/1" for split in ("train", "val") for day in ("mon", "tue")]
    touch(tmp_path, *(f"images/{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"images/train/{d}/1.jpg": f"masks/train/{d}/1.png" for d in ("mon", "tue")}
    assert pairs(result, tmp_path, "val") == {f"images/val/{d}/1.jpg": f"masks/val/{d}/1.png" for d in ("mon", "tue")}
    # An image never takes the mask of the same name in another folder.
    (tmp_path / "masks/train/tue/1.png").unlink()
    (tmp_path / "images/train/mon/1.jpg").unlink()
    result = read_as("folders", tmp_path)
    assert result.train == ()
    assert {issue.file for issue in result.issues if issue.severity == "error"} == {
        str(tmp_path / "masks/train/mon/1.png")
    }


def test_images_in_one_folder_and_masks_by_split(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/train/1.png", "masks/val/2.png")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"images/1.jpg": "masks/train/1.png"}
    assert pairs(result, tmp_path, "val") == {"images/2.jpg": "masks/val/2.png"}


def test_missing_images_and_masks_are_issues(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/3.png")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"images/1.jpg": "masks/1.png"}
    assert [(issue.kind, issue.file, issue.severity) for issue in result.issues] == [
        ("missing image", str(tmp_path / "masks/3.png"), "error"),
        ("missing mask", str(tmp_path / "images/2.jpg"), "error"),
    ]


@pytest.mark.parametrize(
    "files",
    ["train/images/{}.jpg train/masks/{}.png test/images/{}.jpg", "train/{}.jpg trainannot/{}.png test/{}.jpg"],
)
def test_a_test_split_without_masks_is_left_out_with_a_warning(files: str, tmp_path: Path) -> None:
    for name in "123":
        touch(tmp_path, *files.format(name, name, name).split())
    result = read_as("folders", tmp_path)
    assert len(result.train) == 3 and result.test == ()
    assert [(issue.kind, issue.severity) for issue in result.issues] == [("images without masks", "warning")]
    assert "3 images" in result.issues[0].message and "test" in result.issues[0].file


def test_unrelated_images_are_left_out_with_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, "logo.png", "train/1.jpg", "trainannot/1.png", "plots/loss.png")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"train/1.jpg": "trainannot/1.png"}
    assert all(issue.severity == "warning" for issue in result.issues)


def test_two_mask_folders_raise(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "labels/1.png")
    assert_error("folders", tmp_path, "both labels/ and masks/", "move one of the folders away")


def test_a_mask_folder_without_images_is_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "labels/1.txt", "annotations/1.xml")
    assert pairs(read_as("folders", tmp_path), tmp_path) == {"images/1.jpg": "masks/1.png"}


def test_two_image_folders_raise(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "rgb/1.jpg", "masks/1.png")
    assert_error("folders", tmp_path, "masks/1.png", "two images", "images/1.jpg, rgb/1.jpg")


@pytest.mark.parametrize("second", ["masks/1.gif", "masks/1_mask.png", "masks/1.PNG"])
def test_two_masks_of_one_image_raise(second: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", second)
    assert_error(
        "folders", tmp_path, "images/1.jpg", "2 masks", "masks/1.png", second, "keep one, and move the others away"
    )


def test_two_masks_next_to_an_image_raise(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "1_mask.png", "1_seg.png")
    assert_error("folders", tmp_path, "1.jpg", "2 masks", "1_mask.png", "1_seg.png")


def test_two_images_of_one_name_raise(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/1.webp", "masks/1.png")
    assert_error("folders", tmp_path, "masks/1.png", "images/1.jpg, images/1.webp")


def test_images_and_masks_without_common_names_raise(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "masks/b.png")
    assert_error("folders", tmp_path, str(tmp_path), "images/a.jpg", "masks/b.png", "same name")


def test_several_data_sets_in_one_folder_raise(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{site}/{kind}/1.{end}" for site in "ab" for kind, end in (("images", "jpg"), ("masks", "png"))))
    assert len(read_as("folders", tmp_path).train) == 2, "a and b are parts of one data set"
    touch(tmp_path, "streets/train/1.jpg", "streets/trainannot/1.png")
    assert_error("folders", tmp_path, str(tmp_path), "a, b, streets", "use one of the folders")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{name}.jpg", "masks/{label}/{name}.png"),
        ("images/{name}.jpg", "masks/{label}/{name}_mask.png"),
        ("train/images/{name}.jpg", "train/masks/{label}/{name}.png"),
        ("images/train/{name}.jpg", "masks/{label}/train/{name}.png"),
        ("images/sub/{name}.jpg", "masks/{label}/sub/{name}.png"),
        ("images/sub/{name}.jpg", "masks/sub/{label}/{name}.png"),
    ],
)
def test_one_mask_folder_per_class_is_multilabel(image: str, mask: str, tmp_path: Path) -> None:
    touch(tmp_path, *(image.format(name=name) for name in "12"))
    labels = [("1", "sign"), ("1", "person"), ("2", "person")]
    touch(tmp_path, *(mask.format(name=name, label=label) for name, label in labels))
    result = read_as("folders", tmp_path)
    assert result.classes == ("person", "sign") and result.issues == ()
    assert label_map_of(result) == LabelMap("multilabel")
    masks = [record.mask for record in result.train]
    assert masks == [
        MultilabelMask(tuple(tmp_path / mask.format(name="1", label=label) for label in ("person", "sign"))),
        MultilabelMask((tmp_path / mask.format(name="2", label="person"), None)),
    ]


def test_folders_with_one_mask_per_image_are_not_multilabel(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/cats/1.png", "masks/dogs/2.png")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"images/1.jpg": "masks/cats/1.png", "images/2.jpg": "masks/dogs/2.png"}
    assert result.classes == () and result.label_map is None


@pytest.mark.parametrize("files", [[], ["images/1.jpg"], ["masks/1.png"], ["1.jpg", "2.png"], ["a/1.jpg", "b/1.jpg"]])
def test_images_without_masks_are_not_accepted(files: Sequence[str], tmp_path: Path) -> None:
    assert FORMATS["folders"].component(touch(tmp_path, *files)) is None
