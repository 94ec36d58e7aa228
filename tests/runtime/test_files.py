"""Atomic writes, free paths and file locks."""

import errno
import stat
import threading
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import PixelwiseError
from pixelwise.runtime.files import atomic_directory, atomic_write, lock_file, next_free_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    with atomic_write(out) as part:
        part.write_text("half")
        assert not out.exists()
        assert part.parent == tmp_path, "on the same disk, so that the rename is one step"
        with part.open("a") as file:
            file.write(" and the rest")
    assert out.read_text() == "half and the rest"
    assert names(tmp_path) == ["notes.txt"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("old")
    with atomic_write(out) as part:
        part.write_text("new")
        assert out.read_text() == "old"
    assert out.read_text() == "new"
    assert names(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("written", [True, False])
def test_after_an_error_the_old_file_stays_and_no_temporary_file_is_left(
    kind: type[BaseException], written: bool, tmp_path: Path
) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("old")
    with pytest.raises(kind), atomic_write(out) as part:
        if written:
            part.write_text("ne")
        raise kind("stop")
    assert out.read_text() == "old"
    assert names(tmp_path) == ["notes.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(out):
        pass
    assert out.read_text() == "old"


def test_the_temporary_file_has_the_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "cat.png") as part:
        Image.new("RGB", (2, 2)).save(part)
    with Image.open(tmp_path / "cat.png") as image:
        assert image.format == "PNG"


def test_missing_directories_are_made(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a" / "b" / "notes.txt") as part:
        part.write_text("x")
    assert names(tmp_path / "a" / "b") == ["notes.txt"]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PixelwiseError) as error, atomic_write(tmp_path / "file" / "sub" / "notes.txt"):
        raise AssertionError("the block is not entered")
    assert str(tmp_path / "file" / "sub") in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    # Only the owner can read the files of tempfile, and a rename would keep that.
    with atomic_write(tmp_path / "notes.txt") as part:
        part.write_text("x")
    (tmp_path / "plain.txt").write_text("x")
    mode = stat.S_IMODE((tmp_path / "notes.txt").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "plain.txt").stat().st_mode)


def test_two_writers_of_one_file_do_not_mix_their_content(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    inside = threading.Barrier(2, timeout=10)

    def write(letter: str) -> None:
        with atomic_write(out) as part:
            part.write_text(letter * 1000)
            inside.wait()

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert out.read_text() in ("a" * 1000, "b" * 1000)
    assert names(tmp_path) == ["notes.txt"]


def test_a_free_path_is_returned(tmp_path: Path) -> None:
    assert next_free_path(tmp_path / "grid.png") == tmp_path / "grid.png"
    assert names(tmp_path) == [], "no file is created"


def test_a_path_in_use_is_numbered(tmp_path: Path) -> None:
    paths = []
    for _ in range(4):
        paths.append(next_free_path(tmp_path / "grid.png"))
        paths[-1].write_text("")
    assert [path.name for path in paths] == ["grid.png", "grid-2.png", "grid-3.png", "grid-4.png"]
    paths[2].unlink()
    assert next_free_path(tmp_path / "grid.png") == paths[2], "the first one that is free"


def test_directories_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert next_free_path(tmp_path / "run") == tmp_path / "run-2"
    (tmp_path / "run-2").write_text("a file can be in the way as well")
    assert next_free_path(tmp_path / "run") == tmp_path / "run-3"


def test_locks_are_shared_or_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("image_size: 128")
    first = lock_file(path)
    second = lock_file(path)
    assert first is not None and second is not None, "several processes can share a lock"
    assert lock_file(path, exclusive=True) is None
    first.close()
    second.close()
    exclusive = lock_file(path, exclusive=True)
    assert exclusive is not None and lock_file(path) is None
    exclusive.close()
    last = lock_file(path)
    assert last is not None
    last.close()


@pytest.mark.parametrize(("code", "usable"), [(errno.ENOLCK, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_drive_without_locks_is_used_without_them(
    code: int, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    path = tmp_path / "config.yaml"
    path.touch()
    if not usable:
        with pytest.raises(OSError, match="no locks"):
            lock_file(path)
        return
    file = lock_file(path, exclusive=True)
    assert file is not None
    file.close()


# --- atomic_directory


@pytest.mark.parametrize("exists", [False, True])
def test_a_directory_appears_when_it_is_complete(exists: bool, tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    if exists:
        out.mkdir(parents=True)
        (out / "old.txt").write_text("old")
    with atomic_directory(out, replace=exists) as building:
        (building / "new.txt").write_text("new")
        assert building.parent == out.parent and not (out / "new.txt").exists()
    assert [path.name for path in out.iterdir()] == ["new.txt"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_directory_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_directory(tmp_path / "out", replace=True) as building:
        (building / "new.txt").write_text("new")
        raise ValueError("stop")
    with pytest.raises(OSError, match="not empty"), atomic_directory(tmp_path / "out") as building:
        (building / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "old.txt").read_text() == "old"
