"""Tables and indices of strangers: which files, URLs and shards they may name."""

import json
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.formats._outside import check_inside
from pixelwise.data.formats.huggingface import read_huggingface
from pixelwise.data.formats.table import read_table
from pixelwise.data.formats.webdataset import MARK, read_webdataset
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import AnnotationError, DataError
from tests.data.formats.support import assert_one_line, write_table
from tests.data.formats.writers.folders import Sample

ALLOWED = LabelOptions(allow_outside=True)


@pytest.mark.parametrize("path", ["a.png", "./a.png", "b/../a.png", "", ".", "..a/b.png", "a..b/c"])
def test_paths_inside_a_folder(path: str) -> None:
    check_inside(path, Path("data"))


@pytest.mark.parametrize("path", ["../a.png", "b/../../a.png", "/etc/passwd", "..", "b/../../data2/a.png"])
def test_paths_outside_a_folder(path: str) -> None:
    with pytest.raises(AnnotationError, match="outside the folder"):
        check_inside(path, Path("data"))
    check_inside(path, Path("data"), allow_outside=True)


def test_an_absolute_path_in_the_folder_is_inside(tmp_path: Path) -> None:
    check_inside(str(tmp_path / "a.png"), tmp_path)
    with pytest.raises(AnnotationError):
        check_inside(f"{tmp_path}2/a.png", tmp_path)


@pytest.mark.parametrize("form", ["../secret/{name}", "{path}", "file://{path}", "..\\secret\\{name}"])
def test_a_table_names_files_outside_only_if_the_user_allows_it(
    form: str, samples: list[Sample], folder: Path, tmp_path: Path
) -> None:
    """The advice of the error works."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (folder / "a").rename(tmp_path / "data")
    for name in ("0.png", "1.png"):
        (tmp_path / "data" / name).rename(secret / name)
    cells = [form.format(name=name, path=secret / name) for name in ("0.png", "1.png")]
    table = write_table(tmp_path / "data", "image,mask", f"{cells[0]},2.png", f"{cells[1]},3.png")
    with pytest.raises(DataError) as error:
        pw.load_dataset(table)
    assert_one_line(error, f"{table}, line 2: ", "is outside the folder of this file", "`allow_outside`")
    result = read_table(table, ALLOWED)
    assert result is not None
    assert [Path(str(record.image)).resolve() for record in result.train] == [secret / "0.png", secret / "1.png"]


def test_no_outside_path_is_looked_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the check whether \\\\server\\share\\a.png exists would send a password to the server."""
    seen: list[str] = []
    real = os.listdir

    def listdir(path: Any = ".") -> list[str]:
        seen.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    table = write_table(folder, "image,mask", "/nowhere/share/a.png,m/0.png")
    with pytest.raises(DataError, match="outside"):
        read_table(table)
    assert not any("nowhere" in path for path in seen)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("reference://a.png::file://refs.json", "chain of protocols"),
        ("zip://0.png::https://example.org/a.zip", "chain of protocols"),
        ("ftp://example.org/0.png", "protocol 'ftp'; allowed are file, http"),
    ],
)
@pytest.mark.parametrize("options", [None, ALLOWED])
def test_protocols_that_run_code_or_write_are_refused(
    cell: str, message: str, options: LabelOptions | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("fsspec was called")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    table = write_table(folder, "image,mask", f"{cell},m/0.png")
    with pytest.raises(DataError) as error:
        read_table(table, options)
    assert_one_line(error, f"{table}, line 2: ", message)


@pytest.mark.parametrize("cell", ["../0.png", "a/../../0.png", "a.png::reference://x", "a/file:///etc/passwd::zip://x"])
def test_a_remote_table_names_files_beside_it(cell: str, memory: str) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/pets/data.csv", f"image,mask\n{cell},1.png\n".encode())
    with pytest.raises(DataError, match=r"data\.csv, line 2: "):
        read_table(RemoteFile(f"{memory}/data.csv"))


@pytest.mark.parametrize("cell", ["//evil.org/0.png", "/0.png", "%2e%2e/0.png", "../0.png", "a/%2e%2E/%2e./0.png"])
def test_a_table_on_a_server_names_files_beside_it(cell: str) -> None:
    table = RemoteFile("https://example.org/data/train.csv")
    assert not table.is_inside(table.beside(cell))
    assert table.is_inside(table.beside("images/a b%20.png"))


def make_index(shard: str, size: int = 1024, sample: Any = None) -> str:
    files = [["jpg", 0, 10], ["mask.png", 512, 10]] if sample is None else sample
    shards = [{"shard": shard, "bytes": size, "blake2b": "0", "samples": [["a", files, None, None]]}]
    index = {"format": MARK, "version": 1, "classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]]}
    return json.dumps(index | {"multilabel": False, "splits": {"train": shards}})


@pytest.mark.parametrize("shard", ["../train.tar", "/dev/zero", "a/../../train.tar"])
def test_an_index_names_shards_in_its_folder(shard: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(make_index(shard))
    with pytest.raises(DataError) as error:
        read_webdataset(tmp_path)
    assert_one_line(error, tmp_path / "dataset.json", "is outside the folder", "`allow_outside`")
    result = read_webdataset(tmp_path, ALLOWED)
    assert result is not None and len(result.train) == 1


@pytest.mark.parametrize("shard", ["../train.tar", "x/../../train.tar", "a.tar::reference://x"])
def test_a_remote_index_names_shards_in_its_folder(shard: str, memory: str) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/pets/dataset.json", make_index(shard).encode())
    with pytest.raises(DataError, match=r"outside the folder|chain of protocols"):
        read_webdataset(RemoteFile(memory))


@pytest.mark.parametrize(
    "sample", [[["jpg", -5, 10], ["mask.png", 0, 5]], [["jpg", 0, 1 << 40], ["mask.png", 0, 5]], [["jpg", 0, -1]]]
)
def test_a_file_is_inside_its_shard(sample: Any, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(make_index("train.tar", sample=sample))
    with pytest.raises(DataError, match="damaged"):
        read_webdataset(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "size"])
def test_a_shard_is_a_file_and_not_longer_than_it_is(kind: str, tmp_path: Path) -> None:
    """A pipe would block for ever, and /dev/zero has no end."""
    huge = 1 << 45
    (tmp_path / "dataset.json").write_text(make_index("a.tar", huge, [["jpg", 0, huge - 1], ["mask.png", 0, 5]]))
    shard = tmp_path / "a.tar"
    if kind == "pipe":
        os.mkfifo(shard)
    elif kind == "device":
        shard.symlink_to("/dev/zero")
    elif kind == "folder":
        shard.mkdir()
    else:
        shard.write_bytes(bytes(2000))
    result = read_webdataset(tmp_path)
    assert result is not None
    with pytest.raises(DataError, match="cut off" if kind == "size" else "not a file"):
        result.train[0].image.read_bytes()


def test_an_index_that_is_a_pipe_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(DataError, match="not a file"):
        read_webdataset(tmp_path)


def test_an_index_that_is_too_deep_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(f'{{"format": "{MARK}", "a": {"[" * 100_000}')
    with pytest.raises(DataError, match="damaged"):
        read_webdataset(tmp_path)


@pytest.mark.parametrize("file", ["dataset_dict.json", "state.json"])
def test_files_of_hugging_face_name_files_in_their_folder(file: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "train" / "dataset_info.json").write_text('{"features": {}}')
    outside = "../../secret" if file == "state.json" else "../secret"
    files = [{"filename": outside if file == "state.json" else "a.arrow"}]
    (root / "train" / "state.json").write_text(json.dumps({"_data_files": files}))
    splits = [outside if file == "dataset_dict.json" else "train"]
    (root / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(DataError) as error:
        read_huggingface(root)
    assert_one_line(error, file, outside, "is outside the folder", "`allow_outside`")


def test_images_beside_the_table_need_no_permission(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    table = write_table(tmp_path, "image,mask", f"a.png,{tmp_path / 'b.png'}")
    result = read_table(table)
    assert result is not None and len(result.train) == 1 and not result.issues


@pytest.mark.parametrize("form", ["../data", "{path}", "inside/../../data"])
def test_the_yaml_file_of_yolo_names_a_folder_outside_only_if_the_user_allows_it(form: str, tmp_path: Path) -> None:
    """The advice of the error works, also if the user passes the file itself. A folder that is missing is no error."""
    data, folder = tmp_path / "data", tmp_path / "yaml"
    for name in ("0", "1"):
        (data / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(data / "images" / f"{name}.png")
        (data / "labels").mkdir(exist_ok=True)
        (data / "labels" / f"{name}.txt").write_text("0 0 0 1 0 1 1 0 1\n")
    (folder / "inside").mkdir(parents=True)
    settings = folder / "data.yaml"
    settings.write_text(f"path: {form.format(path=data)}\nnames: [cat]\ntrain: images\n")
    with pytest.raises(DataError) as error:
        pw.load_dataset(settings)
    assert_one_line(error, f"{settings}: ", f"is outside the folder of this file, {folder}", "`allow_outside`")
    assert len(pw.load_dataset(settings, allow_outside=True).train) == 2
    moved = data / "data.yaml"
    moved.write_text("path: ../missing\nnames: [cat]\ntrain: images\n")
    assert len(pw.load_dataset(moved).train) == 2


def test_a_link_in_the_folder_of_yolo_leads_outside_only_if_the_user_allows_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "link").symlink_to(tmp_path / "data")
    settings = tmp_path / "yaml" / "data.yaml"
    settings.write_text("path: link\nnames: [cat]\ntrain: images\n")
    with pytest.raises(DataError, match="link is outside the folder of this file"):
        pw.load_dataset(settings)
