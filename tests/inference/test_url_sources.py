"""Images in folders at URLs and of patterns."""

from pathlib import Path

import fsspec
import pytest

from pixelwise.errors import DataError
from pixelwise.inference.sources import find_images


def put(url: str, *names: str) -> None:
    """Make files at a URL."""
    for name in names:
        fsspec.filesystem("memory").pipe_file(f"{url}/{name}", b"content")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", ["a.b", "b/c d", "b/e/f", "z"]),
        ("/", ["a.b", "b/c d", "b/e/f", "z"]),
        ("/b/", ["c d", "e/f"]),
        ("/*.png", ["a.b"]),
        ("/**/*.jpg", ["b/c d", "b/e/f"]),
        ("/b/*/*", ["e/f"]),
        ("/z.TIF", ["z"]),
    ],
)
def test_folders_and_patterns(memory: str, source: str, names: list[str]) -> None:
    put(memory, "z.TIF", "b/e/f.jpg", "b/c d.jpg", "a.b.png", "b/e/notes.txt", "Makefile")
    found = find_images([f"{memory}{source}"])
    assert [name.as_posix() for _, name in found.images] == names
    assert {str(file) for file, _ in found.images} <= {f"memory:/{path}" for path in fsspec.filesystem("memory").store}
    assert found.images[0][0].read_bytes() == b"content"
    if source == "/":
        assert found.notes == (f"{memory}/: left out: 1 .txt, 1 without suffix",)


def test_outputs_of_an_earlier_prediction_are_left_out(memory: str) -> None:
    put(memory, "a.png", "a_mask.png", "out/predictions.jsonl", "out/a_mask.png", "out/b/c_overlay.jpg", "out/cat.png")
    found = find_images([f"{memory}/"])
    assert [name.as_posix() for _, name in found.images] == ["a", "a_mask", "out/cat"], "no prediction made a_mask.png"
    assert found.notes == (f"{memory}/: left out: 1 .jsonl, 2 outputs of an earlier prediction",)


def test_a_name_cannot_leave_the_output_directory(memory: str) -> None:
    put(memory, "b/a:b?.png")
    ((_, name),) = find_images([f"{memory}/"]).images
    assert name == Path("b/a_b_")


@pytest.mark.parametrize(
    ("source", "content"), [("/", r"only 1 \.txt"), ("/x/", "there is no file"), ("/*.jpg", "there is no file")]
)
def test_no_images(memory: str, source: str, content: str) -> None:
    put(memory, "notes.txt")
    with pytest.raises(
        DataError, match=rf"^{memory}{source.replace('*', '[*]')}: no images at this URL \({content}\)$"
    ):
        find_images([f"{memory}{source}"])


def test_a_folder_that_cannot_be_listed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"^s3://no-such/images/: no images at this URL \(there is no file\)"):
        find_images(["s3://no-such/images/"])
    monkeypatch.setattr("pixelwise.inference.url_sources.file_system", _refused)
    with pytest.raises(DataError, match=rf"^{s3}/: cannot be listed \(Access Denied\); check the URL, its keys"):
        find_images([f"{s3}/"])


def _refused(*_: object) -> None:
    raise PermissionError("Access Denied")
