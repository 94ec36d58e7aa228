"""Files whose values are compared to find the masks of a data set."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats import _mask_candidates
from pixelwise.data.formats._filesystem import ImageFile
from tests.data.formats.writers.folders import save


def write_files(root: Path, values: np.ndarray) -> list[ImageFile]:
    """Write three images with random pixels of these values, and return them."""
    generator = np.random.default_rng(0)
    files = [ImageFile("files", f"{name}.png", name) for name in "abc"]
    for file in files:
        save(root / file.folder / file.name, generator.choice(values, (60, 90)).astype(np.uint8))
    return files


@pytest.mark.parametrize(("values", "masks"), [(np.arange(5), True), (np.arange(256), False)])
def test_a_part_of_the_pixels_of_large_files_is_compared(
    values: np.ndarray, masks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_files(tmp_path, values)
    assert _mask_candidates.are_masks(tmp_path, files) == masks
    monkeypatch.setattr(_mask_candidates, "MAX_SAMPLED_PIXELS", 1000)
    kind, pixels = _mask_candidates._read(tmp_path, files[0])
    assert kind == "index" and pixels.shape == (20, 30) and set(pixels.ravel()) <= set(values)
    assert _mask_candidates.are_masks(tmp_path, files) == masks
