"""Tables of images and Hugging Face's data sets: read back as written, from anywhere, and told where they are wrong."""

import builtins
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.io import parquet as cells
from pixelwise.data.io.image import count_channels, read_image
from pixelwise.data.io.mask import read_mask
from pixelwise.data.io.parquet import CHUNKS, ChunkStore, TableCell
from pixelwise.data.io.remote import RemoteFile, local_path
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap, ReadSpec
from pixelwise.errors import DataError
from tests.data.formats.writers import tables
from tests.data.formats.writers.folders import Sample, draw_scenes, lines, save
from tests.data.formats.writers.tables import NO_SPLITS, WRITERS, hf_dataset, png, write_parquet

CLASSES = ("background", "cat", "猫 dog")
NAMES = ("scene 1", "a_1", "猫 3", "b.2", "1", "10%20")

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # Python 3.12 warns of every fork in a process that has threads, which torch and pyarrow have.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test; all classes and void in each."""
    return draw_scenes(NAMES, (0, 1, 2, 255))


def check_same(writer: str, found: Any, masks: LabelMap, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Every sample is there once, in its split, with its own mask, pixel for pixel."""
    left = {sample.image.tobytes(): sample for sample in samples}
    for split in SPLITS:
        for record in getattr(found, split):
            sample = left.pop(read_image(record.image).tobytes())
            assert split == ("train" if writer in NO_SPLITS else sample.split)
            mask = read_mask(record.mask, masks, sample.mask.shape)
            if masks.kind == "multilabel":
                for index, layer in enumerate(mask):
                    assert np.array_equal(layer, sample.mask == index)
            else:
                assert np.array_equal(mask, sample.mask)
    assert not left


def encoding(layout: FormatResult, classes: Sequence[str]) -> LabelMap:
    if layout.label_map is not None:
        assert (layout.label_map, layout.classes) == (LabelMap("multilabel"), tuple(classes))
        return LabelMap("multilabel", {0: 0, 255: 1})
    return LabelMap("index", {index: index for index in (*range(len(classes)), 255)})


# --- every writer


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    layout = FORMATS[format].component(tmp_path)
    assert layout is not None and layout.issues == ()
    assert tuple(layout.class_names or layout.classes) == CLASSES
    check_same(writer, layout, encoding(layout, CLASSES), samples, CLASSES)
    data = load_dataset(tmp_path)
    assert (data.format, data.classes) == (format, CLASSES)
    check_same(writer, data, data.read_spec.label_map, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_litter_changes_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "._1.png", ".x.csv", "notes.md", "README", "1.xml", ".cache.parquet"):
            (folder / name).write_bytes(b"x")
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "sizes.tsv").write_bytes(b"\xff\xfe\x00 no text, image, label")
    (tmp_path / "breeds.csv").write_text("image,label\n1.png,cat\n2.png,dog\n")
    assert detect_format(tmp_path)[0] == format
    layout = FORMATS[format].component(tmp_path)
    assert layout is not None
    check_same(writer, layout, encoding(layout, CLASSES), samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_records_travel_to_other_processes(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    layout = FORMATS[format].component(tmp_path)
    assert layout is not None
    wanted = [read_image(record.image).tobytes() for record in layout.records]
    sent = pickle.dumps(layout.records)
    assert len(sent) < 1000 * len(samples), "no image is in a record"
    images = [record.image for record in pickle.loads(sent)]
    assert [read_image(image).tobytes() for image in images] == wanted
    with ThreadPoolExecutor(8) as pool:
        assert [each.tobytes() for each in pool.map(read_image, images * 5)] == wanted * 5
    if "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(2) as workers:
            assert [each.tobytes() for each in workers.map(read_image, images)] == wanted


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, layout = detect_format(tmp_path)
    assert name == format and layout.issues == ()
    check_same(writer, layout, encoding(layout, classes), samples, classes)


# --- tables


@pytest.fixture
def folder(samples: list[Sample], tmp_path: Path) -> Path:
    """Images a/0.png … and masks m/0.png …, no table yet; in folders whose names say nothing."""
    for index, sample in enumerate(samples):
        save(tmp_path / "a" / f"{index}.png", sample.image)
        save(tmp_path / "m" / f"{index}.png", sample.mask)
    return tmp_path


def table(folder: Path, *rows: str) -> Path:
    lines(folder / "data.csv", rows)
    return folder / "data.csv"


def test_a_file_is_a_root_and_group_and_stratum_are_kept(folder: Path) -> None:
    path = table(
        folder,
        "IMG,segmentation,Subset,Group,stratum,note",
        'a/0.png,m/0.png,Training,video 1,cat,"two\nlines"',
        "a/1.png,m/1.png,dev,video 2,,",
        "a/2.png,m/2.png,TEST,,dog,",
    )
    for root in (path, folder):
        name, layout = detect_format(root)
        assert name == "table" and layout.issues == ()
        assert [(len(getattr(layout, split))) for split in SPLITS] == [1, 1, 1]
        assert [(r.group, r.stratum) for r in layout.records] == [("video 1", "cat"), ("video 2", None), (None, "dog")]


def test_a_name_of_a_table_is_the_split_of_its_rows(folder: Path) -> None:
    for name, index in (("pets_train.csv", 0), ("pets_val.csv", 1), ("pets_test.csv", 2)):
        lines(folder / name, ["image,mask", f"a/{index}.png,m/{index}.png"])
    layout = FORMATS["table"].component(folder)
    assert [record.image.name for record in (*layout.train, *layout.val, *layout.test)] == ["0.png", "1.png", "2.png"]
    lines(folder / "pets_valid.csv", ["image,mask", "a/3.png,m/3.png"])
    with pytest.raises(DataError, match=r"pets_test.csv: lists images and masks, as .*pets_train.csv does; point DATA"):
        FORMATS["table"].component(folder)


def test_columns_are_told_by_what_they_hold(folder: Path) -> None:
    path = table(folder, "file,label,mask,mask_area", "a/0.png,cat,m/0.png,17", "a/1.png,dog,m/1.png,3")
    for root in (path, folder):
        assert [record.mask.name for record in FORMATS["table"].component(root).train] == ["0.png", "1.png"]
    path = table(folder, "image,mask_sky,mask_area", "a/0.png,m/0.png,17", "a/1.png,,")
    layout = FORMATS["table"].component(path)
    assert layout.classes == ("sky",) and layout.train[1].mask.channels == (None,)


def test_other_tables_are_no_tables_of_images(folder: Path) -> None:
    for header, row in (
        ("name,r,g,b", "cat,1,2,3"),
        ("Pixel Value, Class", "0, cat"),
        ("image,label", "a/0.png,cat"),
        ("img,rle_mask", "a/0.png,1 5 9"),
        ("image,mask", ""),
    ):
        path = table(folder, header, row)
        assert FORMATS["table"].component(folder) is None
    path.write_text("")
    assert FORMATS["table"].component(folder) is None
    assert FORMATS["table"].component(folder / "a") is None and FORMATS["table"].component(folder / "missing") is None
    assert FORMATS["table"].component(folder / "a" / "0.png") is None


ROW = "a/0.png,m/0.png"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["image,mask", ROW, "", ROW + ",x"], "data.csv, line 4: has 3 cells, and the first line 2"),
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
def test_what_is_wrong_with_a_table_is_told_with_its_line(rows: list[str], told: str, folder: Path) -> None:
    path = table(folder, *rows)
    with pytest.raises(DataError) as error:
        detect_format(path)
    assert str(error.value).startswith(f"{folder}/{told}") and "\n" not in str(error.value)


def test_tables_that_cannot_be_read_are_named(folder: Path) -> None:
    path = folder / "data.csv"
    path.write_bytes(b"image,mask\na/\xff.png,m/0.png\n")
    with pytest.raises(DataError, match=f"{path}: is not UTF-8 text"):
        FORMATS["table"].component(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{path}: cannot be read \\(not a file"):
        FORMATS["table"].component(path)
    assert FORMATS["table"].component(folder) is None
    broken = folder / "data.parquet"
    broken.write_bytes(b"PAR1 nothing PAR1")
    for root in (broken, folder):
        with pytest.raises(DataError, match=f"{broken}: cannot be read"):
            FORMATS["table"].component(root)
    save(folder / "masks" / "0.png", np.zeros((3, 3), np.uint8))
    assert FORMATS["table"].component(folder) is None, "a file of something else in a folder of masks"
    lines(folder / "a" / "1.csv", ["image,mask", "0.png,../m/0.png"])
    lines(folder / "a" / "2.csv", ["image,mask", "0.png,../m/0.png"])
    with pytest.raises(DataError, match=f"{folder}/a/1.csv: lists images and masks, as {folder}/a/2.csv does"):
        detect_format(folder / "a")


def test_rows_that_cannot_be_used_are_problems(folder: Path) -> None:
    path = table(
        folder,
        "image,mask",
        "a/0.png,m/0.png",
        "a/1.png,",
        "a/2.png,m/none.png",
        "a/none.png,m/3.png",
        ",m/4.png",
        "a/../a/0.png,m/5.png",
    )
    layout = FORMATS["table"].component(path)
    assert [record.image.name for record in layout.records] == ["0.png"]
    assert [(problem.kind, problem.file, problem.severity == "warning") for problem in layout.issues] == [
        ("missing mask", f"{folder}/a/1.png", False),
        ("missing mask", f"{folder}/m/none.png", False),
        ("missing image", f"{folder}/a/none.png", False),
        ("missing image", f"{path}, line 6", False),
        ("image listed twice", f"{path}, line 7", False),
    ]
    assert "line 2" in layout.issues[-1].message and f"{path}, line 4" in layout.issues[1].message
    with pytest.raises(DataError, match=r"a/1.png: has no mask in .* \(and 4 more\)"):
        load_dataset(path)
    assert len(load_dataset(path, skip_unreadable=True).train) == 1


def test_parquet_reads_a_row_group_once_and_keeps_few(samples: list[Sample], tmp_path: Path, monkeypatch: Any) -> None:
    rows = [samples[index % 6] for index in range(60)]
    columns = {
        "image": [None if i == 7 else png(np.full((4, 4, 3), i, np.uint8)) for i in range(60)],
        "mask": [{"bytes": None if i == 9 else png(sample.mask), "path": None} for i, sample in enumerate(rows)],
    }
    write_parquet(tmp_path, columns, row_group_size=5)
    layout = FORMATS["table"].component(tmp_path)
    assert [(problem.kind, problem.file) for problem in layout.issues] == [
        ("missing image", f"{tmp_path}/data.parquet, row 8"),
        ("missing mask", f"{tmp_path}/data.parquet, row 10, image"),
    ]
    CHUNKS.clear()
    for record, index in zip(layout.train, [i for i in range(60) if i not in (7, 9)], strict=True):
        assert read_image(record.image)[0, 0, 0] == index
        assert record.mask.read_bytes() == png(rows[index].mask)
        assert len(CHUNKS._kept) <= 4
    monkeypatch.setattr(cells, "MAX_BYTES", 100)
    CHUNKS.clear()
    for record in layout.train:
        read_image(record.image)
        record.mask.read_bytes()
        assert len(CHUNKS._kept) <= 2
    (tmp_path / "data.parquet").unlink()
    assert read_image(layout.train[-1].image)[0, 0, 0] == 59, "its row group is still kept"
    with pytest.raises(DataError, match=r"data.parquet, row 1, image: the file is missing"):
        read_image(layout.train[0].image)


def test_a_image_that_is_none_is_named_by_its_cell(tmp_path: Path) -> None:
    write_parquet(tmp_path, {"image": [b"no image", png(np.zeros((2, 2), np.uint8))], "mask": [b"x", b"y"]})
    record = FORMATS["table"].component(tmp_path).train[0]
    with pytest.raises(DataError, match=r"data.parquet, row 1, image: not an image"):
        read_image(record.image)


def test_paths_in_cells_of_parquet_are_followed(folder: Path) -> None:
    columns = {
        "image": [{"bytes": None, "path": "a/0.png"}, {"bytes": None, "path": "a/none.png"}],
        "mask": [{"bytes": None, "path": (folder / "m" / "0.png").as_uri()}, {"bytes": None, "path": "m/1.png"}],
    }
    write_parquet(folder, columns)
    layout = FORMATS["table"].component(folder)
    assert [record.image for record in layout.train] == [folder / "a/0.png"]
    assert [problem.file for problem in layout.issues] == [f"{folder}/a/none.png"]


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
def test_any_text_is_a_table_or_told(text: str, suffix: str, head: bytes, folder: Path) -> None:
    path = folder / f"any.{suffix}"
    path.write_bytes(head + text.encode("utf-8", "surrogatepass"))
    for root in (path, folder):
        try:
            layout = FORMATS["table"].component(root)
        except DataError as error:
            assert str(error).startswith(str(folder)) and "\n" not in str(error)
        else:
            assert layout is None or isinstance(layout, FormatResult)
    path.unlink()


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 5000), value=st.integers(0, 255), cut=st.integers(0, 5000))
def test_any_parquet_is_a_table_or_told(
    at: int, value: int, cut: int, tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "broken"
    if not folder.exists():
        tables.write_parquet_bytes(folder, samples, CLASSES)
        (folder / "data.parquet").rename(folder / "whole")
    content = bytearray((folder / "whole").read_bytes())
    content[at % len(content)] = value
    path = folder / "broken.parquet"
    path.write_bytes(content[: len(content) - (cut if cut % 2 else 0)])
    try:
        layout = FORMATS["table"].component(path)
        for record in () if layout is None else layout.records:
            read_image(record.image)
    except DataError as error:
        assert str(error).startswith(str(folder)) and "\n" not in str(error)


# --- elsewhere


def upload(url: str, folder: Path) -> None:
    system, path = fsspec.url_to_fs(url)
    for each in folder.rglob("*"):
        if each.is_file():
            system.pipe_file(f"{path}/{each.relative_to(folder)}", each.read_bytes())


@pytest.mark.parametrize("url", ["memory", "s3"])
def test_images_of_a_table_may_be_elsewhere(
    url: str, samples: list[Sample], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    there = request.getfixturevalue(url)
    found = tables.make_images(tmp_path / "up", samples)
    upload(there, tmp_path / "up")
    rows = [
        f"{there}/{image.relative_to(tmp_path / 'up')},{there}/{mask.relative_to(tmp_path / 'up')},{sample.split}"
        for (image, mask), sample in zip(found, samples, strict=True)
    ]
    path = table(tmp_path, "image,mask,split", *rows)
    lines(tmp_path / "classes.txt", CLASSES)
    data = load_dataset(path)
    assert data.classes == CLASSES
    check_same(url, data, data.read_spec.label_map, samples, CLASSES)
    # A key that is missing is found out on reading.
    lost = str(data.train[0].image)
    system, key = fsspec.url_to_fs(lost)
    system.rm(key)
    with pytest.raises(DataError) as error:
        read_image(data.train[0].image)
    assert str(error.value) == f"{lost}: no such file"


@pytest.mark.parametrize("url", ["memory", "s3"])
@pytest.mark.parametrize("writer", ["csv", "parquet bytes"])
def test_the_table_itself_may_be_elsewhere(
    url: str, writer: str, samples: list[Sample], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    there = request.getfixturevalue(url)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    upload(there, tmp_path)
    name = "data.csv" if writer == "csv" else "data.parquet"
    data = load_dataset(f"{there}/{name}", classes=CLASSES)
    assert data.format == "table"
    check_same(url, data, data.read_spec.label_map, samples, CLASSES)
    with pytest.raises(DataError) as error:
        FORMATS["table"].component(UPath(f"{there}/none-{name}"))
    assert str(error.value).startswith(f"{there}/none-{name}: no such file") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["s3://bucket/1.png", "http://127.0.0.1:9/1.png", "http://127.0.0.1:9/1.tif", "nonsense://x/1.png"]
)
def test_a_place_that_does_not_answer_is_told_in_one_line(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    path = table(folder, "image,mask", f"{url},m/0.png")
    (record,) = FORMATS["table"].component(path).train
    reading = count_channels if url.endswith("tif") else read_image
    with pytest.raises(DataError) as error:
        reading(record.image)
    assert str(error.value).startswith(f"{url}: cannot be read (") and "\n" not in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        record.image.read_bytes()
    # A UPath, as Python callers may put into records, is told alike.
    if "nonsense" not in url:
        with pytest.raises(DataError) as error:
            reading(UPath(url))
        assert str(error.value).startswith(f"{url}: ") and "\n" not in str(error.value)
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()


def test_names_and_neighbors_of_remote_files() -> None:
    web = RemoteFile("https://a.b/c/d.csv?key=1#2")
    assert (web.name, web.beside("../e f.png")) == ("d.csv", "https://a.b/e%20f.png")
    key = RemoteFile("s3://bucket/c/d?#.png")
    assert (key.name, key.beside("..\\e f.png")) == ("d?#.png", "s3://bucket/e f.png")
    assert local_path("FILE:///a%20b/%2520") == Path("/a b/%20")
    assert local_path("file://localhost/a") == Path("/a") and local_path("gs://a/b") is None


# --- Hugging Face


def test_columns_of_images_that_may_be_meant_are_listed(samples: list[Sample], tmp_path: Path) -> None:
    import datasets

    data = hf_dataset(samples, CLASSES, ("image", "mask"))
    again = hf_dataset(samples, CLASSES, ("x", "annotation")).remove_columns(["x", "classes"])
    datasets.concatenate_datasets([data, again], axis=1).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(DataError, match=r"arrow: needs one column .* images: image, mask, annotation; call one"):
        detect_format(tmp_path / "two")
    data.remove_columns("mask").save_to_disk(str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"columns of images: image; call"):
        detect_format(tmp_path / "none")
    data.select_columns("classes").save_to_disk(str(tmp_path / "no images"))
    with pytest.raises(DataError, match=r"columns of images: none among classes; call"):
        detect_format(tmp_path / "no images")
    (tmp_path / "other").mkdir()
    data.select_columns("classes").to_parquet(str(tmp_path / "other" / "x.parquet"))
    assert FORMATS["huggingface"].component(tmp_path / "other") is None


def test_names_of_classes_from_id2label(samples: list[Sample], tmp_path: Path) -> None:
    data = hf_dataset(samples, ["a", "b", "c"])
    data.save_to_disk(str(tmp_path))
    assert FORMATS["huggingface"].component(tmp_path).class_names == ("a", "b", "c")
    data.rename_column("classes", "breed").save_to_disk(str(tmp_path / "breeds"))
    assert FORMATS["huggingface"].component(tmp_path / "breeds").class_names == (), "of what an image shows as a whole"
    names = {0: "sky", 1: "road", 2: "tree", 255: "void"}
    (tmp_path / "id2label.json").write_text(json.dumps(names))
    layout = FORMATS["huggingface"].component(tmp_path)
    assert (layout.class_names, layout.names_by_value) == ((), names)
    assert load_dataset(tmp_path).classes == ("sky", "road", "tree")


def test_splits_of_other_names(samples: list[Sample], tmp_path: Path) -> None:
    import datasets

    part = hf_dataset(samples[:2], CLASSES)
    datasets.DatasetDict({"everything": part}).save_to_disk(str(tmp_path / "one"))
    assert len(FORMATS["huggingface"].component(tmp_path / "one").train) == 2
    datasets.DatasetDict({"train": part, "extra": part}).save_to_disk(str(tmp_path / "two"))
    layout = FORMATS["huggingface"].component(tmp_path / "two")
    assert len(layout.records) == 2 and [(each.kind, each.severity == "warning") for each in layout.issues] == [
        ("unknown split", True)
    ]
    for names in (("fold1", "fold2"), ("val", "validation")):
        datasets.DatasetDict(dict.fromkeys(names, part)).save_to_disk(str(tmp_path / names[0]))
        with pytest.raises(DataError, match=f"its splits are {', '.join(names)}; call them train"):
            FORMATS["huggingface"].component(tmp_path / names[0])


def test_rows_without_a_mask_and_images_that_lie_outside(samples: list[Sample], folder: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    images = [png(samples[0].image), str(folder / "a" / "1.png"), str(folder / "a" / "9.png"), png(samples[3].image)]
    rows = {
        "image": images,
        "mask": [png(samples[0].mask), str(folder / "m" / "1.png"), png(samples[2].mask), None],
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    import pyarrow.parquet

    outside = folder / "set"
    outside.mkdir()
    pyarrow.parquet.write_table(data.data.table, outside / "train-00000-of-00001.parquet", row_group_size=2)
    assert FORMATS["table"].component(outside) is None
    layout = FORMATS["huggingface"].component(outside)
    assert [read_image(record.image).tobytes() for record in layout.train] == [
        sample.image.tobytes() for sample in samples[:2]
    ]
    where = f"{outside}/train-00000-of-00001.parquet, row"
    assert [(each.kind, each.file) for each in layout.issues] == [
        ("missing image", f"{folder}/a/9.png"),
        ("missing mask", f"{where} 4"),
    ]


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("dataset_dict.json", lambda text: b"{", "is no JSON"),
        ("dataset_dict.json", lambda text: b"[]", "damaged"),
        ("dataset_dict.json", lambda text: b'{"splits": [3]}', "damaged"),
        ("train/state.json", lambda text: text[:-9], "is no JSON"),
        ("train/state.json", lambda text: b"{}", "damaged"),
        ("train/state.json", lambda text: text.replace(b"{", b'{"_indices_data_files": [{}],', 1), "index"),
        ("train/dataset_info.json", None, "cannot be read"),
        ("train/data-00000-of-00002.arrow", None, "no such file"),
        ("train/data-00000-of-00002.arrow", lambda text: text[: len(text) // 2], "cannot be read"),
        ("train/data-00000-of-00002.arrow", lambda text: b"", "cannot be read"),
        ("train/data-00000-of-00002.arrow", lambda text: text.replace(b"bytes", b"bites"), "holds no images"),
    ],
)  # fmt: skip
def test_a_damaged_data_set_is_told(
    file: str, change: Callable[[bytes], bytes] | None, told: str, samples: list[Sample], tmp_path: Path
) -> None:
    tables.write_saved(tmp_path, samples, CLASSES)
    path = tmp_path / file
    if change is None:
        path.unlink()
    else:
        damage(path, change)
    with pytest.raises(DataError) as error:
        detect_format(tmp_path)
    named = path.with_name("state.json") if file.endswith("state.json") else path
    assert str(error.value).startswith(f"{named}: ") and told in str(error.value) and "\n" not in str(error.value)


def test_parquet_files_of_several_data_sets_are_refused(samples: list[Sample], tmp_path: Path) -> None:
    for name in ("small", "large"):
        tables.write_hub(tmp_path / name, samples, CLASSES)
    with pytest.raises(DataError, match=r"holds several data sets \(large, small\); point DATA at one"):
        FORMATS["huggingface"].component(tmp_path)
    assert detect_format(tmp_path / "small")[0] == "huggingface"
    write_parquet(tmp_path / "small" / "data", {"a": [1]})
    (tmp_path / "small" / "data" / "data.parquet").rename(tmp_path / "small" / "data" / "val.parquet")
    with pytest.raises(DataError, match=r"data/val.parquet: is not of the data set that .*test-00000-of-00002.parquet"):
        FORMATS["huggingface"].component(tmp_path / "small")


def test_neither_network_nor_cache_nor_datasets_is_touched(samples: list[Sample], tmp_path: Path) -> None:
    tables.write_saved(tmp_path / "saved", samples, CLASSES)
    tables.write_hub(tmp_path / "hub", samples, CLASSES)
    code = (
        "import sys, socket\n"
        "from pathlib import Path\n"
        "def no(*_): raise AssertionError('network')\n"
        "socket.socket.connect = no\n"
        "from pixelwise.data.formats import find_layout\n"
        "from pixelwise.data.io.image import read_image\n"
        "for name in ('saved', 'hub'):\n"
        "    [read_image(record.image) for record in find_layout(Path(name))[1].records]\n"
        "assert not {'datasets', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "HF_HOME": str(home / "hf"), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("writer", "extra"), [("parquet bytes", "parquet"), ("saved", "huggingface"), ("hub", "huggingface")]
)
def test_without_pyarrow_the_extra_is_named(
    writer: str, extra: str, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError) as error:
        detect_format(tmp_path)
    assert f"pip install 'pixelwise[{extra}]'" in str(error.value) and str(tmp_path) in str(error.value)


def test_the_store_reads_a_chunk_once_whatever_the_threads(
    samples: list[Sample], tmp_path: Path, monkeypatch: Any
) -> None:
    tables.write_parquet_bytes(tmp_path, samples, CLASSES)
    records = FORMATS["table"].component(tmp_path).records
    store, read = ChunkStore(most=6), []
    real = cells._read_chunk

    def counted(*key: Any) -> Any:
        read.append(key[1:])
        return real(*key)

    monkeypatch.setattr(cells, "_read_chunk", counted)
    monkeypatch.setattr(cells, "CHUNKS", store)
    wanted = [source for record in records for source in (record.image, record.mask)] * 20
    assert all(isinstance(source, TableCell) for source in wanted)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda source: source.read_bytes(), wanted))) == 240
    assert len(read) == len(set(read)) == 6


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    for value in (3, 9):
        write_parquet(tmp_path, {"image": [png(np.full((2, 2, 3), value, np.uint8))], "mask": [b"x"]})
        os.utime(tmp_path / "data.parquet", ns=(value, value))
        (record,) = FORMATS["table"].component(tmp_path).train
        assert read_image(record.image)[0, 0, 0] == value


def test_tables_train(pets_folder: Path, tmp_path: Path) -> None:
    """Records of a table go through the whole data pipeline."""
    from pixelwise.data.torch_dataset import SegmentationDataset

    layout = detect_format(pets_folder)[1]
    columns = {
        "image": [record.image.read_bytes() for record in layout.train],
        "mask": [record.mask.read_bytes() for record in layout.train],
    }
    write_parquet(tmp_path, columns, row_group_size=3)
    again = FORMATS["table"].component(tmp_path)
    reading = ReadSpec(layout.label_map)
    one, other = (SegmentationDataset(each.train, reading, 32) for each in (layout, again))
    for index in range(len(one)):
        for left, right in zip(one[index], other[index], strict=True):
            assert np.array_equal(left, right)
