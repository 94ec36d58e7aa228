"""Tests of the search for images: which files are found, and what is said about the others."""

import os
import socket
from pathlib import Path

import pytest

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES
from pixelwise.errors import DataError
from pixelwise.inference.sources import find_images
from tests.inference.helpers import touch


class TestFindImages:
    def test_finds_nested_uppercase_unicode_and_spaces(self, tmp_path: Path) -> None:
        names = ["a.jpg", "b/c.JPEG", "b/d/e f.PNG", "Kätzchen/小猫.webp", "g.tif"]
        touch(tmp_path, *names, "notes.txt", "b/list.csv")
        (tmp_path / "folder.jpg").mkdir()
        images = find_images([tmp_path]).images
        assert {path for path, _ in images} == {tmp_path / name for name in names}
        assert {str(name) for _, name in images} == {"a", "b/c", "b/d/e f", "Kätzchen/小猫", "g"}

    @pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
    def test_finds_every_suffix_that_training_reads(self, tmp_path: Path, suffix: str) -> None:
        touch(tmp_path, f"image.{suffix}", f"IMAGE2.{suffix.upper()}")
        assert len(find_images([tmp_path]).images) == 2

    def test_skips_the_files_that_training_skips(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", ".hidden.jpg", ".cache/b.jpg", "__MACOSX/a.jpg")
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["a.jpg"]

    def test_order_is_fixed(self, tmp_path: Path) -> None:
        touch(tmp_path, "c.jpg", "a.jpg", "b.jpg", "a/z.jpg")
        images = [path for path, _ in find_images([tmp_path]).images]
        assert images == sorted(images)

    def test_takes_a_file_whatever_its_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "image.dat")
        assert find_images([tmp_path / "image.dat"]).images == ((tmp_path / "image.dat", Path("image")),)

    def test_rejects_missing_sources_and_empty_directories(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt")
        with pytest.raises(DataError, match=r"no images in this directory"):
            find_images([tmp_path])
        with pytest.raises(DataError, match=r"gone: no such file or directory"):
            find_images([tmp_path / "gone"])


class TestWhatIsPassedOver:
    def test_special_files_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.jpg", "sub/b.jpg")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sub/socket")
            found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["a.jpg", "b.jpg"]
        assert list(map(str, found.problems)) == [
            f"{tmp_path}/gone: a link to nothing; replace or remove it",
            f"{tmp_path}/pipe: not a file; replace or remove it",
            f"{tmp_path}/sub/socket: not a file; replace or remove it",
        ]

    def test_special_files_named_like_images_fail_when_they_are_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["gone.png", "pipe.jpg"]

    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
        scan = os.scandir

        def refuse(path: Path) -> object:
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["a.jpg", "c.jpg"]
        (problem,) = found.problems
        assert str(problem).startswith(f"{tmp_path}/closed: this folder cannot be read (permission denied); ")
        with pytest.raises(DataError, match="closed: this folder cannot be read"):
            find_images([tmp_path / "closed"])

    def test_linked_folders_are_searched(self, tmp_path: Path) -> None:
        touch(tmp_path, "elsewhere/b.jpg", "photos/a.jpg")
        (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
        assert [str(name) for _, name in find_images([tmp_path / "photos"]).images] == ["a", "link/b"]

    def test_unsupported_images_are_counted_and_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "b.CR2", "c/d.cr2", "e.mp4", "notes.txt", "README", ".hidden", "list.txt")
        found = find_images([tmp_path])
        assert list(map(str, found.problems)) == [
            f"{tmp_path}: 2 .cr2 files ({tmp_path}/b.CR2, {tmp_path}/c/d.cr2) cannot be read: "
            "convert them to TIFF or PNG",
            f"{tmp_path}: 1 .mp4 file ({tmp_path}/e.mp4) cannot be read: extract their frames as images",
        ]
        assert found.notes == (f"{tmp_path}: 3 files are no images (.txt, no suffix)",)
