"""`folders`: which mask belongs to which image, what the classes are called, and what is refused as ambiguous."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pixelwise.data.formats._filesystem import list_files
from pixelwise.data.formats.folders import read_folders
from pixelwise.data.schema import FormatResult, MultilabelMask
from pixelwise.errors import DataError
from tests.data.formats.writers.folders import lines


def touch(root: Path, *files: str) -> Path:
    """Empty files: nothing of an image is read here."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def pairs(layout: FormatResult | None, root: Path, split: str = "train") -> dict[str, str]:
    """Image → mask, as paths below the root."""
    assert layout is not None
    return {
        record.image.relative_to(root).as_posix(): record.mask.relative_to(root).as_posix()
        for record in getattr(layout, split)
    }


def unsaid(root: Path, *parts: str) -> list[str]:
    """Those of `parts` that the error, one line, does not say."""
    with pytest.raises(DataError) as error:
        read_folders(root)
    text = str(error.value)
    assert "\n" not in text
    return [part for part in parts if part not in text]


# --- which is whose


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
def test_a_image_and_its_mask(image: str, mask: str, tmp_path: Path) -> None:
    more = [name.replace("1", "2").replace("case", "other") for name in (image, mask)]
    if mask == "1_L_gt.png":
        image, more[0] = "1_L.jpg", "2_L.jpg"
    layout = read_folders(touch(tmp_path, image, mask, *more))
    assert pairs(layout, tmp_path) == {image: mask, more[0]: more[1]}
    assert layout.issues == () and layout.label_map is None


def test_endings_of_any_word_where_all_have_them(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}_training.tif" for i in (21, 22)), *(f"masks/{i}_manual1.gif" for i in (21, 22)))
    assert pairs(read_folders(tmp_path), tmp_path)["images/21_training.tif"] == "masks/21_manual1.gif"
    # One that fits nothing: then none is paired by such a rule.
    touch(tmp_path, "masks/23_manual1.gif")
    assert unsaid(tmp_path, "no image has a mask of its name", "images/21_training.tif", "masks/21_manual1.gif") == []


def test_numbers_in_names_are_no_endings(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b_2.png")
    kinds = {problem.kind: problem.file for problem in read_folders(tmp_path).issues}
    assert kinds == {
        "missing mask": str(tmp_path / "images/b.jpg"),
        "missing image": str(tmp_path / "masks/b_2.png"),
    }


def test_the_same_names_in_folders_stay_apart(tmp_path: Path) -> None:
    names = [f"{split}/{day}/1" for split in ("train", "val") for day in ("mon", "tue")]
    touch(tmp_path, *(f"images/{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))
    layout = read_folders(tmp_path)
    assert pairs(layout, tmp_path) == {f"images/train/{d}/1.jpg": f"masks/train/{d}/1.png" for d in ("mon", "tue")}
    assert pairs(layout, tmp_path, "val") == {f"images/val/{d}/1.jpg": f"masks/val/{d}/1.png" for d in ("mon", "tue")}
    # An image never takes the mask of the same name in another folder.
    (tmp_path / "masks/train/tue/1.png").unlink()
    (tmp_path / "images/train/mon/1.jpg").unlink()
    layout = read_folders(tmp_path)
    assert layout.train == ()
    assert {p.file for p in layout.issues if p.severity == "error"} == {str(tmp_path / "masks/train/mon/1.png")}


def test_images_in_one_folder_and_masks_by_split(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/train/1.png", "masks/val/2.png")
    layout = read_folders(tmp_path)
    assert pairs(layout, tmp_path) == {"images/1.jpg": "masks/train/1.png"}
    assert pairs(layout, tmp_path, "val") == {"images/2.jpg": "masks/val/2.png"}


def test_missing_ones_are_problems_and_no_records(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/3.png")
    layout = read_folders(tmp_path)
    assert pairs(layout, tmp_path) == {"images/1.jpg": "masks/1.png"}
    found = [(p.kind, p.file, p.severity == "warning") for p in layout.issues]
    assert found == [
        ("missing image", str(tmp_path / "masks/3.png"), False),
        ("missing mask", str(tmp_path / "images/2.jpg"), False),
    ]


@pytest.mark.parametrize(
    "layout",
    ["train/images/{}.jpg train/masks/{}.png test/images/{}.jpg", "train/{}.jpg trainannot/{}.png test/{}.jpg"],
)
def test_a_test_split_without_masks_is_left_out_with_a_note(layout: str, tmp_path: Path) -> None:
    for name in "123":
        touch(tmp_path, *layout.format(name, name, name).split())
    found = read_folders(tmp_path)
    assert len(found.train) == 3 and found.test == ()
    assert [(p.kind, p.severity == "warning") for p in found.issues] == [("images without masks", True)]
    assert "3 images" in found.issues[0].message and "test" in found.issues[0].file


def test_other_images_around_are_left_out_with_a_note(tmp_path: Path) -> None:
    touch(tmp_path, "logo.png", "train/1.jpg", "trainannot/1.png", "plots/loss.png")
    layout = read_folders(tmp_path)
    assert pairs(layout, tmp_path) == {"train/1.jpg": "trainannot/1.png"}
    assert all(problem.severity == "warning" for problem in layout.issues)


# --- several masks


def test_two_folders_of_masks_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "labels/1.png")
    assert unsaid(tmp_path, "both labels/ and masks/", "move one of the folders away") == []


def test_a_second_folder_without_images_is_no_candidate(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "labels/1.txt", "annotations/1.xml")
    assert pairs(read_folders(tmp_path), tmp_path) == {"images/1.jpg": "masks/1.png"}


def test_two_folders_of_images_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "rgb/1.jpg", "masks/1.png")
    assert unsaid(tmp_path, "masks/1.png", "two images", "images/1.jpg, rgb/1.jpg") == []


@pytest.mark.parametrize("second", ["masks/1.gif", "masks/1_mask.png", "masks/1.PNG"])
def test_two_masks_of_one_image_are_refused(second: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", second)
    assert unsaid(tmp_path, "images/1.jpg", "two masks", "masks/1.png", second, "move one away") == []


def test_two_masks_beside_a_image_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "1_mask.png", "1_seg.png")
    assert unsaid(tmp_path, "1.jpg", "two masks", "1_mask.png", "1_seg.png") == []


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/1.webp", "masks/1.png")
    assert unsaid(tmp_path, "masks/1.png", "images/1.jpg, images/1.webp") == []


def test_names_that_never_meet_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "masks/b.png")
    assert unsaid(tmp_path, str(tmp_path), "images/a.jpg", "masks/b.png", "same name") == []


def test_several_data_sets_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{site}/{kind}/1.{end}" for site in "ab" for kind, end in (("images", "jpg"), ("masks", "png"))))
    assert len(read_folders(tmp_path).train) == 2, "two sites of one data set"
    touch(tmp_path, "streets/train/1.jpg", "streets/trainannot/1.png")
    assert unsaid(tmp_path, str(tmp_path), "a, b, streets", "point DATA at one") == []


# --- multi-label


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
def test_a_folder_a_class_is_multilabel(image: str, mask: str, tmp_path: Path) -> None:
    touch(tmp_path, *(image.format(name=name) for name in "12"))
    shown = [("1", "sign"), ("1", "person"), ("2", "person")]
    touch(tmp_path, *(mask.format(name=name, label=label) for name, label in shown))
    layout = read_folders(tmp_path)
    assert layout.classes == ("person", "sign") and layout.issues == ()
    assert (layout.label_map.kind, dict(layout.label_map.value_to_class)) == ("multilabel", {})
    masks = [record.mask for record in layout.train]
    assert masks == [
        MultilabelMask(tuple(tmp_path / mask.format(name="1", label=label) for label in ("person", "sign"))),
        MultilabelMask((tmp_path / mask.format(name="2", label="person"), None)),
    ]


def test_folders_with_one_mask_a_image_are_not_multilabel(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/cats/1.png", "masks/dogs/2.png")
    layout = read_folders(tmp_path)
    assert pairs(layout, tmp_path) == {"images/1.jpg": "masks/cats/1.png", "images/2.jpg": "masks/dogs/2.png"}
    assert layout.classes == () and layout.label_map is None


# --- lists


@pytest.mark.parametrize("place", ["", "splits/", "ImageSets/Segmentation/"])
@pytest.mark.parametrize(
    "line", ["{}", "{}.jpg", "images/{}.jpg", "./images/{}.jpg masks/{}.png", "/home/me/images/{}.jpg,x"]
)
def test_lists_make_the_splits(place: str, line: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(6)), *(f"masks/{i}.png" for i in range(5)))
    for split, numbers in {"train": (2, 0), "val": (1,), "test": (4,)}.items():
        lines(tmp_path / f"{place}{split}.txt", ["# mine", "", *(line.format(i, i) for i in numbers)])
    layout = read_folders(tmp_path)
    assert list(pairs(layout, tmp_path)) == ["images/2.jpg", "images/0.jpg"]
    assert (len(layout.val), len(layout.test)) == (1, 1)
    assert layout.issues == (), "3 and 5 are in no list"


def test_names_with_spaces_in_lists(tmp_path: Path) -> None:
    touch(tmp_path, "images/a b.jpg", "masks/a b.png", "images/c.jpg", "masks/c.png")
    lines(tmp_path / "train.txt", ["a b"])
    lines(tmp_path / "val.txt", ["c masks/c.png"])
    layout = read_folders(tmp_path)
    assert (list(pairs(layout, tmp_path)), len(layout.val)) == (["images/a b.jpg"], 1)


def test_without_a_list_for_training_the_others_train(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(3)), *(f"masks/{i}.png" for i in range(3)))
    lines(tmp_path / "val.txt", ["1"])
    layout = read_folders(tmp_path)
    assert list(pairs(layout, tmp_path)) == ["images/0.jpg", "images/2.jpg"]
    assert list(pairs(layout, tmp_path, "val")) == ["images/1.jpg"]


def test_lines_without_a_image(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    lines(tmp_path / "train.txt", ["1", "2"])
    problem = read_folders(tmp_path).issues[0]
    assert (problem.kind, problem.file) == ("missing image", "2") and "train.txt" in problem.message
    lines(tmp_path / "train.txt", ["2", "3"])
    assert unsaid(tmp_path, "train.txt", "none of its lines", "2") == []


def test_a_name_in_two_folders_needs_its_path(tmp_path: Path) -> None:
    names = ("mon/1", "tue/1")
    touch(tmp_path, *(f"images/{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))
    lines(tmp_path / "train.txt", ["1"])
    assert unsaid(tmp_path, "train.txt", "images/mon/1.jpg", "images/tue/1.jpg", "write the path") == []
    lines(tmp_path / "train.txt", ["tue/1"])
    assert list(pairs(read_folders(tmp_path), tmp_path)) == ["images/tue/1.jpg"]


# --- names of classes


SKY_ROAD = {0x408040: "sky", 0x0000FF: "road"}


@pytest.mark.parametrize(
    ("file", "text", "field", "names"),
    [
        ("classes.txt", "sky\nold road\n", "class_names", ("sky", "old road")),
        ("labels.txt", "\ufeffsky\r\n\r\nroad\r\n", "class_names", ("sky", "road")),
        ("class_names.txt", "0 sky\n7 old road\n", "names_by_value", {0: "sky", 7: "old road"}),
        ("Classes.TXT", "0: sky\n1: road\n", "names_by_value", {0: "sky", 1: "road"}),
        ("codes.txt", "sky\nroad", "class_names", ("sky", "road")),
        ("classes.txt", "class 1\nclass 2", "class_names", ("class 1", "class 2")),
        ("label_colors.txt", "64 128 64\tsky\n0 0 255\t\troad\n", "names_by_color", SKY_ROAD),
        ("class_dict.csv", "name,r,g,b\nsky,64,128,64\nroad, 0, 0, 255\n", "names_by_color", SKY_ROAD),
        ("class_dict.csv", "r,g,b,name\n64,128,64,sky\n", "names_by_color", {0x408040: "sky"}),
        ("labelmap.txt", "# label:color_rgb\nsky:64,128,64::\nroad:0,0,255::a,b\n", "names_by_color", SKY_ROAD),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n", "names_by_value", {0: "sky", 1: "road"}),
        ("_classes.json", '{"sky": 0, "road": 3}', "names_by_value", {0: "sky", 3: "road"}),
        ("classes.json", '{"0": "sky", "3": "road"}', "names_by_value", {0: "sky", 3: "road"}),
        ("classes.json", '["sky", "road"]', "class_names", ("sky", "road")),
        ("label_map.json", '{"sky": [1, 2, 3]}', "names_by_color", {0x010203: "sky"}),
        ("classes.json", '[{"name": "sky", "color": "#010203"}]', "names_by_color", {0x010203: "sky"}),
        ("classes.json", '{"classes": [{"id": 4, "name": "sky"}]}', "names_by_value", {4: "sky"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "masks/"])
def test_files_that_name_the_classes(
    place: str, file: str, text: str, field: str, names: object, tmp_path: Path
) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / place / file).write_text(text, encoding="utf-8")
    layout = read_folders(tmp_path)
    assert getattr(layout, field) == names
    others = {"class_names", "names_by_value", "names_by_color"} - {field}
    assert not any(getattr(layout, other) for other in others)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "sky\nsky\n"),
        ("classes.json", "{"),
        ("classes.json", "7"),
        ("classes.json", '{"sky": {}}'),
        ("classes.json", '{"sky": 0, "road": 0}'),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,x\n"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,256\n"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\nroad,1,2,3\n"),
        ("_classes.csv", "sky\n"),
    ],
)
def test_files_that_cannot_be_understood_are_named(file: str, text: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / file).write_text(text)
    assert unsaid(tmp_path, str(tmp_path / file)) == []


def test_binary_rubbish_and_pipes_for_a_file_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\xd8")
    assert unsaid(tmp_path, str(tmp_path / "classes.txt"), "UTF-8") == []
    (tmp_path / "classes.txt").unlink()
    os.mkfifo(tmp_path / "classes.txt")
    assert unsaid(tmp_path, str(tmp_path / "classes.txt"), "not a file") == []


def test_two_files_that_disagree_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "train/1_mask.png", "valid/2.jpg", "valid/2_mask.png")
    (tmp_path / "train/_classes.csv").write_text("Pixel Value, Class\n0, sky\n")
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, road\n")
    assert unsaid(tmp_path, "train/_classes.csv", "valid/_classes.csv", "keep the one") == []


# --- walking


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    root = touch(tmp_path / "data", "masks/1.png", "masks/2.png")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    (root / "a_copy").symlink_to(root / "masks")
    (root / "masks" / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "itself").symlink_to(root / "itself")
    (tmp_path / "elsewhere" / "back").symlink_to(root / "images")
    assert pairs(read_folders(root), root) == {"images/1.jpg": "masks/1.png", "images/2.jpg": "masks/2.png"}
    assert list(list_files(root)) == ["", "images", "masks"]


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{name}" for folder in "bac" for name in ("2", "10", "1")))
    assert list(list_files(tmp_path).items()) == [("", []), *((folder, ["1", "10", "2"]) for folder in "abc")]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    scandir = os.scandir

    def refuse(folder: os.PathLike):
        if Path(folder).name == "masks":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert unsaid(tmp_path, str(tmp_path / "masks"), "permission denied", "change its permissions") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_without_permissions_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / "masks").chmod(0)
    try:
        assert unsaid(tmp_path, str(tmp_path / "masks"), "permission denied") == []
    finally:
        (tmp_path / "masks").chmod(0o755)


def test_pipes_and_dangling_links_are_files_that_nobody_waits_for(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "masks/2.png")
    os.mkfifo(tmp_path / "images" / "2.jpg")
    (tmp_path / "images" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    touch(tmp_path, "masks/3.png")
    assert len(read_folders(tmp_path).train) == 3


@pytest.mark.parametrize("files", [[], ["images/1.jpg"], ["masks/1.png"], ["1.jpg", "2.png"], ["a/1.jpg", "b/1.jpg"]])
def test_images_that_are_no_pairs_are_not_of_this_format(files: Sequence[str], tmp_path: Path) -> None:
    assert read_folders(touch(tmp_path, *files)) is None
