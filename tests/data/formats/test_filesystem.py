"""Listing of folders."""

import os
from pathlib import Path
from typing import Any

import pytest

from pixelwise.data.formats._filesystem import list_files, read_lines, read_text
from pixelwise.data.formats.registry import detect_format
from tests.data.formats.support import (
    assert_error,
    pairs,
    read_as,
    touch,
)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    root = touch(tmp_path / "data", "masks/1.png", "masks/2.png")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    (root / "a_copy").symlink_to(root / "masks")
    (root / "masks" / "loop").symlink_to(root)
    (root / "parent").symlink_to(tmp_path)
    (root / "itself").symlink_to(root / "itself")
    (tmp_path / "elsewhere" / "back").symlink_to(root / "images")
    assert pairs(read_as("folders", root), root) == {"images/1.jpg": "masks/1.png", "images/2.jpg": "masks/2.png"}
    assert list(list_files(root)) == ["", "images", "masks"]


def test_listings_are_sorted_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{name}" for folder in "bac" for name in ("2", "10", "1")))
    assert list(list_files(tmp_path).items()) == [("", []), *((folder, ["1", "10", "2"]) for folder in "abc")]


def test_an_unreadable_folder_raises_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    scandir = os.scandir

    def deny(folder: str | os.PathLike[str]) -> Any:
        if Path(folder).name == "masks":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", deny)
    assert_error("folders", tmp_path, str(tmp_path / "masks"), "permission denied", "change its permissions")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read everything")
def test_a_folder_without_permissions_raises_with_its_path(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / "masks").chmod(0)
    try:
        assert_error("folders", tmp_path, str(tmp_path / "masks"), "permission denied")
    finally:
        (tmp_path / "masks").chmod(0o755)


def test_pipes_and_dangling_links_are_listed_without_reading(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "masks/2.png")
    os.mkfifo(tmp_path / "images" / "2.jpg")
    (tmp_path / "images" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    touch(tmp_path, "masks/3.png")
    assert len(read_as("folders", tmp_path).train) == 3


def test_line_ends_and_byte_order_marks_are_normalized(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\n\n# comment\n four \n".encode())
    assert read_text(tmp_path / "a.txt").startswith("one\ntwo\nthree\n")
    assert read_lines(tmp_path / "a.txt") == ["one", "two", "three", "four"]


def test_a_detection_lists_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/a/1.jpg", "masks/a/1.png")
    scanned: list[str] = []
    scandir = os.scandir

    def count(path: Path) -> object:
        scanned.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    assert detect_format(tmp_path)[0] == "folders"
    assert len(scanned) == len(set(scanned)) == 5
    touch(tmp_path, "images/a/2.jpg", "masks/a/2.png")
    assert len(detect_format(tmp_path)[1].train) == 2, "the next detection lists the folders again"
