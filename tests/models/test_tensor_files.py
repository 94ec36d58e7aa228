"""Files of tensors: permissions, and errors of the disk."""

import errno
import stat
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from pixelwise.models.tensor_files import read_tensors, write_tensors


def test_tensors_read_back_equal(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    write_tensors(tensors, tmp_path / "x.safetensors", {"key": "value"})
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys() and all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == {"key": "value"}


def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_tensors({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_full_disk_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("pixelwise.models.tensor_files.save_file", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_tensors({}, tmp_path / "x.safetensors")
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path / "x.safetensors")


def test_on_windows_tensors_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors({"a": torch.arange(3.0)}, path)
    mapped = read_tensors(path)["a"]
    monkeypatch.setattr("sys.platform", "win32")
    copied = read_tensors(path)["a"]
    with path.open("r+b") as file:  # a file that is mapped shows the change
        file.seek(-12, 2)
        file.write(bytes(12))
    assert mapped.tolist() == [0.0, 0.0, 0.0]
    assert copied.tolist() == [0.0, 1.0, 2.0]
