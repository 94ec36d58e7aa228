"""The message for folders without a known format: what is there, and what to do."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats._unknown_layout import describe_path
from pixelwise.data.io.unreadable_formats import UNREADABLE
from pixelwise.data.load import load_dataset
from pixelwise.errors import AmbiguousDataError, DataError
from tests.data.formats.support import assert_one_line, touch
from tests.data.formats.writers.folders import lines, save


def message_of(root: Path) -> pytest.ExceptionInfo[DataError]:
    """Return the error of a folder that cannot be loaded."""
    with pytest.raises(DataError) as error:
        load_dataset(root)
    return error


@pytest.mark.parametrize("suffix", sorted(UNREADABLE))
def test_unreadable_types_are_counted_with_the_fix(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/IMG_{index}.{suffix.upper()}" for index in range(12)), "masks/IMG_0.png")
    text = describe_path(tmp_path)
    assert f"images/ has 12 .{suffix} files, masks/ has 1 .png files" in text
    assert f"12 .{suffix} files cannot be read: {UNREADABLE[suffix]}" in text


@pytest.mark.parametrize("suffix", ["npy", "nii.gz", "mat", "psd"])
def test_the_error_of_a_folder_describes_it(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", f"masks/1.{suffix}")
    assert_one_line(message_of(tmp_path), "images/ has 1 .jpg files", f"the .{suffix} file cannot be read")


def test_two_folders_of_the_same_names(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{index}.png" for folder in ("left", "right") for index in range(3)))
    assert_one_line(message_of(tmp_path), "left/ and right/ have the same file names: rename them to images and masks")
    (tmp_path / "left").rename(tmp_path / "images")
    (tmp_path / "right").rename(tmp_path / "masks")
    with pytest.raises(DataError, match=r"masks/0\.png"):  # the folders are read, and the empty files are not images
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "program"),
    [
        ("boxes/1.xml", "<annotation>\n<object><bndbox></bndbox></object></annotation>", "Pascal VOC"),
        ("labels/1.txt", "0 0.5 0.5 0.1 0.2\n3 0.1 0.5 0.1 0.2\n", "YOLO"),
    ],
)
def test_boxes_are_named(file: str, text: str, program: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg")
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    assert f"{file} has boxes of objects ({program}) and no masks" in describe_path(tmp_path)


@pytest.mark.parametrize("file", ["annotations.json", "labels/1.xml", "export.ndjson"])
def test_annotations_of_unknown_programs_are_named(file: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", file)
    (tmp_path / file).write_text("{}")
    assert f"{file} is not an annotation file that can be read: export COCO JSON" in describe_path(tmp_path)


def test_other_folders_get_general_advice(tmp_path: Path) -> None:
    assert describe_path(tmp_path) == "the folder has no files"
    assert describe_path(tmp_path / "nowhere") == ""
    lines(tmp_path / "notes.md", ["milk"])
    assert describe_path(tmp_path).startswith("./ has 1 .md files; put images and masks of the same names into images/")
    for index in range(9):
        touch(tmp_path, f"{index}/README")
    assert "(and 6 more folders)" in describe_path(tmp_path)


def test_masks_of_unreadable_images_name_them(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.DNG", "masks/1.png", "masks/2.png")
    assert_one_line(message_of(tmp_path), "masks/2.png: its image may be images/2.DNG, which cannot be read")


def test_the_folder_of_two_that_has_masks_is_a_choice(tmp_path: Path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        save(tmp_path / f"left/{number}.png", pixels)
        save(tmp_path / f"right/{number}.png", (pixels[..., 0] > 128).astype(np.uint8))
    with pytest.raises(AmbiguousDataError, match="set `mask_files` 'right/\\*', or rename them") as error:
        load_dataset(tmp_path)
    assert error.value.choices == ({"mask_files": "right/*"},)
    assert len(load_dataset(tmp_path, mask_files="right/*").train) == 3
    touch(tmp_path, "third/0.png")
    with pytest.raises(DataError, match="same file names: rename them") as other:
        load_dataset(tmp_path)
    assert not isinstance(other.value, AmbiguousDataError)
