"""The images of an evaluation: test, else those that were held out; warnings about images that were trained on."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.data.schema import Record, Split
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import DataError
from pixelwise.evaluation.selection import Selection, load_run_data, select_images
from pixelwise.runs.group import Member, RunGroup
from pixelwise.runs.split_file import SplitRow, read_split, relative_name, write_split


@pytest.fixture
def run(tiny_run: pw.Run, tmp_path: Path) -> pw.Run:
    """Copy the settings and the lists of the finished run, without its model."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "data.yaml", "split.csv"):
        shutil.copy(tiny_run.path / name, folder)
    return pw.Run.open(folder)


def names(records: Sequence[Record]) -> set[str]:
    return {Path(str(record.image)).name for record in records}


def files(run: pw.Run, part: str) -> set[str]:
    return {Path(row.file).name for row in read_split(run.path) or () if row.part == part}


class TestChoice:
    def test_the_test_split_comes_first(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        found = select_images(run, pets, None)
        assert (found.split, found.records, found.reason) == ("test", pets.test, "the test split of the data set")
        assert (found.warning, found.note) == ("", "")

    def test_without_a_test_split_the_held_out_images_are_used(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        found = select_images(run, replace(pets, test=()), None)
        assert found.split == "val" and "held out" in found.reason
        assert names(found.records) == files(run, "val") and found.records
        assert found.warning == "" and "the best epoch was chosen on these images" in found.note

    def test_the_held_out_images_can_be_named(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        assert names(select_images(run, pets, "val").records) == files(run, "val")

    def test_a_val_split_of_the_data_set_is_used(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        data = replace(pets, val=pets.test[:3], test=())
        found = select_images(run, data, None)
        assert (found.split, found.records) == ("val", pets.test[:3])

    def test_all_images_of_other_data_are_used(self, run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        folder = tmp_path / "others"
        folder.mkdir()
        records = tuple(replace(record, image=folder / f"{index}.jpg") for index, record in enumerate(pets.train[:3]))
        for index in range(3):
            (folder / f"{index}.jpg").write_bytes(b"other")
        found = select_images(run, replace(pets, root=folder, train=records, test=()), None)
        assert (found.split, found.records, found.warning) == ("all", records, "")

    def test_data_without_held_out_images_is_an_error(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        rows = read_split(run.path)
        assert rows is not None
        data = replace(pets, train=tuple(record for record in pets.train if names([record]) <= files(run, "train")))
        with pytest.raises(DataError, match="no test or val split, and the training used all of its images"):
            select_images(run, replace(data, test=()), None)
        (run.path / "split.csv").unlink()
        with pytest.raises(DataError, match=r"and the run has no split\.csv; choose a `split`"):
            select_images(run, replace(data, test=()), None)


class TestImagesThatWereTrainedOn:
    def test_the_train_split_gives_a_warning(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        found = select_images(run, pets, "train")
        assert {Path(name).name for name in found.trained_on} == files(run, "train")
        assert found.chose_epoch == len(files(run, "val"))
        assert f"trained on {len(found.trained_on)} of these {len(pets.train)} images" in found.warning

    def test_a_moved_data_set_is_recognized(
        self, run: pw.Run, pets: pw.DatasetIndex, pets_folder: Path, tmp_path: Path
    ) -> None:
        moved = pw.load_dataset(shutil.copytree(pets_folder, tmp_path / "moved"))
        assert len(select_images(run, moved, "train").trained_on) == len(files(run, "train"))
        assert names(select_images(run, replace(moved, test=()), None).records) == files(run, "val")

    def test_other_images_with_the_same_names_are_not(
        self, run: pw.Run, pets: pw.DatasetIndex, pets_folder: Path, tmp_path: Path
    ) -> None:
        moved = pw.load_dataset(shutil.copytree(pets_folder, tmp_path / "moved"))
        for record in moved.train:
            with Path(str(record.image)).open("ab") as file:
                file.write(b"another image")
        assert select_images(run, moved, "train").warning == ""

    def test_copies_under_other_names_are_found(self, run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        (train,) = [record for record in pets.train if names([record]) <= files(run, "train")][:1]
        copied, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
        content = Path(str(train.image)).read_bytes()
        copied.write_bytes(content)
        other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
        data = replace(pets, root=tmp_path, train=(), test=(replace(train, image=copied), replace(train, image=other)))
        assert select_images(run, data, None).trained_on == ("a.jpg",)

    def test_an_image_that_one_run_of_a_group_trained_on_was_trained_on(
        self, run: pw.Run, pets: pw.DatasetIndex
    ) -> None:
        rows = read_split(run.path)
        assert rows is not None
        (run.path / "split.csv").unlink()
        other: dict[Split, Split] = {"train": "val", "val": "train", "test": "test"}
        for name, swaps in (("fold-1", True), ("fold-2", False)):
            (run.path / name).mkdir()
            write_split(run.path / name, [replace(row, part=other[row.part]) if swaps else row for row in rows])
        members = tuple(Member(name=name, train_images=4, val_images=4) for name in ("fold-1", "fold-2"))
        RunGroup(run.path, "folds", MULTICLASS, members).write()
        found = select_images(run, pets, "train")
        assert len(found.trained_on) == len(found.records) and found.unchecked == "" and found.chose_epoch == 0
        with pytest.raises(DataError, match="the training used all of its images"):
            select_images(run, replace(pets, test=()), None)

    def test_a_run_without_split_csv_says_so(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        (run.path / "split.csv").unlink()
        found = select_images(run, pets, None)
        assert (found.split, found.warning) == ("test", "") and "not known" in found.note


def test_groups_of_the_training_are_kept(run: pw.Run, pets: pw.DatasetIndex) -> None:
    rows = [
        SplitRow(relative_name(record.image, pets.root), "val", f"video {index % 2}")
        for index, record in enumerate(pets.train)
    ]
    write_split(run.path, rows)
    found = select_images(run, replace(pets, test=()), None)
    assert found.groups == ("video 0", "video 1") * 6


def test_the_warning_names_an_example() -> None:
    found = Selection("test", (), "", (), trained_on=("images/1.jpg", "images/2.jpg"))
    assert "for example images/1.jpg" in found.warning


class TestDataOfTheRun:
    def test_it_is_loaded_from_where_it_was(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        data = load_run_data(run)
        assert data.classes == pets.classes and names(data.test) == names(pets.test)

    def test_data_that_is_gone_is_one_line_with_the_fix(self, run: pw.Run, tmp_path: Path) -> None:
        file = run.path / "data.yaml"
        file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("root:")))
        with pytest.raises(DataError, match="does not store where its data set is; give `data`"):
            load_run_data(run)
        file.write_text(file.read_text() + f"root: {tmp_path / 'gone'}\n")
        with pytest.raises(DataError, match=r"gone: the data set of .* is no longer there; give its new place as `d"):
            load_run_data(run)
