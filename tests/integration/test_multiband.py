"""Training on images that are not RGB: TIFFs with any number of bands."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.io.image import count_channels, read_image
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.models.model import SegmentationModel
from pixelwise.models.pretrained import bundled
from pixelwise.palette import default_palette

pytestmark = pytest.mark.integration

BANDS = 5
LABELS = LabelMap("index", {0: 0, 1: 1})


def write_records(folder: Path, count: int, dtype: type) -> tuple[pw.Record, ...]:
    """Write images in which only the last band shows the object."""
    rng = np.random.default_rng(5)
    records = []
    for number in range(count):
        pixels = rng.integers(0, 200, (64, 72, BANDS)).astype(np.uint8)
        mask = np.zeros((64, 72), np.uint8)
        top, left = rng.integers(0, 30, 2)
        mask[top : top + 30, left : left + 30] = 1
        pixels[..., 4] = np.where(mask, 220, 30)
        image = pixels if dtype is np.uint8 else pixels.astype(np.uint16) << 8
        tifffile.imwrite(folder / f"{number}.tif", image, photometric="minisblack", planarconfig="contig")
        Image.fromarray(mask).save(folder / f"{number}.png")
        records.append(pw.Record(folder / f"{number}.tif", folder / f"{number}.png"))
    return tuple(records)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_model_learns_from_the_band_that_shows_the_object(dtype: type, tmp_path: Path) -> None:
    records = write_records(tmp_path, 16, dtype)
    assert count_channels(records[0].image) == BANDS
    data = pw.DatasetIndex(
        tmp_path, "synthetic", ("background", "object"), default_palette(2), ReadSpec(LABELS, BANDS),
        records[:10], records[10:13], records[13:],
    )  # fmt: skip
    run = pw.train(
        data, tmp_path / "run", image_size=64, epochs=6, batch_size=4, lr=1e-2, freeze_encoder=True, defaults=False
    )
    predictor = pw.Predictor.load(run.path)
    config = predictor.config
    assert config.mean is not None and config.std is not None
    assert len(config.mean) == len(config.std) == BANDS
    assert config.mean[0] == pytest.approx(99.5, abs=4) and config.mean[4] < 110, "statistics of the data"
    mean_iou = pw.evaluate(run, data, "test").metrics.mean_iou
    assert mean_iou is not None and mean_iou > 0.7
    assert predictor(tmp_path / "13.tif").overlay().mode == "RGB"
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(pw.DataError, match="has 3 channels"):
        predictor(tmp_path / "plain.png")


def test_the_first_layer_repeats_the_pretrained_weights() -> None:
    config = Config.from_preset()
    read_spec = ReadSpec(LABELS, BANDS)
    model = config.create_model(("a", "b"), default_palette(2), read_spec)
    weights = model.encoder.backbone.state_dict()["conv_stem.weight"]
    tensors = bundled(config.encoder).tensors
    assert tensors is not None
    pretrained = tensors["conv_stem.weight"]
    torch.testing.assert_close(weights, pretrained.repeat(1, 2, 1, 1)[:, :BANDS] * 3 / BANDS)
    images = torch.zeros(2, BANDS, 64, 64, dtype=torch.uint8)
    assert model(images).shape == (2, 2, 64, 64)


def test_a_saved_model_keeps_its_bands_and_bit_depth(tmp_path: Path) -> None:
    model = Config.from_preset(encoder_weights="none").create_model(
        ("a", "b"), default_palette(2), ReadSpec(LABELS, 2, bit_depth=12)
    )
    model.set_normalization([10.0, 20.0], [3.0, 4.0])
    model.save(tmp_path)
    loaded = SegmentationModel.load(tmp_path)
    assert loaded.config.mean == (10.0, 20.0) and loaded.config.std == (3.0, 4.0) and loaded.config.bit_depth == 12
    images = torch.randint(0, 256, (1, 2, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(loaded(images), model.eval()(images))


def test_12_of_16_bits_are_read_with_their_bit_depth(tmp_path: Path) -> None:
    values = np.array([[0, 16, 2048, 4095]], np.uint16)
    Image.fromarray(values).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png", scale=PixelScale(bit_depth=12))[..., 0].tolist() == [[0, 1, 128, 255]]
    assert read_image(tmp_path / "gray.png")[..., 0].tolist() == [[0, 0, 8, 15]]
