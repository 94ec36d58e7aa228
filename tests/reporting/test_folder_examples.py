"""Examples of the files in a folder."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.analysis.file_survey import FolderContent
from pixelwise.reporting.folder_examples import folder_examples
from tests.data.analysis.helpers import scene


def decode(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_masks_are_drawn_in_colors_and_images_as_they_are(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[20:] = 1
    pixels: dict[str, np.ndarray] = {
        "mask.png": mask,
        "wide.png": mask.astype(np.uint16) * 1000,
        "gray.png": scene(1)[..., 0],
        "image.png": scene(2),
        "large.png": np.kron(scene(3), np.ones((20, 20, 1), np.uint8)),
    }
    paths = tuple(tmp_path / name for name in (*pixels, "damaged.png"))
    for path, array in zip(paths, pixels.values(), strict=False):
        Image.fromarray(array).save(path)
    paths[-1].write_bytes(b"damaged")
    examples = folder_examples(FolderContent(".", {"png": 6}, "", paths))
    assert [example.name for example in examples] == list(pixels)
    drawn = [decode(example.url).astype(int) for example in examples]
    for each in drawn[:2]:
        assert np.abs(each[5, 30] - each[40, 30]).max() > 60, "the values 0 and 1 have different colors"
    assert np.abs(drawn[2] - pixels["gray.png"][..., None]).mean() < 20
    assert np.abs(drawn[3] - pixels["image.png"]).mean() < 20
    assert max(examples[4].size) == 320
