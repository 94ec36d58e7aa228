"""Fixtures of the format tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelwise.data.formats.registry import detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_mask
from tests.data.formats.support import label_map_of, path_of
from tests.data.formats.writers.folders import Sample, draw_scenes, save


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test; all classes and ignored pixels in each."""
    return draw_scenes(("scene 1", "a_1", "猫 3", "b.2", "1", "10%20"), (0, 1, 2, 255))


@pytest.fixture
def folder(samples: list[Sample], tmp_path: Path) -> Path:
    """Images a/0.png, … and masks m/0.png, …, in folders whose names have no role. There is no table yet."""
    for index, sample in enumerate(samples):
        save(tmp_path / "a" / f"{index}.png", sample.image)
        save(tmp_path / "m" / f"{index}.png", sample.mask)
    return tmp_path


@pytest.fixture(scope="module", params=["oxford-iiit-pet", "camvid"])
def real_samples(request: pytest.FixtureRequest) -> tuple[list[Sample], list[str]]:
    """Five real images and masks at a quarter of their size, and the class names."""
    root = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / request.param
    if not root.is_dir():
        pytest.skip(f"needs PIXELWISE_DATA, a folder with {request.param}/")
    result = detect_format(root)[1]
    records = [*result.train[::97][:3], *(result.val or result.test)[:2]]
    splits = ("train", "train", "train", "val", "test")
    label_map = label_map_of(result)
    return [
        Sample(
            f"image {index}",
            split,
            read_image(record.image)[::4, ::4],
            read_mask(path_of(record.mask), label_map)[::4, ::4],
        )
        for index, (record, split) in enumerate(zip(records, splits, strict=True))
    ], list(result.classes)


@pytest.fixture(scope="module")
def quiet_datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the writers use `datasets` without progress bars and network, and with a cache for this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        pytest.importorskip("datasets").disable_progress_bars()
        yield
