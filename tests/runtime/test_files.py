"""Atomic writes, free paths and file locks."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import OutputError, PixelwiseError
from pixelwise.runtime.files import (
    atomic_directory,
    atomic_write,
    expand_home,
    lock_file,
    next_free_path,
    remove_abandoned,
    user_cache_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    with atomic_write(out) as part:
        part.write_text("half")
        assert not out.exists()
        assert part.parent.parent == tmp_path, "on the same disk, so that the rename is one step"
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
        assert building.parent.parent == out.parent and not (out / "new.txt").exists()
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


# --- errors of writing


def failing(error: OSError) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise error

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_file_and_the_fix(code: int, tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    with pytest.raises(OutputError) as error, atomic_write(out) as part:
        failing(OSError(code, "no room"))(part)
    assert str(error.value) == f"{out}: no space left on device; free space, then try again"
    assert names(tmp_path) == []


def test_an_error_of_pillow_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "encoder error -2 when writing image file"
    with pytest.raises(OutputError, match="cannot be written"), atomic_write(tmp_path / "a.png") as part:
        failing(OSError(message))(part)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4096))
    with pytest.raises(OutputError, match="no space left on device"), atomic_write(tmp_path / "a.png") as part:
        failing(OSError(message))(part)


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    denied = PermissionError(errno.EACCES, "Permission denied", str(out))
    with pytest.raises(OutputError) as error, atomic_write(out) as part:
        failing(denied)(part)
    assert str(error.value) == f"{out}: cannot be written (Permission denied); choose another path"


def test_an_error_about_another_file_is_raised_as_it_is(tmp_path: Path) -> None:
    other = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "other.png"))
    with pytest.raises(PermissionError) as error, atomic_write(tmp_path / "notes.txt") as part:
        failing(other)(part)
    assert error.value is other


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / ("n" * 251 + ".txt")
    with atomic_write(out) as part:
        part.write_text("x")
    assert names(tmp_path) == [out.name]


# --- what killed processes leave


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pixelwise.runtime.files import atomic_directory, atomic_write\n"
        "with atomic_write(Path('a.txt')) as a, atomic_directory(Path('b')) as b:\n"
        "    a.write_text('half'); (b / 'x').write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, timeout=60)
    assert len(names(tmp_path)) == 2, "left by the killed process"
    (tmp_path / ".pixelwise-notes").mkdir()
    with atomic_write(tmp_path / "mine.txt") as part:
        part.write_text("in work")
        remove_abandoned(tmp_path)
        assert part.read_text() == "in work", "the file of a process that runs"
    assert names(tmp_path) == [".pixelwise-notes", "mine.txt"]
    remove_abandoned(tmp_path / "missing")


def test_a_new_directory_removes_what_was_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".pixelwise-0123456789ab" / "out").mkdir(parents=True)
    with atomic_directory(tmp_path / "out") as building:
        (building / "x").touch()
    assert names(tmp_path) == ["out"]


def test_without_locks_only_old_directories_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    for name in (".pixelwise-000000000000", ".pixelwise-111111111111"):
        (tmp_path / name).mkdir()
    two_days_ago = time.time() - 2 * 86_400
    os.utime(tmp_path / ".pixelwise-000000000000", (two_days_ago, two_days_ago))
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".pixelwise-111111111111"]


# --- the home directory


def test_a_home_directory_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PixelwiseError, match=r"^~nosuchuser/x: there is no such home directory; write the full path$"):
        expand_home("~nosuchuser/x")
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path))
    assert user_cache_folder() == tmp_path
    monkeypatch.setenv("PIXELWISE_CACHE", "~nosuchuser")
    with pytest.raises(PixelwiseError, match="no such home directory"):
        user_cache_folder()
    monkeypatch.delenv("PIXELWISE_CACHE")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown_user(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown_user)
    with pytest.raises(PixelwiseError, match="set the environment variable PIXELWISE_CACHE"):
        user_cache_folder()
