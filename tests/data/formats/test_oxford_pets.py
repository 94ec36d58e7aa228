"""Oxford-IIIT Pet."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.demo.synthetic import BACKGROUND, BORDER, KINDS, PET
from pixelwise.data.formats.oxford_pets import read_oxford_pets
from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import (
    assert_one_line,
    path_of,
)


@pytest.fixture
def copy(pets_folder: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic data set that a test can damage."""
    return Path(shutil.copytree(pets_folder, tmp_path / "pets"))


def listed_names(root: Path, split: str) -> list[str]:
    return [line.split()[0] for line in (root / "annotations" / f"{split}.txt").read_text().splitlines()]


def test_splits_come_from_the_official_lists(pets: pw.DatasetIndex, pets_folder: Path) -> None:
    assert isinstance(pets, DatasetIndex) and (pets.format, pets.root) == ("oxford-pets", pets_folder)
    assert (len(pets.train), len(pets.val), len(pets.test)) == (12, 0, 10)
    for records, file in ((pets.train, "trainval"), (pets.test, "test")):
        assert [path_of(record.image).stem for record in records] == listed_names(pets_folder, file)
        for record in records:
            assert record.image == pets_folder / "images" / f"{path_of(record.image).stem}.jpg"
            assert record.mask == pets_folder / "annotations" / "trimaps" / f"{path_of(record.image).stem}.png"
            assert path_of(record.image).is_file() and path_of(record.mask).is_file()
    assert not set(pets.train) & set(pets.test)


def test_classes_are_those_of_the_readme(pets: pw.DatasetIndex) -> None:
    """Mask value 1 is the pet, 2 the background and 3 the border. The tutorial's text differs."""
    assert pets.classes == ("pet", "background", "border")
    assert pets.read_spec.label_map.value_to_class == {1: 0, 2: 1, 3: 2} == {PET: 0, BACKGROUND: 1, BORDER: 2}
    assert len(pets.palette) == len(set(pets.palette)) == 3
    assert all(0 <= value <= 255 for color in pets.palette for value in color)
    for record in pets.train + pets.test:
        mask = read_mask(path_of(record.mask), pets.read_spec.label_map)
        assert set(np.unique(mask)) == {0, 1, 2}
        assert (mask[0] == 1).mean() > 0.5, "the top row is background"
        touching = (mask[:, 1:] == 0) & (mask[:, :-1] == 1) | (mask[:, 1:] == 1) & (mask[:, :-1] == 0)
        assert not touching.any(), "the border lies between pet and background"


def test_strata_are_the_breeds(copy: Path, pets: pw.DatasetIndex) -> None:
    assert {record.stratum for record in pets.train} == set(KINDS)
    assert all(path_of(record.image).stem.startswith(f"{record.stratum}_") for record in pets.train)
    # Breeds of several words: all but the number.
    name = "American_Pit_Bull_Terrier_103"
    shutil.copy(path_of(pets.train[0].image), copy / "images" / f"{name}.jpg")
    shutil.copy(path_of(pets.train[0].mask), copy / "annotations" / "trimaps" / f"{name}.png")
    (copy / "annotations" / "test.txt").write_text(f"{name} 1 1 1\n")
    assert [record.stratum for record in load_dataset(copy).test] == ["American_Pit_Bull_Terrier"]


def test_comments_and_blank_lines_in_lists_are_skipped(copy: Path, pets: pw.DatasetIndex) -> None:
    path = copy / "annotations" / "trainval.txt"
    lines = path.read_text().splitlines()
    path.write_text("#Image CLASS-ID SPECIES BREED ID\n\n" + "\r\n   \n".join(lines) + "\n\n# the end\n")
    stems = [path_of(record.image).stem for record in load_dataset(copy).train]
    assert stems == [path_of(record.image).stem for record in pets.train]


def test_only_listed_images_are_used(copy: Path, pets: pw.DatasetIndex) -> None:
    (copy / "images" / "Cat_999.jpg").write_bytes(b"")
    (copy / "images" / "Cat_1.mat").write_bytes(b"")
    data = load_dataset(str(copy))
    assert (len(data.train), len(data.test)) == (len(pets.train), len(pets.test))


def test_a_missing_image_raises_with_its_path(copy: Path) -> None:
    missing = copy / "images" / f"{listed_names(copy, 'trainval')[5]}.jpg"
    missing.unlink()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    assert_one_line(error, missing, "no such image", "trainval.txt")


def test_a_missing_mask_raises_with_its_image(copy: Path) -> None:
    name = listed_names(copy, "test")[3]
    mask = copy / "annotations" / "trimaps" / f"{name}.png"
    mask.unlink()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    assert_one_line(error, copy / "images" / f"{name}.jpg", "no mask", mask, "test.txt")


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.parametrize("how", ["missing", "binary", "folder"])
def test_an_unreadable_list_raises_with_its_path(split: str, how: str, copy: Path) -> None:
    path = copy / "annotations" / f"{split}.txt"
    path.unlink()
    if how == "binary":
        path.write_bytes(b"\xff\xfe\x00\xd8")
    elif how == "folder":
        path.mkdir()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    assert_one_line(error, path, "list cannot be read")
    assert "None" not in str(error.value)


def test_an_empty_list_is_a_split_without_images(copy: Path) -> None:
    (copy / "annotations" / "test.txt").write_text("# none yet\n")
    data = load_dataset(copy)
    assert data.test == () and len(data.train) == 12
    with pytest.raises(DataError, match="no 'test' split; splits with images: train"):
        data.records("test")


def test_the_real_data_set(real_pets: pw.DatasetIndex) -> None:
    """The data is a copy with three breeds, or the full data set."""
    counts = len(real_pets.train), len(real_pets.test)
    assert counts in ((300, 298), (3680, 3669))
    breeds = Counter(record.stratum for record in real_pets.train)
    assert len(breeds) == (3 if counts == (300, 298) else 37)
    assert set(breeds) == {record.stratum for record in real_pets.test}
    assert not {r.image for r in real_pets.train} & {r.image for r in real_pets.test}
    if counts == (300, 298):
        fractions = np.zeros(3)
        for record in real_pets.train + real_pets.test:
            mask = read_mask(
                path_of(record.mask), real_pets.read_spec.label_map
            )  # raises for a value outside the classes
            fractions += np.bincount(mask.ravel(), minlength=3) / mask.size
        fractions /= fractions.sum()
        # In the real data, most of an image is background, and an eighth is border.
        assert fractions[1] > fractions[0] > fractions[2] > 0.08
        image, mask = read_image_and_mask(real_pets.test[0], real_pets.read_spec)
        assert image.shape[:2] == mask.shape


def test_the_official_list_names_no_files_outside(pets_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pets_folder, tmp_path / "pets"))
    path = root / "annotations" / "trainval.txt"
    first = path.read_text(encoding="utf-8").split()[0]
    for folder in ("images", "annotations/trimaps"):
        Path(shutil.copytree(root / folder, tmp_path / "secret" / folder))
    path.write_text(f"../../secret/images/{first} 1 1 1\n", encoding="utf-8")
    result = read_oxford_pets(root)
    assert result is not None and result.train == () and result.issues[0].kind == "missing image"


def test_an_official_list_that_is_a_pipe_is_an_error(pets_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pets_folder, tmp_path / "pets"))
    (root / "annotations" / "trainval.txt").unlink()
    os.mkfifo(root / "annotations" / "trainval.txt")
    with pytest.raises(DataError, match="not a file"):
        read_oxford_pets(root)


def test_the_same_folders_without_a_list_are_another_data_set(copy: Path) -> None:
    for split in ("trainval", "test"):
        (copy / "annotations" / f"{split}.txt").unlink()
    assert FORMATS["oxford-pets"].component(copy) is None
    assert load_dataset(copy).format == "folders"
