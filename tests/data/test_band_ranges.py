"""The range of values of each band as percentiles."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.band_ranges import MAX_IMAGES, measure_scale, scale_messages
from pixelwise.data.io.tiff import NODATA_TAG
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import Record
from pixelwise.errors import ConfigError


def write(folder: Path, images: list[np.ndarray], nodata: str | None = None, suffix: str = "tif") -> list[Record]:
    records = []
    for number, image in enumerate(images):
        path = folder / f"{number}.{suffix}"
        if suffix == "tif":
            tags = [] if nodata is None else [(NODATA_TAG, "s", 0, nodata, True)]
            tifffile.imwrite(path, image, photometric="minisblack", extratags=tags)
        else:
            Image.fromarray(image).save(path)
        records.append(Record(path, None))
    return records


def test_ranges_are_percentiles_of_each_band_over_all_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal((0, 500, -3), (1, 90, 0.1), (60, 70, 3)).astype(np.float32) for _ in range(5)]
    images[0][0, 0] = 1e6  # an outlier
    ranges = measure_scale(write(tmp_path, [np.moveaxis(image, 2, 0) for image in images])).band_ranges
    pixels = np.stack(images).reshape(-1, 3)
    for band, (low, high) in enumerate(ranges):
        assert (low, high) == pytest.approx(tuple(np.percentile(pixels[:, band], (0.5, 99.5))), rel=1e-5)


@pytest.mark.parametrize("nodata", ["tag", "argument", "nan"])
def test_nodata_is_left_out_of_the_percentiles(nodata: str, tmp_path: Path) -> None:
    values = np.arange(2000).reshape(40, 50).astype(np.float32)
    values[:30] = np.nan if nodata == "nan" else -9999
    records = write(tmp_path, [values], "-9999" if nodata == "tag" else None)
    scale = measure_scale(records, -9999.0 if nodata == "argument" else None)
    np.testing.assert_allclose(scale.band_ranges, [np.percentile(np.arange(1500, 2000), (0.5, 99.5))] * 3)
    assert scale.nodata == (-9999 if nodata == "argument" else None)


def test_microscopy_with_few_of_16_bits_gets_contrast(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(100, 800, (50, 60)).astype(np.uint16)
    scale = measure_scale(write(tmp_path, [image], suffix="png"))
    pixels = scale.apply(image)
    assert pixels.min() == 1 and pixels.max() == 255 and pixels.std() > 70


def test_images_with_8_bits_have_no_ranges_and_few_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = write(tmp_path, [np.zeros((4, 4), np.uint8)] * 9)
    read: list[str] = []
    original = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert measure_scale(records) == PixelScale()
    assert set(read) == {"0.tif", "1.tif", "2.tif", "3.tif"}
    read.clear()
    assert measure_scale([Record(tmp_path / f"{n}.jpg", None) for n in range(3)]) == PixelScale() and not read


def test_8_bit_images_with_nodata_reserve_a_value(tmp_path: Path) -> None:
    image = np.zeros((4, 4), np.uint8)
    expected = ((0, 255),) * 3
    assert measure_scale(write(tmp_path, [image], "0")) == PixelScale(band_ranges=expected)
    assert measure_scale([Record(tmp_path / "photo.jpg", None)], 0.0) == PixelScale(band_ranges=expected, nodata=0)
    bands = write(tmp_path, [np.zeros((5, 4, 4), np.uint8)])
    assert measure_scale(bands, 0.0) == PixelScale(band_ranges=((0, 255),) * 5, nodata=0)


def test_the_majority_decides(tmp_path: Path) -> None:
    eight, deep = np.zeros((4, 4), np.uint8), np.arange(16, dtype=np.uint16).reshape(4, 4)
    assert measure_scale(write(tmp_path, [deep, eight, eight])).band_ranges == ()
    assert len(measure_scale(write(tmp_path, [eight, deep, deep])).band_ranges) == 3
    five = np.zeros((5, 4, 4), np.uint16)
    assert len(measure_scale(write(tmp_path, [deep, five, five])).band_ranges) == 5


def test_unreadable_images_are_left_out_and_no_images_have_no_ranges(tmp_path: Path) -> None:
    (tmp_path / "0.tif").write_bytes(b"II*\0broken")
    assert measure_scale([Record(tmp_path / "0.tif", None)]) == PixelScale()
    assert measure_scale([]) == PixelScale()


def test_constant_and_empty_bands_have_a_range(tmp_path: Path) -> None:
    assert measure_scale(write(tmp_path, [np.full((4, 4), 7, np.uint16)])).band_ranges == ((7, 8),) * 3
    assert measure_scale(write(tmp_path, [np.full((4, 4), np.nan, np.float32)])).band_ranges == ((0, 1),) * 3


def test_at_most_some_images_are_read(tmp_path: Path) -> None:
    images = [np.full((2, 2), number, np.uint16) for number in range(MAX_IMAGES * 3)]
    low, high = measure_scale(write(tmp_path, images)).band_ranges[0]
    assert low < 3 and high > MAX_IMAGES * 3 - 6, "they are spread over the data set"


def test_images_at_the_end_count_with_any_number_of_images(tmp_path: Path) -> None:
    for count in (MAX_IMAGES + 1, MAX_IMAGES * 2 - 1):
        images = [np.full((2, 2), number >= MAX_IMAGES, np.uint16) * 500 for number in range(count)]
        (low, high) = measure_scale(write(tmp_path, images)).band_ranges[0]
        assert (low, high) == (0, 500)


@pytest.mark.parametrize("nodata", [float("nan"), float("inf"), 1e300])
def test_impossible_nodata_values_are_errors(nodata: float) -> None:
    with pytest.raises(ConfigError, match=r"`nodata` is .*; it must be a number that pixels can have"):
        measure_scale([], nodata)


def test_the_lowest_float32_as_gis_programs_round_it_can_be_nodata() -> None:
    assert measure_scale([], -3.4028235e38).nodata == -3.4028235e38


def test_the_message_lists_the_bands() -> None:
    assert scale_messages(PixelScale()) == []
    (same,) = scale_messages(PixelScale(band_ranges=((0, 5),) * 3), 0)
    assert same.endswith("percentile: 0 to 5")
    many, unknown = scale_messages(PixelScale(band_ranges=tuple((0, 5 + n) for n in range(20))))
    assert "band 16 0 to 20, … and 4 more" in many and unknown.startswith("pixels without data (the tag GDAL_NODATA")
    assert scale_messages(PixelScale(band_ranges=((0, 255),) * 3, nodata=0), 0) == [
        "0 % of the pixels have no data (0, the tag GDAL_NODATA, an internal mask, NaN or infinity); they are ignored"
    ]
