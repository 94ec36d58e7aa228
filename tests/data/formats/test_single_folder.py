"""Images and masks in one folder without a word for masks in their names."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.load import load_dataset
from tests.data.formats.support import pairs, read_as, touch
from tests.data.formats.writers.folders import lines, save


@pytest.mark.parametrize("suffixes", [("jpg", "png"), ("JPG", "PNG"), ("jpeg", "tif"), ("jpg", "gif")])
def test_of_two_suffixes_the_jpeg_is_the_image(suffixes: tuple[str, str], tmp_path: Path) -> None:
    names = ["tile [x=0,y=0]", "tile [x=96,y=0]", "10", "sub/10"]
    touch(tmp_path, *(f"{name}.{suffix}" for name in names for suffix in suffixes))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"{name}.{suffixes[0]}": f"{name}.{suffixes[1]}" for name in names}
    assert "of two files with one name, the mask is" in result.issues[0].message


def test_of_two_lossless_suffixes_the_file_with_colors_is_the_image(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"{index}.tif", np.full((8, 8, 3), (90, 20, index), np.uint8))
        save(tmp_path / f"{index}.png", np.eye(8, dtype=np.uint8))
    data = load_dataset(tmp_path)
    assert [record.image.name for record in data.train] == ["0.tif", "1.tif", "2.tif"]
    assert np.array_equal(data.read(data.train[0])[1], np.eye(8))
    for index in range(3):  # two images of each name: nothing tells which one is the mask
        save(tmp_path / f"{index}.png", np.full((8, 8, 3), (90, 20, index), np.uint8))
    assert FORMATS["folders"].component(tmp_path) is None


@pytest.mark.parametrize("ending", ["_m", "-L", "_vessel", " overlay"])
def test_an_ending_that_all_images_have_marks_masks(ending: str, tmp_path: Path) -> None:
    names = [f"M-33-20-D_{index}" for index in range(12)]
    touch(tmp_path, *(f"out/{name}{tail}" for name in names for tail in (".jpg", f"{ending}.png")))
    lines(tmp_path / "val.txt", names[9:])
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"out/{name}.jpg": f"out/{name}{ending}.png" for name in names[:9]}
    assert len(result.val) == 3
    assert f"names that end in {ending[1:]} are taken for masks" in result.issues[0].message


def test_endings_of_few_files_do_not_mark_masks(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{index}.jpg" for index in range(10)), "1_small.png", "2_small.png")
    assert FORMATS["folders"].component(tmp_path) is None
    touch(tmp_path, *(f"{index}_small.jpg" for index in range(10)))
    assert FORMATS["folders"].component(tmp_path) is None, "a JPEG is no mask"


def test_numbers_are_not_endings_of_masks(tmp_path: Path) -> None:
    touch(tmp_path, *(f"shot_{index}.png" for index in range(3)), *(f"shot_{index}_2.png" for index in range(3)))
    assert FORMATS["folders"].component(tmp_path) is None


@pytest.mark.parametrize(
    ("image", "mask"),
    [("image.png", "mask.png"), ("img.jpg", "label.png"), ("{}.jpg", "mask.png"), ("photo.jpg", "gt.png")],
)
def test_a_folder_per_image(image: str, mask: str, tmp_path: Path) -> None:
    for name in ("case_1", "case_2"):
        touch(tmp_path, f"{name}/{image.format(name)}", f"{name}/{mask}", f"{name}/notes.txt")
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {
        f"{name}/{image.format(name)}": f"{name}/{mask}" for name in ("case_1", "case_2")
    }


def test_frames_from_0000_keep_their_number(tmp_path: Path) -> None:
    names = [f"frame_{index:04}" for index in range(12)]
    touch(tmp_path, *(f"{name}{tail}" for name in names for tail in (".jpg", "_mask.png")))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"{name}.jpg": f"{name}_mask.png" for name in names} and not result.issues
