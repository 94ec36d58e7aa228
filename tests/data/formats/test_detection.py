"""Detection of formats, and the registry of formats."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.formats.registry import FORMATS, detect_format, register_format, unregister_format
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import FormatResult, Record
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, DataError
from tests.data.formats.support import assert_one_line, read_as
from tests.data.formats.writers.folders import save


@pytest.mark.parametrize("name", FORMATS)
def test_readers_return_none_for_other_folders(name: str, tmp_path: Path) -> None:
    assert FORMATS[name].component(tmp_path) is None
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("milk, eggs")
    assert FORMATS[name].component(tmp_path) is None
    assert FORMATS[name].component(tmp_path / "nowhere") is None
    assert FORMATS[name].component(tmp_path / "notes.txt") is None


def test_a_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path / "nowhere")
    assert_one_line(error, tmp_path / "nowhere", "no such file or directory")


@pytest.mark.parametrize("missing", ["images", "annotations", "annotations/trimaps"])
def test_an_incomplete_folder_raises_with_all_formats(missing: str, pets_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pets_folder, tmp_path / "pets"))
    shutil.rmtree(root / missing)
    with pytest.raises(DataError) as error:
        load_dataset(root)
    assert_one_line(error, root, *FORMATS)
    with pytest.raises(DataError) as error:
        load_dataset(root, "oxford-pets")
    assert_one_line(error, root, "oxford-pets")


def test_an_empty_folder_raises_with_all_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path)
    assert_one_line(error, tmp_path, *FORMATS)


def test_an_unknown_format_name_raises_with_the_choices(pets_folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_dataset(pets_folder, "oxford-pet")
    assert_one_line(error, "'oxford-pet'", "did you mean 'oxford-pets'?", *FORMATS)


def test_the_home_directory_is_expanded(
    pets_folder: Path, pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(pets_folder.parent))
    assert load_dataset(f"~/{pets_folder.name}").train == pets.train


# --- formats from outside


def read_pairs(root: Path) -> FormatResult | None:
    """A format of images N.photo.png and masks N.truth.png in one folder, which no other format reads."""
    images = sorted(root.glob("*.photo.png"))
    if not images:
        return None
    records = tuple(Record(image, image.with_name(image.name.replace("photo", "truth"))) for image in images)
    return FormatResult(records)


@pytest.fixture
def pairs_folder(tmp_path: Path) -> Path:
    """Two images and masks for `read_pairs`. The masks have the values 0 and 1."""
    for index in range(2):
        save(tmp_path / f"{index}.photo.png", np.full((8, 8, 3), index, np.uint8))
        save(tmp_path / f"{index}.truth.png", np.eye(8, dtype=np.uint8))
    return tmp_path


@pytest.fixture
def registered() -> Iterator[None]:
    """The format "pairs" is registered."""
    register_format("pairs", read_pairs)
    yield
    unregister_format("pairs")


@pytest.mark.usefixtures("registered")
def test_a_registered_format_is_detected_and_loaded(pairs_folder: Path) -> None:
    for format in (None, "pairs"):
        data = load_dataset(pairs_folder, format, classes=["ground", "line"])
        assert data.format == "pairs" and data.classes == ("ground", "line")
        image, mask = read_image_and_mask(data.train[1], data.read_spec)
        assert (image == 1).all() and np.array_equal(mask, np.eye(8))
    (pairs_folder / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    assert DatasetSpec.read(pairs_folder / "data.yaml").load(pairs_folder).format == "pairs"


@pytest.mark.usefixtures("registered")
def test_a_registered_format_is_in_error_messages(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        detect_format(tmp_path, "pear")
    assert_one_line(error, "unknown format 'pear'", *FORMATS)
    assert "pairs" in FORMATS
    with pytest.raises(DataError) as missing:
        detect_format(tmp_path)
    assert_one_line(missing, tmp_path, "pairs")


def test_an_unregistered_format_is_not_detected(pairs_folder: Path) -> None:
    names = list(FORMATS)
    register_format("pairs", read_pairs)
    assert detect_format(pairs_folder)[0] == "pairs"
    unregister_format("pairs")
    assert list(FORMATS) == names
    with pytest.raises(DataError, match="does not match any format"):
        detect_format(pairs_folder)
    with pytest.raises(ConfigError, match="unknown format 'pairs'"):
        unregister_format("pairs")


def test_the_order_of_registration_decides(pets: pw.DatasetIndex, request: pytest.FixtureRequest) -> None:
    def read_any(root: Path) -> FormatResult:
        return replace(read_as("oxford-pets", Path(pets.root)), classes=("a", "b", "c"))

    root = Path(pets.root)
    register_format("any", read_any)
    request.addfinalizer(lambda: unregister_format("any"))
    assert list(FORMATS)[-2:] == ["any", "folders"]
    assert load_dataset(root) == pets, "an earlier format accepts the folder"
    assert load_dataset(root, "any").format == "any"
    assert load_dataset(root / "images").format == "any", "no earlier format accepts the folder"
    register_format("first", read_any, before="table")
    request.addfinalizer(lambda: unregister_format("first"))
    assert next(iter(FORMATS)) == "first" and load_dataset(root).format == "first"


def test_a_name_is_registered_once_and_needs_a_known_successor() -> None:
    names = list(FORMATS)
    with pytest.raises(ConfigError, match="'coco' exists already"):
        register_format("coco", read_pairs)
    with pytest.raises(ConfigError, match=r"unknown format 'folder' \(did you mean 'folders'"):
        register_format("pairs", read_pairs, before="folder")
    assert list(FORMATS) == names
