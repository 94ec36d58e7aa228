"""Files and folders behind URLs."""

import pickle
from pathlib import Path

import fsspec
import pytest

from pixelwise.data.io.remote import RemoteFile, local_path, open_url
from pixelwise.data.load import resolve_root
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError


def test_a_remote_file_is_a_source_of_bytes(memory: str) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/pets/a.png", b"content")
    file = RemoteFile(f"{memory}/a.png")
    assert isinstance(file, BytesSource) and (file.name, str(file)) == ("a.png", f"{memory}/a.png")
    assert file.exists() and file.read_bytes() == b"content"
    assert pickle.loads(pickle.dumps(file)).read_bytes() == b"content"
    missing = RemoteFile(memory).child("b.png")
    assert not missing.exists()
    with pytest.raises(DataError, match="no such file"):
        missing.read_bytes()


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("s3://bucket/tables/data.csv", "images/1.png", "s3://bucket/tables/images/1.png"),
        ("s3://bucket/tables/data.csv", "..\\images\\1.png", "s3://bucket/images/1.png"),
        ("https://a.b/c/data.csv?key=1", "images/a b.png", "https://a.b/c/images/a%20b.png"),
    ],
)
def test_paths_are_relative_to_the_folder_of_a_file(url: str, path: str, expected: str) -> None:
    assert RemoteFile(url).beside(path) == expected


def test_options_are_passed_to_the_files_of_a_folder() -> None:
    folder = RemoteFile("s3://bucket/data/", {"key": "k"})
    assert (folder.child("a.tar").url, folder.child("a.tar").options) == ("s3://bucket/data/a.tar", {"key": "k"})


def test_the_query_of_a_web_address_is_not_part_of_the_name() -> None:
    assert RemoteFile("https://a.b/c/1.png?size=3#x").name == "1.png"
    assert RemoteFile("s3://bucket/c/1?.png").name == "1?.png"


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    assert open_url(f"file://{tmp_path}") == tmp_path
    assert local_path(f"file://localhost{tmp_path}/a%20b") == tmp_path / "a%20b", "a file of this name exists"
    assert local_path(f"file://{tmp_path}/c%20d") == tmp_path / "c d"
    assert local_path("s3://bucket/x") is None


def test_roots_are_paths_or_remote_files(memory: str) -> None:
    assert resolve_root("~/data") == Path("~/data").expanduser()
    remote = resolve_root(memory)
    assert isinstance(remote, RemoteFile) and remote.url == memory and resolve_root(remote) is remote


def test_an_unknown_protocol_is_an_error_in_one_line() -> None:
    with pytest.raises(DataError) as error:
        open_url("nonsense://bucket/pets")
    assert str(error.value).startswith("nonsense://bucket/pets: ") and "\n" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_import_error(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", raise_import_error)
    with pytest.raises(DataError, match=r"s3://bucket/pets: .*pip install 'pixelwise\[s3\]'"):
        open_url("s3://bucket/pets")
    with pytest.raises(DataError, match=r"gs://bucket/pets: .*Install s3fs"):
        open_url("gs://bucket/pets")
