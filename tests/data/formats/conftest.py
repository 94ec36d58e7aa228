"""What the tests of all formats share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelwise.data.formats import detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_mask
from tests.data.formats.writers.folders import Sample


@pytest.fixture(scope="module", params=["oxford-iiit-pet", "camvid"])
def real_samples(request: pytest.FixtureRequest) -> tuple[list[Sample], list[str]]:
    """Five real images and masks, reduced, and the names of their classes."""
    root = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / request.param
    if not root.is_dir():
        pytest.skip(f"needs PIXELWISE_DATA, a folder that holds {request.param}/")
    layout = detect_format(root)[1]
    records = [*layout.train[::97][:3], *(layout.val or layout.test)[:2]]
    splits = ("train", "train", "train", "val", "test")
    return [
        Sample(f"image {i}", split, read_image(r.image)[::4, ::4], read_mask(r.mask, layout.label_map)[::4, ::4])
        for i, (r, split) in enumerate(zip(records, splits, strict=True))
    ], list(layout.classes)


@pytest.fixture(scope="module")
def quiet_datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Writers' own use of `datasets`: no bars, no network, a cache of this test run's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        pytest.importorskip("datasets").disable_progress_bars()
        yield
