"""Mask files that the user chooses by a pattern, because several files could be the mask of an image."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._mask_patterns import find_pattern, find_patterns, fits_pattern
from pixelwise.data.load import load_dataset
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import AmbiguousDataError, ConfigError, DataError
from tests.data.formats.writers.folders import save

NAMES = ("Image_01L", "Image_01R", "Image_02L")


def file(path: str) -> ImageFile:
    folder, _, name = path.rpartition("/")
    return ImageFile(folder, name, name.rpartition(".")[0])


def write(root: Path, path: str, value: int | None = None) -> None:
    """Write an image, or a mask with `value` rows of foreground."""
    seed = sum(path.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    if value is not None:
        pixels = np.zeros((12, 16), np.uint8)
        pixels[:value] = 255
    save(root / path, pixels)


def two_annotators(root: Path) -> Path:
    for name in NAMES:
        write(root, f"{name}.jpg")
        write(root, f"{name}_1stHO.png", 3)
        write(root, f"{name}_2ndHO.png", 7)
    return root


def two_folders(root: Path) -> Path:
    for split in ("training", "test"):
        for name in ("1", "2", "3"):
            write(root, f"{split}/images/{name}.png")
            write(root, f"{split}/1st_manual/{name}_manual.png", 3)
            write(root, f"{split}/mask/{name}_mask.png", 7)
    return root


def choices_of(root: Path) -> list[dict[str, object]]:
    with pytest.raises(AmbiguousDataError) as error:
        load_dataset(root)
    return list(error.value.choices)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("masks/*", "masks/a/1.png", True),
        ("*/1st/*", "1st/1.png", True),
        ("*/1st/*", "test/1st/1.png", True),
        ("*/1st/*", "test/not1st/1.png", False),
        ("*_a.png", "x/1_a.png", True),
        ("*_a.png", "x/1_A.png", False),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert fits_pattern(file(path), pattern) is fits


def test_a_pattern_selects_only_its_files() -> None:
    first, second = [file("a/masks/1.png")], [file("a/masks/b/1.png")]
    assert find_pattern(first, second) is None, "the folder of the second files is in that of the first"
    assert find_pattern(second, first) == "a/masks/b/*"
    assert find_patterns({"x": first, "y": second}) == []
    assert find_pattern([file("a[1]/1.png")], [file("a1/1.png")]) == "a[[]1]/*"
    assert find_pattern([file("train/x/1.png"), file("val/x/1.png")], [file("train/y/1.png")]) == "*/x/*"


def test_the_masks_of_one_annotator_can_be_chosen(tmp_path: Path) -> None:
    two_annotators(tmp_path)
    assert choices_of(tmp_path) == [{"mask_files": "*1stHO.png"}, {"mask_files": "*2ndHO.png"}, {"instances": True}]
    for pattern, rows in (("*1stHO.png", 3), ("*2ndHO.png", 7)):
        data = load_dataset(tmp_path, mask_files=pattern)
        assert [Path(str(record.image)).stem for record in data.train] == list(NAMES)
        assert all((data.read(record)[1] == 1).sum() == rows * 16 for record in data.train)
        assert not any("no mask" in message for message in data.messages)


def test_one_of_several_folders_can_be_chosen(tmp_path: Path) -> None:
    two_folders(tmp_path)
    assert choices_of(tmp_path) == [{"mask_files": "*/1st_manual/*"}, {"mask_files": "*/mask/*"}]
    for pattern, rows in (("*/1st_manual/*", 3), ("*/mask/*", 7)):
        data = load_dataset(tmp_path, mask_files=pattern)
        assert (len(data.train), len(data.test)) == (3, 3)
        assert all((data.read(record)[1] == 1).sum() == rows * 16 for record in (*data.train, *data.test))


@pytest.mark.parametrize("write_data", [two_annotators, two_folders])
def test_each_answer_to_the_question_works(write_data: "object", tmp_path: Path) -> None:
    assert callable(write_data)
    for choice in choices_of(write_data(tmp_path)):
        assert len(load_dataset(tmp_path, **choice).train) == 3  # type: ignore[arg-type]


def test_a_spec_keeps_the_choice(tmp_path: Path) -> None:
    two_folders(tmp_path / "data")
    spec = DatasetSpec.of(load_dataset(tmp_path / "data", mask_files="*/1st_manual/*"))
    (tmp_path / "data.yaml").write_text(spec.to_yaml())
    data = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "data")
    assert "1st_manual" in str(data.train[0].mask)
    for number in range(3):
        write(tmp_path, f"other/images/{number}.png")
        write(tmp_path, f"other/masks/{number}.png", 3)
    assert len(spec.load(tmp_path / "other").train) == 3, "files of another layout are found as without the choice"


def test_a_pattern_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    two_folders(tmp_path)
    with pytest.raises(ConfigError, match=r"`mask_files`: \*/2nd/\* fits no image file in .*1st_manual/1_manual.png"):
        load_dataset(tmp_path, mask_files="*/2nd/*")
    write(tmp_path, "other/x.png", 3)
    with pytest.raises(DataError, match="no image has the name of a file that fits"):
        load_dataset(tmp_path, mask_files="other/*")


def test_formats_that_state_the_masks_accept_no_pattern(tmp_path: Path) -> None:
    two_folders(tmp_path)
    (tmp_path / "data.csv").write_text("image,mask\ntraining/images/1.png,training/mask/1_mask.png\n")
    with pytest.raises(ConfigError, match="the format table states the masks"):
        load_dataset(tmp_path, format="table", mask_files="*/mask/*")
    assert load_dataset(tmp_path, mask_files="*/mask/*").format == "folders"
