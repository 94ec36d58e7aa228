"""Records of noise, and a cache folder for each test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.cache import builder, store
from pixelwise.data.schema import ReadSpec, Record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder, which does not exist yet."""
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Write five images of 48x36 noise, with masks of 0, 1 and 255."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (36, 48, 3), np.uint8)).save(folder / f"{number}.png")
        mask = rng.choice(np.array([0, 1, 255], np.uint8), (36, 48))
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
    return [Record(folder / f"{number}.png", folder / f"{number}_mask.png") for number in range(5)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Return a list that gets each record when it is decoded for the cache, in any order."""
    seen: list[Record] = []
    load_and_resize = builder.load_and_resize

    def counted(record: Record, read_spec: ReadSpec, image_size: int) -> tuple[np.ndarray, np.ndarray]:
        seen.append(record)
        return load_and_resize(record, read_spec, image_size)

    for module in (builder, store):
        monkeypatch.setattr(module, "load_and_resize", counted)
    return seen
