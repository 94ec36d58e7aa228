"""Atomic writes, free paths and file locks."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelwise.errors import OutputError, PixelwiseError
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.files import (
    expand_home,
    lock_file,
    next_free_path,
    user_cache_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


# --- what killed processes leave


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
