"""Several mask files of one image: one per class, one per object, or a question."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import FormatResult, MergedMask, MultilabelMask
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import DataError
from tests.data.formats.support import assert_error, label_map_of, pairs, path_of, read_as, touch
from tests.data.formats.writers.folders import save


def read_instances(root: Path) -> FormatResult:
    """Return the result of `read_folders` with the option `instances`."""
    result = FORMATS["folders"].component(root, LabelOptions(instances=True))
    assert result is not None
    return result


def files_of(result: FormatResult) -> list[list[str]]:
    """Return the names of the files of each mask."""
    masks = [record.mask for record in result.train]
    return [
        [file.name for file in (mask.files if isinstance(mask, MergedMask) else (path_of(mask),))] for mask in masks
    ]


@pytest.mark.parametrize(
    "mask",
    [
        "masks/{name}_{label}.png",
        "masks/{name}-{label}.png",
        "masks/{name}_{label}_mask.png",
        "masks/{name}_mask_{label}.png",
        "masks/{name}_class_{label}.png",
        "masks/{label}_{name}.png",
        "images/{name}_{label}.png",
    ],
)
def test_endings_that_are_class_names_make_multilabel_masks(mask: str, tmp_path: Path) -> None:
    names = [f"img_{index}" for index in range(1, 12)]
    touch(tmp_path, *(f"images/{name}.jpg" for name in names))
    labels = {name: ["sign"] if name == "img_2" else ["person", "sign"] for name in names}
    touch(tmp_path, *(mask.format(name=name, label=label) for name in names for label in labels[name]))
    result = read_as("folders", tmp_path)
    assert result.classes == ("person", "sign") and label_map_of(result).kind == "multilabel"
    assert {record.image.name: record.mask for record in result.train} == {
        f"{name}.jpg": MultilabelMask(
            tuple(
                tmp_path / mask.format(name=name, label=label) if label in labels[name] else None
                for label in result.classes
            )
        )
        for name in names
    }
    (issue,) = result.issues
    assert issue.severity == "warning" and "person, sign" in issue.message


def test_classes_with_one_file_per_object(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}.jpg" for name in "ab"))
    touch(tmp_path, *(f"masks/{name}.png" for name in ("a_box_1", "a_box_2", "a_disc_1", "b_box_1", "b_disc_1")))
    result = read_as("folders", tmp_path)
    assert result.classes == ("box", "disc")
    first, second = (record.mask for record in result.train)
    files = (tmp_path / "masks/a_box_1.png", tmp_path / "masks/a_box_2.png")
    assert first == MultilabelMask((MergedMask(files), tmp_path / "masks/a_disc_1.png"))
    assert second == MultilabelMask((tmp_path / "masks/b_box_1.png", tmp_path / "masks/b_disc_1.png"))


def test_several_files_per_class_reach_the_mask(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}.jpg", np.full((8, 9, 3), 50, np.uint8))
        for index in (1, 2):
            save(tmp_path / "masks" / f"{name}_box_{index}.png", np.eye(8, 9, index, dtype=np.uint8) * 255)
        save(tmp_path / "masks" / f"{name}_disc_1.png", np.eye(8, 9, dtype=np.uint8) * 255)
    data = load_dataset(tmp_path)
    assert data.classes == ("box", "disc")
    mask = data.read(data.train[0])[1]
    assert np.array_equal(mask, [np.eye(8, 9, 1) + np.eye(8, 9, 2), np.eye(8, 9)])
    counted = {each.name: each.pixels for each in inspect(tmp_path).classes}
    assert counted == {"box": 2 * (8 + 7), "disc": 2 * 8}


def test_folders_of_one_image_with_files_of_any_name_are_united(tmp_path: Path) -> None:
    for image, masks in {"a1": ("0f", "3c"), "b2": ("77", "5e", "9d")}.items():
        touch(tmp_path, f"train/{image}/images/{image}.png", *(f"train/{image}/masks/{mask}.png" for mask in masks))
    touch(tmp_path, "test/c3/images/c3.png")
    result = read_as("folders", tmp_path)
    assert files_of(result) == [["0f.png", "3c.png"], ["5e.png", "77.png", "9d.png"]]
    assert sorted(issue.kind for issue in result.issues) == ["choice of masks", "images without masks"]


@pytest.mark.parametrize(
    "template", ["masks/{}_{}.png", "masks/{}({}).png", "masks/{}_mask_{}.png", "images/{}_obj{}.png"]
)
def test_numbers_whose_count_differs_are_objects(template: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg")
    names = [template.format(name, number) for name, count in (("a", 3), ("b", 1)) for number in range(1, count + 1)]
    touch(tmp_path, *names)
    result = read_as("folders", tmp_path)
    assert [len(files) for files in files_of(result)] == [3, 1]
    assert "each is one object" in result.issues[0].message and "images/a.jpg has 3" in result.issues[0].message


@pytest.mark.parametrize(
    "labels",
    [
        ("1stHO", "2ndHO"),
        ("annotator1", "annotator2"),
        ("rater_a", "rater_b"),
        ("manual1", "manual2"),
        ("mask_1", "mask_2"),
        ("a", "b"),
        ("1", "2"),
        ("expert", "novice_reader"),
        ("label", "seg"),
    ],
)
def test_masks_of_several_annotators_are_a_question(labels: tuple[str, str], tmp_path: Path) -> None:
    names = [f"Image_{index:02}{eye}" for index in range(1, 4) for eye in "LR"]
    touch(tmp_path, *(f"images/{name}.jpg" for name in names))
    touch(tmp_path, *(f"masks/{name}_{label}.png" for name in names for label in labels))
    if "seg" in labels:
        assert_error("folders", tmp_path, "images/Image_01L.jpg: has 2 masks", "keep one, and move the others away")
        return
    first, second = (f"Image_01L_{label}.png" for label in labels)
    assert_error("folders", tmp_path, "has 2 masks", first, second, "move all but one mask of each image away")
    # Both remedies work.
    assert files_of(read_instances(tmp_path))[0] == [first, second]
    for path in (tmp_path / "masks").glob(f"*_{labels[1]}.png"):
        path.unlink()
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"images/{name}.jpg": f"masks/{name}_{labels[0]}.png" for name in names}


def test_annotators_in_one_folder_with_the_images(tmp_path: Path) -> None:
    names = [f"Image_0{index}{eye}" for index in range(1, 4) for eye in "LR"]
    touch(tmp_path, *(f"{name}{ending}" for name in names for ending in (".jpg", "_1stHO.png", "_2ndHO.png")))
    assert_error("folders", tmp_path, "Image_01L_1stHO.png, Image_01L_2ndHO.png", "move all but one mask of each image")
    for path in tmp_path.glob("*_2ndHO.png"):
        path.unlink()
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"{name}.jpg": f"{name}_1stHO.png" for name in names}
    assert "names that end in 1stHO are taken for masks" in result.issues[0].message


def test_folders_of_annotators_are_a_question(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}.jpg" for name in "ab"))
    touch(tmp_path, *(f"masks/annotator{number}/{name}.png" for name in "ab" for number in (1, 2)))
    assert_error("folders", tmp_path, "both masks/annotator1/ and masks/annotator2/", "move one of the folders away")
    shutil.rmtree(tmp_path / "masks/annotator2")
    assert pairs(read_as("folders", tmp_path), tmp_path)["images/a.jpg"] == "masks/annotator1/a.png"


def test_a_spec_unites_the_files_again(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.jpg", np.full((8, 9, 3), 50, np.uint8))
        for index in (1, 2):
            save(tmp_path / f"{name}_{index}st.png", np.eye(8, 9, index, dtype=np.uint8))
    data = load_dataset(tmp_path, instances=True)
    assert data.classes == ("background", "foreground") and "each is one object" in " ".join(data.messages)
    again = DatasetSpec.of(data).load(tmp_path)
    assert again.train == data.train
    assert np.array_equal(again.read(again.train[0])[1], np.eye(8, 9, 1) + np.eye(8, 9, 2))


def test_copies_are_never_paired(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/1 (1).png", "masks/2.png")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"images/1.jpg": "masks/1.png", "images/2.jpg": "masks/2.png"}
    assert [issue.file for issue in result.issues] == [str(tmp_path / "masks/1 (1).png")]


def test_united_files_reach_the_mask(tmp_path: Path) -> None:
    for name, objects in {"a": 3, "b": 2}.items():
        save(tmp_path / name / "images" / f"{name}.png", np.full((8, 9, 3), 50, np.uint8))
        for index in range(objects):
            mask = np.zeros((8, 9), np.uint8)
            mask[index * 2, 3:5] = 255
            save(tmp_path / name / "masks" / f"{name}{index}f.png", mask)
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "foreground")
    mask = data.read(data.train[0])[1]
    expected = np.zeros((8, 9), np.uint8)
    expected[[0, 2, 4], 3:5] = 1
    assert np.array_equal(mask, expected)
    assert any("each is one object: a/images/a.png has 3" in message for message in data.messages)
    save(tmp_path / "a" / "masks" / "a2f.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="must have the same size; they have 4x4, 9x8"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("images", ["images/{}.png", "images/img_{}.jpg"])
def test_a_folder_of_masks_named_like_its_image(images: str, tmp_path: Path) -> None:
    stem = Path(images).stem
    touch(tmp_path, *(images.format(number) for number in (1, 2, 3)))
    touch(tmp_path, *(f"masks/{stem.format(1)}/{number}.png" for number in (1, 2)))
    touch(tmp_path, *(f"masks/{stem.format(number)}/1.png" for number in (2, 3)))
    assert [len(files) for files in files_of(read_as("folders", tmp_path))] == [2, 1, 1]
    for path in [*tmp_path.glob("masks/*/*.png")]:
        path.unlink()
    touch(tmp_path, *(f"masks/{stem.format(number)}/{label}.png" for number in (1, 2, 3) for label in ("box", "disc")))
    assert read_as("folders", tmp_path).classes == ("box", "disc")


def test_folders_of_classes_that_are_numbers_are_not_folders_of_images(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{number}.png" for number in range(1, 11)))
    touch(tmp_path, *(f"masks/{label}/{number}.png" for label in (1, 2) for number in range(1, 11)))
    result = read_as("folders", tmp_path)
    assert result.classes == ("1", "2") and len(result.train) == 10


def test_class_folders_with_endings(tmp_path: Path) -> None:
    for split, numbers in {"a. Training Set": (1, 2, 3), "b. Testing Set": (4, 5)}.items():
        for number in numbers:
            touch(tmp_path, f"1. Original Images/{split}/IDRiD_{number:02}.jpg")
            touch(tmp_path, f"2. Segmentation Groundtruths/{split}/1. Aneurysms/IDRiD_{number:02}_MA.tif")
            if number != 3:
                touch(tmp_path, f"2. Segmentation Groundtruths/{split}/2. Exudates/IDRiD_{number:02}_EX.tif")
    result = read_as("folders", tmp_path)
    assert result.classes == ("1. Aneurysms", "2. Exudates")
    assert (len(result.train), len(result.test), result.issues) == (3, 2, ())
    mask = {record.image.name: record.mask for record in result.train}["IDRiD_03.jpg"]
    assert isinstance(mask, MultilabelMask) and mask.channels[1] is None


def test_labels_after_numbers_with_zeros_in_folders_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, *(f"CelebA-HQ-img/{number}.jpg" for number in range(12)))
    labels = ("hair", "l_eye", "r_eye")
    touch(tmp_path, *(f"CelebAMask-anno/{n // 6}/{n:05}_{label}.png" for n in range(12) for label in labels))
    result = read_as("folders", tmp_path)
    assert result.classes == labels and len(result.train) == 12
    channels = {r.image.name: r.mask.channels for r in result.train if isinstance(r.mask, MultilabelMask)}
    assert channels["11.jpg"][0] == tmp_path / "CelebAMask-anno/1/00011_hair.png"


def test_a_second_mask_of_some_images_is_another_object(tmp_path: Path) -> None:
    names = [f"benign ({number})" for number in range(1, 6)]
    touch(tmp_path, *(f"benign/{name}{tail}.png" for name in names for tail in ("", "_mask")))
    touch(tmp_path, "benign/benign (3)_mask_1.png")
    result = read_as("folders", tmp_path)
    assert [len(files) for files in files_of(result)] == [1, 1, 2, 1, 1]
    assert "benign (3).png has 2" in result.issues[0].message
    touch(tmp_path, *(f"benign/{name}_mask_1.png" for name in names))  # now every image has two
    assert_error("folders", tmp_path, "has 2 masks", "_mask.png", "_mask_1.png", "set `instances`")


def test_two_annotators_in_folders_with_endings_are_a_question(tmp_path: Path) -> None:
    touch(tmp_path, *(f"stare-images/im{number:04}.ppm" for number in range(5)))
    touch(tmp_path, *(f"labels-{who}/im{number:04}.{who}.ppm" for number in range(5) for who in ("ah", "vk")))
    assert_error("folders", tmp_path, "both labels-ah/ and labels-vk/", "move one of the folders away")
    shutil.rmtree(tmp_path / "labels-vk")
    assert pairs(read_as("folders", tmp_path), tmp_path)["stare-images/im0004.ppm"] == "labels-ah/im0004.ah.ppm"
