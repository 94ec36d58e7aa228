"""Data sets as they lie on disk: what is found is what is there, and what is missing is named."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.demo.synthetic import BACKGROUND, BORDER, KINDS, PET
from pixelwise.data.formats import FORMATS
from pixelwise.data.formats.oxford_pets import read_oxford_pets
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import DatasetIndex, FormatResult
from pixelwise.errors import ConfigError, DataError


def one_line_about(error: pytest.ExceptionInfo[BaseException], *parts: object) -> None:
    """The error's text is one line and names all of `parts`."""
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


@pytest.fixture
def copy(pets_folder: Path, tmp_path: Path) -> Path:
    """The drawn data set, to be broken."""
    return Path(shutil.copytree(pets_folder, tmp_path / "pets"))


def listed(root: Path, split: str) -> list[str]:
    return [line.split()[0] for line in (root / "annotations" / f"{split}.txt").read_text().splitlines()]


# --- every format


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_says_none_of_a_folder_that_is_not_its_own(name: str, tmp_path: Path) -> None:
    assert FORMATS[name].component(tmp_path) is None
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("milk, eggs")
    assert FORMATS[name].component(tmp_path) is None
    assert FORMATS[name].component(tmp_path / "nowhere") is None
    assert FORMATS[name].component(tmp_path / "notes.txt") is None


# --- Oxford-IIIT Pet


def test_splits_are_those_of_the_official_lists(pets: pw.DatasetIndex, pets_folder: Path) -> None:
    assert isinstance(pets, DatasetIndex) and (pets.format, pets.root) == ("oxford-pets", pets_folder)
    assert (len(pets.train), len(pets.val), len(pets.test)) == (12, 0, 10)
    for split, file in (("train", "trainval"), ("test", "test")):
        records = pets.records(split)
        assert [record.image.stem for record in records] == listed(pets_folder, file)
        for record in records:
            assert record.image == pets_folder / "images" / f"{record.image.stem}.jpg"
            assert record.mask == pets_folder / "annotations" / "trimaps" / f"{record.image.stem}.png"
            assert record.image.is_file() and record.mask.is_file()
    assert not set(pets.train) & set(pets.test)


def test_classes_are_named_as_the_files_say(pets: pw.DatasetIndex) -> None:
    """1 is the pet, 2 the background and 3 the border, whatever the tutorial's text says."""
    assert pets.classes == ("pet", "background", "border")
    assert pets.read_spec.label_map.value_to_class == {1: 0, 2: 1, 3: 2} == {PET: 0, BACKGROUND: 1, BORDER: 2}
    assert len(pets.palette) == len(set(pets.palette)) == 3
    assert all(0 <= value <= 255 for color in pets.palette for value in color)
    for record in pets.train + pets.test:
        mask = read_mask(record.mask, pets.read_spec.label_map)
        assert set(np.unique(mask)) == {0, 1, 2}
        assert (mask[0] == 1).mean() > 0.5, "along the top there is background"
        beside = (mask[:, 1:] == 0) & (mask[:, :-1] == 1) | (mask[:, 1:] == 1) & (mask[:, :-1] == 0)
        assert not beside.any(), "the border lies between pet and background"


def test_groups_are_the_breeds(copy: Path, pets: pw.DatasetIndex) -> None:
    assert {record.stratum for record in pets.train} == set(KINDS)
    assert all(record.image.stem.startswith(f"{record.stratum}_") for record in pets.train)
    # Breeds of several words: all but the number.
    name = "American_Pit_Bull_Terrier_103"
    shutil.copy(pets.train[0].image, copy / "images" / f"{name}.jpg")
    shutil.copy(pets.train[0].mask, copy / "annotations" / "trimaps" / f"{name}.png")
    (copy / "annotations" / "test.txt").write_text(f"{name} 1 1 1\n")
    assert [record.stratum for record in load_dataset(copy).test] == ["American_Pit_Bull_Terrier"]


def test_comments_and_blank_lines_in_lists_are_skipped(copy: Path, pets: pw.DatasetIndex) -> None:
    path = copy / "annotations" / "trainval.txt"
    lines = path.read_text().splitlines()
    path.write_text("#Image CLASS-ID SPECIES BREED ID\n\n" + "\r\n   \n".join(lines) + "\n\n# the end\n")
    stems = [record.image.stem for record in load_dataset(copy).train]
    assert stems == [record.image.stem for record in pets.train]


def test_only_listed_images_are_taken(copy: Path, pets: pw.DatasetIndex) -> None:
    (copy / "images" / "Cat_999.jpg").write_bytes(b"")
    (copy / "images" / "Cat_1.mat").write_bytes(b"")
    found = load_dataset(str(copy))
    assert (len(found.train), len(found.test)) == (len(pets.train), len(pets.test))


def test_a_missing_image_is_named(copy: Path) -> None:
    missing = copy / "images" / f"{listed(copy, 'trainval')[5]}.jpg"
    missing.unlink()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    one_line_about(error, missing, "no such image", "trainval.txt")


def test_a_missing_mask_is_named_with_its_image(copy: Path) -> None:
    name = listed(copy, "test")[3]
    mask = copy / "annotations" / "trimaps" / f"{name}.png"
    mask.unlink()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    one_line_about(error, copy / "images" / f"{name}.jpg", "no mask", mask, "test.txt")


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.parametrize("how", ["missing", "binary", "folder"])
def test_a_list_that_cannot_be_read_is_named(split: str, how: str, copy: Path) -> None:
    path = copy / "annotations" / f"{split}.txt"
    path.unlink()
    if how == "binary":
        path.write_bytes(b"\xff\xfe\x00\xd8")
    elif how == "folder":
        path.mkdir()
    with pytest.raises(DataError) as error:
        load_dataset(copy)
    one_line_about(error, path, "list cannot be read")
    assert "None" not in str(error.value)


def test_an_empty_list_is_a_split_without_images(copy: Path) -> None:
    (copy / "annotations" / "test.txt").write_text("# none yet\n")
    data = load_dataset(copy)
    assert data.test == () and len(data.train) == 12
    with pytest.raises(DataError, match="no 'test' split; splits with images: train"):
        data.records("test")


# --- load_dataset


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path / "nowhere")
    one_line_about(error, tmp_path / "nowhere", "no such folder")


@pytest.mark.parametrize("missing", ["everything", "images", "annotations", "annotations/trimaps"])
def test_an_unknown_layout_lists_the_formats(missing: str, copy: Path, tmp_path: Path) -> None:
    root = tmp_path / "empty" if missing == "everything" else copy
    if missing == "everything":
        root.mkdir()
    else:
        shutil.rmtree(copy / missing)
    for name, named in ((None, tuple(FORMATS)), ("oxford-pets", ("oxford-pets",))):
        with pytest.raises(DataError) as error:
            load_dataset(root, name)
        one_line_about(error, root, *named)


def test_an_unknown_format_name_lists_the_choices(pets_folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_dataset(pets_folder, "oxford-pet")
    one_line_about(error, "'oxford-pet'", "did you mean 'oxford-pets'?", *FORMATS)


def test_a_format_asked_for_by_name_is_the_one_that_reads(
    pets: pw.DatasetIndex, request: pytest.FixtureRequest
) -> None:
    def read_greedy(root: Path) -> FormatResult:
        result = read_oxford_pets(pets.root)
        assert result is not None
        return replace(result, classes=("a", "b", "c"))

    FORMATS.register("greedy", read_greedy)
    request.addfinalizer(lambda: FORMATS.unregister("greedy"))
    assert load_dataset(pets.root) == pets, "the first that knows the folder"
    assert load_dataset(pets.root, "greedy").format == "greedy"
    assert load_dataset(pets.root / "images").format == "greedy", "the others are asked too"


def test_home_is_understood(pets_folder: Path, pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pets_folder.parent))
    assert load_dataset(f"~/{pets_folder.name}").train == pets.train


# --- the real images


def test_the_real_images(real_pets: pw.DatasetIndex) -> None:
    """The copy of three breeds, or the full data set."""
    counts = len(real_pets.train), len(real_pets.test)
    assert counts in ((300, 298), (3680, 3669))
    breeds = Counter(record.stratum for record in real_pets.train)
    assert len(breeds) == (3 if counts == (300, 298) else 37)
    assert set(breeds) == {record.stratum for record in real_pets.test}
    assert not {r.image for r in real_pets.train} & {r.image for r in real_pets.test}
    if counts == (300, 298):
        shares = np.zeros(3)
        for record in real_pets.train + real_pets.test:
            mask = read_mask(record.mask, real_pets.read_spec.label_map)  # raises for a value outside the classes
            shares += np.bincount(mask.ravel(), minlength=3) / mask.size
        shares /= shares.sum()
        # The data set's own: the background is most of an image, the border an eighth.
        assert shares[1] > shares[0] > shares[2] > 0.08
        image, mask = read_image_and_mask(real_pets.test[0], real_pets.read_spec)
        assert image.shape[:2] == mask.shape
