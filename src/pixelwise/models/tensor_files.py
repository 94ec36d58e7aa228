"""Reading and writing of safetensors files."""

import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file with the usual permissions.

    safetensors itself creates a file that only the owner can read, and raises SafetensorError instead of OSError.

    Args:
        tensors: name → tensor of any memory layout.
        path: a file that does not exist. It should be in a temporary directory, see `atomic_write`.
        metadata: name → text for the file's header.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
        SafetensorError: safetensors failed for a reason other than an error of the operating system.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # os.umask would change the mask of the whole process
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)  # type: ignore[arg-type]
    except SafetensorError as error:
        number = _ERROR_NUMBER.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
    path.chmod(mode)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file. On Windows they are copies.

    Elsewhere they are a memory map of the file. Windows cannot replace a file that is mapped.

    Args:
        path: the file.

    Returns:
        name → tensor on the CPU.

    Raises:
        OSError, SafetensorError: The file is missing or damaged.
    """
    tensors = load_file(path)
    return {name: tensor.clone() for name, tensor in tensors.items()} if sys.platform == "win32" else tensors
