"""Tables of run lengths: columns, classes, orders of pixels, and damaged rows."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats._rle_tables import parse_runs
from pixelwise.data.formats.registry import detect_format
from pixelwise.data.load import load_dataset
from pixelwise.errors import AnnotationError, DataError
from tests.data.formats.support import read_as, touch
from tests.data.formats.writers.folders import lines, save
from tests.data.formats.writers.labeling import encoded_pixels


def disc(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - height // 2) ** 2 + (columns - width // 3) ** 2 < (height // 3) ** 2


def write(folder: Path, *rows: str, head: str = "ImageId,EncodedPixels", name: str = "train.csv") -> Path:
    """Write train.csv and images of 30x20 pixels with the names in its first column. Return the folder."""
    for row in rows:
        save(folder / "train_images" / row.split(",")[0].strip('"'), np.zeros((20, 30, 3), np.uint8))
    lines(folder / name, [head, *rows])
    return folder


def masks(root: Path) -> dict[str, np.ndarray]:
    """Return image → mask of all records."""
    data = load_dataset(root)
    return {record.image.name: data.read(record)[1] for record in (*data.train, *data.val, *data.test)}


def test_a_row_for_each_object_as_in_airbus(tmp_path: Path) -> None:
    first, second = np.zeros((2, 20, 30), bool)
    first[2:9, 3:7], second[10:20, 0:30] = True, True
    write(tmp_path, f"a.png,{encoded_pixels(first)}", f"a.png,{encoded_pixels(second)}", "b.png,", "c.png,-1")
    assert load_dataset(tmp_path).classes == ("background", "foreground")
    read = masks(tmp_path)
    assert np.array_equal(read["a.png"], first | second) and not read["b.png"].any() and not read["c.png"].any()
    assert len(read) == 3


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("ImageId,ClassId,EncodedPixels", ("a.png,3,1 5", "a.png,10,31 2")),
        ("EncodedPixels;ClassId;Image Id", ("1 5;3.0;a.png", "31 2;10.0;a.png")),
        ("id\tlabel\trle", ("a\t3\t1 5", "a\t10\t31 2")),
        ("ImageId_ClassId,EncodedPixels", ("a.png_3,1 5", "a.png_10,31 2")),
        ("img,class,rle_mask,notes", ('"a.png",3,"1 5","x, y"', "a.png,10,31 2,")),
    ],
)
def test_columns_and_delimiters(head: str, rows: tuple[str, ...], tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((20, 30, 3), np.uint8))
    lines(tmp_path / "data.csv", [head, *rows])
    data = load_dataset(tmp_path)
    assert data.format == "run-lengths" and data.classes == ("background", "3", "10")
    expected = np.zeros((20, 30), np.uint8)
    expected[:5, 0], expected[10:12, 1] = 1, 2
    assert np.array_equal(data.read(data.train[0])[1], expected)


def test_the_table_itself_can_be_the_data_set(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1 5")
    data = load_dataset(tmp_path / "train.csv")
    assert data.format == "run-lengths" and len(data.train) == 1


def test_tables_of_images_are_not_run_lengths(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        save(tmp_path / folder / "a.png", np.full((20, 30), 0, np.uint8))
    lines(tmp_path / "train.csv", ["image,mask", "images/a.png,masks/a.png"])
    assert detect_format(tmp_path)[0] == "table" == detect_format(tmp_path / "train.csv")[0]


@pytest.mark.parametrize("by_row", [False, True])
def test_the_order_of_pixels_is_that_of_the_numbers(by_row: bool, tmp_path: Path) -> None:
    mask = disc(20, 30)
    write(tmp_path, f"a.png,{encoded_pixels(mask, by_row)}")
    assert np.array_equal(masks(tmp_path)["a.png"], mask)
    issues = read_as("run-lengths", tmp_path).issues
    assert [issue.kind for issue in issues] == ["order of pixels"] * by_row


def test_names_without_suffix_do_not_match_masks(tmp_path: Path) -> None:
    for folder in ("train/images", "train/masks"):
        save(tmp_path / folder / "575d24d81d.png", np.zeros((20, 30, 3), np.uint8))
    lines(tmp_path / "train.csv", ["id,rle_mask", "575d24d81d,1 5"])
    (record,) = read_as("run-lengths", tmp_path / "train.csv").train
    assert record.image == tmp_path / "train" / "images" / "575d24d81d.png"
    assert detect_format(tmp_path)[0] == "folders", "the folder has the masks as files too"


def test_submissions_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1 5")
    lines(tmp_path / "sample_submission.csv", ["ImageId,EncodedPixels", "a.png,1 1"])
    assert masks(tmp_path)["a.png"].sum() == 5
    (issue,) = read_as("run-lengths", tmp_path).issues
    assert (issue.kind, issue.severity) == ("table left out", "warning")


@pytest.mark.parametrize("head", ["ImageId,0", "ImageId", "\0"])
def test_tables_without_run_lengths_are_named(head: str, tmp_path: Path) -> None:
    """A damaged val.csv must not become a data set without a validation split, without a word."""
    write(tmp_path, "a.png,1 5")
    lines(tmp_path / "val.csv", [head, "b.png,1 5"])
    (message,) = (text for text in load_dataset(tmp_path).messages if "left out" in text)
    assert str(tmp_path / "val.csv") in message and "no columns of images and run lengths" in message


def test_unlisted_images_are_a_warning_whose_advice_works(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1 5")
    touch(tmp_path / "test_images", "z.png")
    save(tmp_path / "train_images" / "b.png", np.zeros((20, 30, 3), np.uint8))
    (issue,) = read_as("run-lengths", tmp_path).issues
    assert "does not list 1 image of the same folders, for example b.png" in issue.message
    assert "add a row with an empty cell" in issue.message
    lines(tmp_path / "train.csv", ["ImageId,EncodedPixels", "a.png,1 5", "b.png,"])
    assert read_as("run-lengths", tmp_path).issues == () and len(load_dataset(tmp_path).train) == 2


def test_missing_images_are_named_once(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1 5")
    lines(tmp_path / "train.csv", ["ImageId,EncodedPixels", "a.png,1 5", "x.png,1 5", "x.png,9 5"])
    with pytest.raises(DataError, match=r"train.csv, line 3: no such image here: x.png; add it.*rows; ") as error:
        load_dataset(tmp_path)
    assert "more)" not in str(error.value)
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


def test_two_tables_of_the_same_images_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1 5")
    write(tmp_path, "a.png,1 5", name="train_v2.csv")
    with pytest.raises(DataError, match=r"train_v2.csv, line 2: lists a.png, as .*train.csv, line 2 does; use one"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path / "train_v2.csv").train) == 1


def test_cells_of_any_length_are_read(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((200, 400)) < 0.5
    save(tmp_path / "a.png", np.zeros((200, 400, 3), np.uint8))
    runs = encoded_pixels(mask)
    assert len(runs) > 131_072, "longer than the module csv reads"
    for cell in (runs, f'"{runs}"'):
        lines(tmp_path / "train.csv", ["ImageId,EncodedPixels", f"a.png,{cell}"])
        assert np.array_equal(masks(tmp_path)["a.png"], mask)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1 5 7", "must be pairs of a start and a length"),
        ("1 x", "must be numbers"),
        ("1 99999999999999999999", "must be numbers"),
        ("1 9999999999", "numbers over .* the maximum number of pixels"),
        ("0 4", "must count pixels from 1"),
        ("4 0", "lengths must be 1 or more"),
        ("9 3 2 1", "ascending order"),
        ("3 4 6 1", "ascending order"),
    ],
)
def test_damaged_rows_are_named_and_their_image_can_be_skipped(cell: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=message):
        parse_runs(cell)
    write(tmp_path, "b.png,1 5", f"a.png,{cell}", "a.png,1 5")
    with pytest.raises(DataError, match=rf"train.csv, line 3: a.png: .*{message}"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, skip_unreadable=True)
    assert [record.image.name for record in data.train] == ["b.png"]


def test_a_row_with_another_number_of_cells_and_one_without_class_are_errors(tmp_path: Path) -> None:
    write(tmp_path, "a.png,1,1 5", "b.png,,1 5", head="ImageId,ClassId,EncodedPixels")
    with pytest.raises(DataError, match=r"line 3: b.png: names no class; fix or remove the row"):
        load_dataset(tmp_path)
    write(tmp_path, "a.png,1,1 5", "b.png,1 5", head="ImageId,ClassId,EncodedPixels")
    with pytest.raises(DataError, match=r"line 3: has 2 cells, but the first line has 3"):
        load_dataset(tmp_path)


def test_runs_that_end_outside_the_image_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.png,599 3")
    data = load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"train.csv, line 2: run lengths end at pixel 601, but 30x20 pixels are 600"):
        data.read(data.train[0])
