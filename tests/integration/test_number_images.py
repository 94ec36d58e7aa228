"""Images of floats and wide integers: the range is found in the data, stored with the model, and used to predict."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import DataError

LOW, HIGH = -1.5, 2.5


@pytest.fixture(params=["float32", "5 bands of int16"])
def elevations(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Six images of 40x40 pixels: high where the mask is 1. All values are in [LOW, HIGH], or 1000 times that."""
    rng = np.random.default_rng(0)
    for index in range(6):
        mask = (rng.random((5, 5)) > 0.5).repeat(8, 0).repeat(8, 1)
        values = np.where(mask, 2.0, -1.0) + rng.uniform(-0.5, 0.5, (40, 40))
        values[0, :2] = LOW, HIGH
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        if request.param == "float32":
            tifffile.imwrite(tmp_path / "images" / f"{index}.tif", values.astype(np.float32))
        else:
            bands = np.repeat((values * 1000).round()[:, :, None], 5, 2).astype(np.int16)
            tifffile.imwrite(
                tmp_path / "images" / f"{index}.tif", bands, photometric="minisblack", planarconfig="contig"
            )
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    return tmp_path


def test_the_range_is_found_stored_and_used(elevations: Path, tmp_path: Path) -> None:
    data = pw.load_dataset(elevations)
    bands = data.read_spec.channels
    factor = 1000 if bands == 5 else 1
    ranges = data.read_spec.band_ranges
    assert len(ranges) == bands and data.read_spec.pixel_range is None
    assert ranges[0] == pytest.approx((LOW * factor, HIGH * factor), abs=0.02 * factor)
    low, high = ranges[0]
    assert f"from the 0.5 % to the 99.5 % percentile: {low:g} to {high:g}" in " ".join(data.messages)
    image, mask = data.read(data.train[0])
    assert image.dtype == np.uint8 and image.shape == (40, 40, bands)
    assert image.min() == 1 and image.max() == 255
    assert image[mask == 1].mean() == pytest.approx(3.5 / 4 * 255, abs=5)
    assert DatasetSpec.of(data).load(elevations).read_spec == data.read_spec
    spec_file = tmp_path / "data.yaml"
    spec_file.write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    assert DatasetSpec.read(spec_file).band_ranges == ranges

    config = Config(encoder="mobilenetv3_small_050", encoder_weights="none", image_size=64, device="cpu")
    model = config.create_model(data.classes, data.palette, data.read_spec)
    assert model.config.band_ranges == ranges
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run")
    predictor = pw.Predictor.load(tmp_path / "run")
    file = data.train[0].image
    assert isinstance(file, Path)
    np.testing.assert_array_equal(predictor(file).mask, predictor(data.read(data.train[0])[0]).mask)


def test_inspect_measures_in_the_range(elevations: Path) -> None:
    report = pw.inspect(elevations)
    data = pw.load_dataset(elevations)
    assert report.data.read_spec == data.read_spec and report.data.messages[-1] in data.messages
    pixels = np.concatenate([data.read(record)[0].reshape(-1, data.read_spec.channels) for record in data.train])
    np.testing.assert_allclose(report.channel_means, pixels.mean(0), atol=1)
    np.testing.assert_allclose(report.channel_stds, pixels.std(0), atol=1)


def test_a_model_of_other_images_refuses_them(elevations: Path) -> None:
    if pw.load_dataset(elevations).read_spec.channels != 3:
        pytest.skip("the number of bands is refused first")
    config = Config(encoder="mobilenetv3_small_050", encoder_weights="none", image_size=64, device="cpu")
    predictor = pw.Predictor(config.create_model(("a", "b")))
    with pytest.raises(DataError, match=r"\.tif: its pixels are float32, whose range is known only to a model"):
        predictor(next((elevations / "images").iterdir()))
