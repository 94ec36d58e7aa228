"""Tables: columns, rows, Parquet, and damaged files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.io.parquet import CHUNKS
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, FormatResult, ReadSpec
from pixelwise.errors import DataError
from tests.data.formats.support import CLASSES, channels_of, file_of, label_map_of, path_of, read_as, write_table
from tests.data.formats.writers import tables
from tests.data.formats.writers.folders import Sample, lines, save
from tests.data.formats.writers.tables import png, write_parquet

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # Python 3.12 warns about a fork in a process with threads, which torch and pyarrow start.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def test_a_table_can_be_the_root_and_has_groups_and_strata(folder: Path) -> None:
    path = write_table(
        folder,
        "IMG,segmentation,Subset,Group,stratum,note",
        'a/0.png,m/0.png,Training,video 1,cat,"two\nlines"',
        "a/1.png,m/1.png,dev,video 2,,",
        "a/2.png,m/2.png,TEST,,dog,",
    )
    for root in (path, folder):
        name, result = detect_format(root)
        assert name == "table" and result.issues == ()
        assert [(len(getattr(result, split))) for split in SPLITS] == [1, 1, 1]
        assert [(r.group, r.stratum) for r in result.records] == [("video 1", "cat"), ("video 2", None), (None, "dog")]


def test_the_name_of_a_table_is_the_split_of_its_rows(folder: Path) -> None:
    for name, index in (("pets_train.csv", 0), ("pets_val.csv", 1), ("pets_test.csv", 2)):
        lines(folder / name, ["image,mask", f"a/{index}.png,m/{index}.png"])
    result = read_as("table", folder)
    assert [record.image.name for record in (*result.train, *result.val, *result.test)] == ["0.png", "1.png", "2.png"]
    lines(folder / "pets_valid.csv", ["image,mask", "a/3.png,m/3.png"])
    with pytest.raises(
        DataError, match=r"pets_test.csv: lists images and masks, as .*pets_train.csv does; use one of the files"
    ):
        read_as("table", folder)


def test_the_first_rows_choose_between_columns(folder: Path) -> None:
    path = write_table(folder, "file,label,mask,mask_area", "a/0.png,cat,m/0.png,17", "a/1.png,dog,m/1.png,3")
    for root in (path, folder):
        assert [path_of(record.mask).name for record in read_as("table", root).train] == ["0.png", "1.png"]
    path = write_table(folder, "image,mask_sky,mask_area", "a/0.png,m/0.png,17", "a/1.png,,")
    result = read_as("table", path)
    assert result.classes == ("sky",) and channels_of(result.train[1].mask) == (None,)


def test_tables_without_images_are_not_accepted(folder: Path) -> None:
    for header, row in (
        ("name,r,g,b", "cat,1,2,3"),
        ("Pixel Value, Class", "0, cat"),
        ("image,label", "a/0.png,cat"),
        ("img,rle_mask", "a/0.png,1 5 9"),
        ("image,mask", ""),
    ):
        path = write_table(folder, header, row)
        assert FORMATS["table"].component(folder) is None
    path.write_text("")
    assert FORMATS["table"].component(folder) is None
    assert FORMATS["table"].component(folder / "a") is None and FORMATS["table"].component(folder / "missing") is None
    assert FORMATS["table"].component(folder / "a" / "0.png") is None


ROW = "a/0.png,m/0.png"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["image,mask", ROW, "", ROW + ",x"], "data.csv, line 4: has 3 cells, but the first line has 2"),
        (["image,mask", ROW, "a/1.png"], "data.csv, line 3: has 1 cells"),
        (["image,mask", ROW, '"a/1\n.png",m/1.png', 'a/2.png,"m'], "data.csv, line 5: cannot be read as CSV"),
        (["image,mask", ROW, '"a"b,m'], "data.csv, line 3: cannot be read as CSV"),
        (["image,mask,split", ROW + ",train", "a/1.png,m/1.png,trian"], "data.csv, line 3: the split 'trian' is unk"),
        (["image,mask,split", ROW + ","], "data.csv, line 2: the split '' is unknown; write one of: train, training"),
        (["image,file,mask", "a/0.png," + ROW], "data.csv: the columns 'image' and 'file' may both be the image"),
        (["image,mask,label", ROW + ",m/1.png"], "data.csv: the columns 'mask' and 'label' may both be the mask"),
        (["image,mask,mask:cat", ROW + ",m/1.png"], "data.csv: the columns 'mask' and 'mask:cat' may both be the mask"),
        (["image,mask:a,mask:a", ROW + ",m/1.png"], "data.csv: two columns are masks of 'a'"),
        (["image,mask,split,subset", ROW + ",a,b"], "data.csv: the columns 'split' and 'subset' may both be the split"),
        (["photo;Größe", "a/0.png;3"], "data.csv: needs a column 'image' and a column 'mask'"),
        ([], "data.csv: needs a column 'image' and a column 'mask'"),
    ],
)
def test_damaged_rows_and_columns_raise_with_the_line(rows: list[str], message: str, folder: Path) -> None:
    path = write_table(folder, *rows)
    with pytest.raises(DataError) as error:
        detect_format(path)
    assert str(error.value).startswith(f"{folder}/{message}") and "\n" not in str(error.value)


def test_unreadable_tables_raise_with_their_path(folder: Path) -> None:
    path = folder / "data.csv"
    path.write_bytes(b"image,mask\na/\xff.png,m/0.png\n")
    with pytest.raises(DataError, match=f"{path}: is not UTF-8 text"):
        read_as("table", path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{path}: cannot be read \\(not a file"):
        read_as("table", path)
    assert FORMATS["table"].component(folder) is None
    damaged = folder / "data.parquet"
    damaged.write_bytes(b"PAR1 nothing PAR1")
    for root in (damaged, folder):
        with pytest.raises(DataError, match=f"{damaged}: cannot be read"):
            read_as("table", root)
    save(folder / "masks" / "0.png", np.zeros((3, 3), np.uint8))
    assert FORMATS["table"].component(folder) is None, "an unrelated file next to a folder of masks"
    lines(folder / "a" / "1.csv", ["image,mask", "0.png,../m/0.png"])
    lines(folder / "a" / "2.csv", ["image,mask", "0.png,../m/0.png"])
    with pytest.raises(DataError, match=f"{folder}/a/1.csv: lists images and masks, as {folder}/a/2.csv does"):
        detect_format(folder / "a")


def test_unusable_rows_are_issues(folder: Path) -> None:
    path = write_table(
        folder,
        "image,mask",
        "a/0.png,m/0.png",
        "a/1.png,",
        "a/2.png,m/none.png",
        "a/none.png,m/3.png",
        ",m/4.png",
        "a/../a/0.png,m/5.png",
    )
    result = read_as("table", path)
    assert [record.image.name for record in result.records] == ["0.png"]
    assert [(issue.kind, issue.file, issue.severity) for issue in result.issues] == [
        ("missing mask", f"{folder}/a/1.png", "error"),
        ("missing mask", f"{folder}/m/none.png", "error"),
        ("missing image", f"{folder}/a/none.png", "error"),
        ("missing image", f"{path}, line 6", "error"),
        ("image listed twice", f"{path}, line 7", "error"),
    ]
    assert "line 2" in result.issues[-1].message and f"{path}, line 4" in result.issues[1].message
    with pytest.raises(DataError, match=r"a/1.png: has no mask in .* \(and 4 more\)"):
        load_dataset(path)
    assert len(load_dataset(path, skip_unreadable=True).train) == 1


def test_row_groups_are_read_once_and_few_are_kept(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [samples[index % 6] for index in range(60)]
    columns = {
        "image": [None if i == 7 else png(np.full((4, 4, 3), i, np.uint8)) for i in range(60)],
        "mask": [{"bytes": None if i == 9 else png(sample.mask), "path": None} for i, sample in enumerate(rows)],
    }
    write_parquet(tmp_path, columns, row_group_size=5)
    result = read_as("table", tmp_path)
    assert [(issue.kind, issue.file) for issue in result.issues] == [
        ("missing image", f"{tmp_path}/data.parquet, row 8"),
        ("missing mask", f"{tmp_path}/data.parquet, row 10, image"),
    ]
    CHUNKS.clear()
    for record, index in zip(result.train, [i for i in range(60) if i not in (7, 9)], strict=True):
        assert read_image(record.image)[0, 0, 0] == index
        assert file_of(record.mask).read_bytes() == png(rows[index].mask)
        assert len(CHUNKS) <= 4
    monkeypatch.setattr(CHUNKS, "max_bytes", 100)
    CHUNKS.clear()
    for record in result.train:
        read_image(record.image)
        file_of(record.mask).read_bytes()
        assert len(CHUNKS) <= 2
    (tmp_path / "data.parquet").unlink()
    assert read_image(result.train[-1].image)[0, 0, 0] == 59, "its row group is in the cache"
    with pytest.raises(DataError, match=r"data.parquet, row 1, image: the file is missing"):
        read_image(result.train[0].image)


def test_an_invalid_image_raises_with_its_cell(tmp_path: Path) -> None:
    write_parquet(tmp_path, {"image": [b"no image", png(np.zeros((2, 2), np.uint8))], "mask": [b"x", b"y"]})
    record = read_as("table", tmp_path).train[0]
    with pytest.raises(DataError, match=r"data.parquet, row 1, image: not an image"):
        read_image(record.image)


def test_paths_in_parquet_cells_are_resolved(folder: Path) -> None:
    columns = {
        "image": [{"bytes": None, "path": "a/0.png"}, {"bytes": None, "path": "a/none.png"}],
        "mask": [{"bytes": None, "path": (folder / "m" / "0.png").as_uri()}, {"bytes": None, "path": "m/1.png"}],
    }
    write_parquet(folder, columns)
    result = read_as("table", folder)
    assert [record.image for record in result.train] == [folder / "a/0.png"]
    assert [issue.file for issue in result.issues] == [f"{folder}/a/none.png"]


CELL = st.sampled_from(
    ["image", "mask", "split", "mask:a", "label", "a/0.png", "m/0.png", "train", "s3://b/k.png", "http://[", '"', ",",
     "\n", ";", "\t", "|", "\r", "\ufeff", "\0", "\\", "..", "/", "猫.png", "file://", "x" * 300 + ".png"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    text=st.one_of(
        st.lists(CELL, max_size=40).map("".join),
        st.lists(st.lists(CELL | st.text(max_size=8), max_size=4).map(",".join), max_size=6).map(
            lambda rows: "\n".join(["image,mask,split", *rows])
        ),
        st.text(max_size=200),
    ),
    suffix=st.sampled_from(["csv", "tsv"]),
    head=st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x80"]),
)
def test_any_text_is_read_or_raises_data_error(text: str, suffix: str, head: bytes, folder: Path) -> None:
    path = folder / f"any.{suffix}"
    path.write_bytes(head + text.encode("utf-8", "surrogatepass"))
    for root in (path, folder):
        try:
            result = FORMATS["table"].component(root)
        except DataError as error:
            assert str(error).startswith(str(folder)) and "\n" not in str(error)
        else:
            assert result is None or isinstance(result, FormatResult)
    path.unlink()


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 5000), value=st.integers(0, 255), cut=st.integers(0, 5000))
def test_any_parquet_is_read_or_raises_data_error(
    at: int, value: int, cut: int, tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    if not folder.exists():
        tables.write_parquet_bytes(folder, samples, CLASSES)
        (folder / "data.parquet").rename(folder / "original")
    content = bytearray((folder / "original").read_bytes())
    content[at % len(content)] = value
    path = folder / "damaged.parquet"
    path.write_bytes(content[: len(content) - (cut if cut % 2 else 0)])
    try:
        result = FORMATS["table"].component(path)
        for record in () if result is None else result.records:
            read_image(record.image)
    except DataError as error:
        assert str(error).startswith(str(folder)) and "\n" not in str(error)


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    for value in (3, 9):
        write_parquet(tmp_path, {"image": [png(np.full((2, 2, 3), value, np.uint8))], "mask": [b"x"]})
        os.utime(tmp_path / "data.parquet", ns=(value, value))
        (record,) = read_as("table", tmp_path).train
        assert read_image(record.image)[0, 0, 0] == value


def test_records_of_a_table_give_the_same_training_items(pets_folder: Path, tmp_path: Path) -> None:
    from pixelwise.data.torch_dataset import SegmentationDataset

    result = detect_format(pets_folder)[1]
    columns = {
        "image": [record.image.read_bytes() for record in result.train],
        "mask": [file_of(record.mask).read_bytes() for record in result.train],
    }
    write_parquet(tmp_path, columns, row_group_size=3)
    spec = ReadSpec(label_map_of(result))
    expected = SegmentationDataset(result.train, spec, 32)
    items = SegmentationDataset(read_as("table", tmp_path).train, spec, 32)
    for index in range(len(expected)):
        for item, original in zip(items[index], expected[index], strict=True):
            assert np.array_equal(item, original)


def test_json_lines_are_a_table(folder: Path) -> None:
    rows = [
        {"image": f"a/{n}.png", "mask": f"m/{n}.png", "split": "train" if n < 4 else "val", "notes": None}
        for n in range(6)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8-sig")
    result = read_as("table", folder)
    assert [len(getattr(result, split)) for split in SPLITS] == [4, 2, 0]
    assert read_as("table", folder / "data.jsonl").val == result.val
    (folder / "data.jsonl").write_text(text + "{broken\n" + text)
    with pytest.raises(DataError, match="line 7: is not a JSON object"):
        load_dataset(folder)


def test_json_lines_of_other_programs_are_not_accepted(folder: Path) -> None:
    (folder / "data.jsonl").write_text('{"data": {"image": "a/0.png"}, "id": 1}\n[1]\n')
    assert FORMATS["table"].component(folder) is None
