"""Images and files for the tests of predictions."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


def make_image(height: int = 51, width: int = 77, seed: int = 0) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of smooth color blobs, whose mask has more than one class."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    blobs = F.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (blobs * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def touch(folder: Path, *names: str) -> None:
    """Make empty files, and the folders that they are in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the hash and the modification time of each file."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
