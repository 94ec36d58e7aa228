"""split.csv: names of all kinds of images, a round trip, damaged files."""

from dataclasses import replace
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.schema import BytesSource, Record
from pixelwise.errors import RunError
from pixelwise.runs.split_file import SplitRow, data_roots, read_split, relative_name, split_rows, write_split
from pixelwise.training.splits import with_split


class Member:
    """An image inside a file, such as a member of a shard."""

    name = "7.jpg"

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def read_bytes(self) -> bytes:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("image", "root", "name"),
    [
        (Path("/data/pets/images/1.jpg"), Path("/data/pets"), "images/1.jpg"),
        (Path("/data/pets/images/1.jpg"), Path("/data/pets/train.csv"), "images/1.jpg"),
        (Path("/other/1.jpg"), Path("/data/pets"), "/other/1.jpg"),
        (Path("/data/pets2/1.jpg"), Path("/data/pets"), "/data/pets2/1.jpg"),
        (RemoteFile("s3://bucket/pets/images/1.jpg"), "s3://bucket/pets/", "images/1.jpg"),
        (RemoteFile("s3://bucket/pets/images/1.jpg"), "s3://bucket/pets/table.csv", "images/1.jpg"),
        (Member("s3://bucket/pets/shard-000.tar/7.jpg"), "s3://bucket/pets", "shard-000.tar/7.jpg"),
        (Member("/data/pets/train.parquet, row 3, image"), Path("/data/pets"), "train.parquet, row 3, image"),
        (RemoteFile("https://example.org/1.jpg"), Path("/data/table.csv"), "https://example.org/1.jpg"),
    ],
)
def test_names_are_relative_to_the_data_set(image: BytesSource, root: Path | str, name: str) -> None:
    assert relative_name(image, root) == name


def test_names_do_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative_name(Path("pets/1.jpg"), Path("other")) == (tmp_path / "pets" / "1.jpg").as_posix()
    assert relative_name(Path("pets/1.jpg"), tmp_path / "pets") == "1.jpg"


def test_each_record_has_one_row(pets: pw.DatasetIndex) -> None:
    train, val = pets.train[:8], pets.train[8:]
    rows = split_rows(with_split(pets, train, val))
    assert [row.part for row in rows] == ["train"] * 8 + ["val"] * 4 + ["test"] * 10
    names = [relative_name(record.image, pets.root) for record in (*pets.train, *pets.test)]
    assert [row.file for row in rows] == names
    sizes = [Path(str(record.image)).stat().st_size for record in (*pets.train, *pets.test)]
    assert [row.bytes for row in rows] == sizes


def test_a_test_image_that_chose_the_epoch_is_val(pets: pw.DatasetIndex) -> None:
    """The setting `val_from` "test" validates on a part of the test split."""
    rows = split_rows(with_split(pets, pets.train, pets.test[:3]))
    assert [row.part for row in rows[12:]] == ["val"] * 3 + ["test"] * 7


def test_a_round_trip_keeps_all_names(tmp_path: Path) -> None:
    rows = [
        SplitRow('a "b", c.jpg', "train", "video 1", 12),
        SplitRow("line\nbreak.jpg", "val", None, 0),
        SplitRow("bild-ä-\udce9.jpg", "test", "grün", None),
    ]
    assert write_split(tmp_path, rows).name == "split.csv"
    assert read_split(tmp_path) == rows


def test_a_run_of_an_earlier_version_has_no_rows(tmp_path: Path) -> None:
    assert read_split(tmp_path) is None


@pytest.mark.parametrize("text", ["file,part,group,bytes\na.jpg,other,,\n", "file,part\n,train\n", "a.jpg,train,,x\n"])
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_text(text if text.startswith("file") else f"file,part,group,bytes\n{text}")
    with pytest.raises(RunError, match=r"split\.csv: cannot be read"):
        read_split(tmp_path)


def test_roots_are_absolute(pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(pets.root, Path)
    monkeypatch.chdir(pets.root.parent)
    moved = replace(pets, root=Path(pets.root.name))
    assert data_roots(moved) == (pets.root.as_posix(),)
    joined = replace(pets, root="a + b", sets=(moved, replace(pets, root="s3://bucket/pets")))
    assert data_roots(joined) == (pets.root.as_posix(), "s3://bucket/pets")


def test_a_training_writes_it(tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
    rows = read_split(tiny_run.path)
    assert rows is not None
    by_part = {part: [row.file for row in rows if row.part == part] for part in ("train", "val", "test")}
    assert sorted(by_part["train"] + by_part["val"]) == sorted(
        relative_name(record.image, pets.root) for record in pets.train
    )
    assert by_part["val"] and len(by_part["test"]) == len(pets.test)
    assert tiny_run.read_dataset_spec().root == str(pets.root)  # type: ignore[union-attr]
    record = Record(Path(str(pets.root)) / by_part["val"][0], None)
    assert relative_name(record.image, pets.root) == by_part["val"][0]
