"""Atomic writes of files and directories."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import OutputError, PixelwiseError
from pixelwise.runtime.atomic import (
    atomic_directory,
    atomic_write,
    make_directory,
    remove_abandoned,
    share_temporary_directories,
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


def test_a_directory_that_was_made_is_removed_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(ValueError), make_directory(tmp_path / "old" / "new" / "newer"):
        raise ValueError("stop")
    assert names(tmp_path) == ["old"] and names(tmp_path / "old") == []
    with pytest.raises(ValueError), make_directory(tmp_path / "old"):
        raise ValueError("stop")
    with pytest.raises(ValueError), make_directory(tmp_path / "used"):
        (tmp_path / "used" / "notes.txt").write_text("kept")
        raise ValueError("stop")
    assert names(tmp_path) == ["old", "used"]
    with make_directory(tmp_path / "old" / "new"):
        pass
    assert names(tmp_path / "old") == ["new"]
    (tmp_path / "file").write_text("mine")
    is_refused = pytest.raises(OutputError, match=r"new: cannot be made .*; choose another directory")
    with is_refused, make_directory(tmp_path / "file" / "new"):
        pass


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


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / ("n" * 251 + ".txt")
    with atomic_write(out) as part:
        part.write_text("x")
    assert names(tmp_path) == [out.name]


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from pixelwise.runtime.atomic import atomic_directory, atomic_write\n"
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


def test_files_of_a_block_share_a_temporary_directory(tmp_path: Path) -> None:
    outs = [tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "sub" / "c.txt"]
    with share_temporary_directories():
        folders = []
        for out in outs:
            with atomic_write(out) as part:
                part.write_text(out.name)
                assert not out.exists()
            assert out.read_text() == out.name
            folders.append(part.parent)
    assert folders[0] == folders[1] == tmp_path / folders[0].name
    assert folders[2].parent == tmp_path / "sub"
    assert names(tmp_path) == ["a.txt", "b.txt", "sub"]
    with atomic_write(tmp_path / "d.txt") as part:
        part.write_text("d")
    assert names(tmp_path) == ["a.txt", "b.txt", "d.txt", "sub"]


def test_a_directory_that_is_made_in_a_block_has_no_temporary_directory(tmp_path: Path) -> None:
    out = tmp_path / "masks"
    with share_temporary_directories():
        with atomic_directory(out) as building, atomic_write(building / "a.txt") as part:
            part.write_text("a")
        assert names(out) == ["a.txt"]
        with atomic_write(out / "b.txt") as part:
            part.write_text("b")
    assert names(out) == ["a.txt", "b.txt"]


def test_a_failed_file_of_a_block_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with share_temporary_directories():
        with pytest.raises(KeyError), atomic_write(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise KeyError
        assert not part.exists()
        assert (tmp_path / "a.txt").read_text() == "old"


def test_a_directory_that_was_removed_in_a_block_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "sub" / "a.txt"
    with share_temporary_directories():
        for text in ("1", "2"):
            with atomic_write(out) as part:
                part.write_text(text)
            assert out.read_text() == text
            shutil.rmtree(out.parent)
