"""Images that are not RGB: TIFFs with any number of bands, 16-bit gray."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.io.image import count_channels
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.models.model import SegmentationModel
from pixelwise.models.pretrained import bundled
from pixelwise.palette import default_palette

BANDS = 5
MASKS = LabelMap("index", {0: 0, 1: 1})


def write(folder: Path, count: int, dtype: type) -> tuple[pw.Record, ...]:
    """Images in which only the last band shows where the thing is."""
    rng = np.random.default_rng(5)
    records = []
    for number in range(count):
        levels = rng.integers(0, 200, (64, 72, BANDS)).astype(np.uint8)
        mask = np.zeros((64, 72), np.uint8)
        top, left = rng.integers(0, 30, 2)
        mask[top : top + 30, left : left + 30] = 1
        levels[..., 4] = np.where(mask, 220, 30)
        image = levels if dtype is np.uint8 else levels.astype(np.uint16) << 8
        tifffile.imwrite(folder / f"{number}.tif", image, photometric="minisblack", planarconfig="contig")
        Image.fromarray(mask).save(folder / f"{number}.png")
        records.append(pw.Record(folder / f"{number}.tif", folder / f"{number}.png"))
    return tuple(records)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_learns_from_the_band_that_tells(dtype: type, tmp_path: Path) -> None:
    records = write(tmp_path, 16, dtype)
    assert count_channels(records[0].image) == BANDS
    data = pw.DatasetIndex(
        tmp_path, "made", ("rest", "thing"), default_palette(2), ReadSpec(MASKS, BANDS), records[:10], records[10:13],
        records[13:],
    )  # fmt: skip
    run = pw.train(
        data, tmp_path / "run", image_size=64, epochs=6, batch_size=4, lr=1e-2, freeze_encoder=True, defaults=False
    )
    predictor = pw.Predictor.load(run.path)
    card = predictor.model.config
    assert len(card.mean) == len(card.std) == BANDS
    assert card.mean[0] == pytest.approx(99.5, abs=4) and card.mean[4] < 110, "each band's own, from the data"
    assert pw.evaluate(run, data, "test").metrics.mean_iou > 0.7
    assert predictor(tmp_path / "13.tif").overlay().mode == "RGB"
    with pytest.raises(pw.DataError, match="has 3 channels"):
        Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
        predictor(tmp_path / "plain.png")


def test_the_first_layer_is_made_of_the_pretrained_one() -> None:
    config = Config.from_preset()
    reading = ReadSpec(MASKS, BANDS)
    model = config.create_model(("a", "b"), default_palette(2), reading)
    made = model.encoder.backbone.conv_stem.weight
    source = bundled(config.encoder).tensors["conv_stem.weight"]
    torch.testing.assert_close(made, source.repeat(1, 2, 1, 1)[:, :BANDS] * 3 / BANDS)
    images = torch.zeros(2, BANDS, 64, 64, dtype=torch.uint8)
    assert model(images).shape == (2, 2, 64, 64)


def test_the_model_is_saved_with_its_bands(tmp_path: Path) -> None:
    model = Config.from_preset(encoder_weights="none").create_model(
        ("a", "b"), default_palette(2), ReadSpec(MASKS, 2, bit_depth=12)
    )
    model.set_normalization([10.0, 20.0], [3.0, 4.0])
    model.save(tmp_path)
    again = SegmentationModel.load(tmp_path)
    assert again.config.mean == (10.0, 20.0) and again.config.std == (3.0, 4.0) and again.config.bit_depth == 12
    images = torch.randint(0, 256, (1, 2, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(again(images), model.eval()(images))


def test_sixteen_bits_of_which_twelve_are_used(tmp_path: Path) -> None:
    levels = np.array([[0, 16, 2048, 4095]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    from pixelwise.data.io.image import read_image

    assert read_image(tmp_path / "gray.png", bits=12)[..., 0].tolist() == [[0, 1, 128, 255]]
    assert read_image(tmp_path / "gray.png")[..., 0].tolist() == [[0, 0, 8, 15]]
