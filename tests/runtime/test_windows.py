"""Locks and removal on Windows, simulated: a fake msvcrt, and file systems that refuse to rename open directories."""

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelwise.runtime.atomic import is_temporary, remove_directory
from pixelwise.runtime.files import lock_file
from pixelwise.runtime.windows import portable_name


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend that this is Windows: msvcrt locks with flock, and the lock's file is not removed when it is closed."""
    fcntl = pytest.importorskip("fcntl")

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(LK_NBLCK=2, locking=locking))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    monkeypatch.setattr(os, "O_TEMPORARY", 0, raising=False)
    yield


@pytest.mark.usefixtures("windows")
class TestLock:
    def test_an_exclusive_lock_excludes_others_until_it_is_closed(self, tmp_path: Path) -> None:
        path = tmp_path / "config.yaml"
        path.touch()
        first = lock_file(path, exclusive=True)
        assert first is not None
        assert lock_file(path, exclusive=True) is None
        first.close()
        second = lock_file(path, exclusive=True)
        assert second is not None
        second.close()

    def test_the_locked_file_can_be_replaced(self, tmp_path: Path) -> None:
        """Windows does not allow to replace an open file, so no process may have opened it."""
        path = tmp_path / "config.yaml"
        path.touch()
        lock = lock_file(path, exclusive=True)
        assert lock is not None
        with lock:
            assert not os.path.samestat(os.fstat(lock.fileno()), path.stat())

    def test_a_lock_file_that_windows_is_removing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        assert lock_file(tmp_path / "config.yaml", exclusive=True) is None

    def test_a_shared_lock_is_the_open_file(self, tmp_path: Path) -> None:
        path = tmp_path / "header.json"
        path.write_bytes(b"{}")
        first, second = lock_file(path), lock_file(path)
        assert first is not None and second is not None
        assert first.read() == b"{}"
        first.close()
        second.close()


class TestRemoveDirectory:
    def test_it_is_gone(self, tmp_path: Path) -> None:
        (tmp_path / "entry" / "sub").mkdir(parents=True)
        (tmp_path / "entry" / "sub" / "file").touch()
        assert remove_directory(tmp_path / "entry")
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_removed_while_a_file_is_open(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "entry").mkdir()
        (tmp_path / "entry" / "file").touch()

        def refuse(*_: object) -> Path:
            raise PermissionError(13, "The process cannot access the file")

        monkeypatch.setattr(Path, "rename", refuse)
        assert not remove_directory(tmp_path / "entry")
        assert (tmp_path / "entry" / "file").exists()

    def test_a_removal_that_was_stopped_leaves_a_temporary_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "entry").mkdir()
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
        assert remove_directory(tmp_path / "entry")
        assert [is_temporary(path) for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.png", "cat.png"),
        ("Ä b.png", "Ä b.png"),
        ('<a>:"b"/c\\d|e?f*\n', "_a___b__c_d_e_f__"),
        ("CON", "_CON"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("lpt9 .txt", "_lpt9 .txt"),
        ("console.png", "console.png"),
        ("com0", "com0"),
        ("dots...", "dots"),
        ("..", "_"),
        ("", "_"),
    ],
)
def test_portable_name(name: str, expected: str) -> None:
    assert portable_name(name) == expected
