"""Conversion of images to RGB arrays, band by band."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from pixelwise.data.io import rgb
from pixelwise.data.io.rgb import has_numbers, rgb_array, to_rgb
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.errors import DataError

PIXELS = np.random.default_rng(3).integers(0, 256, (13, 9, 4), np.uint8)


def with_transparent_color(mode: str) -> Image.Image:
    image = Image.fromarray(PIXELS[:, :, :3]).convert(mode)
    image.info["transparency"] = 7 if mode != "RGB" else tuple(PIXELS[0, 0, :3].tolist())
    return image


IMAGES = {
    **{mode: Image.fromarray(PIXELS).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")},
    "I;16": Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 200),
    "I": Image.fromarray(PIXELS[:, :, 0].astype(np.int32) * 1000),
    "F": Image.fromarray(PIXELS[:, :, 0].astype(np.float32) / 3),
    "P with transparency": with_transparent_color("P"),
    "L with transparency": with_transparent_color("L"),
    "RGB with transparency": with_transparent_color("RGB"),
}


@pytest.mark.parametrize("pixels", [1, 20, 117, 1000])
@pytest.mark.parametrize("name", IMAGES)
def test_bands_have_the_pixels_of_the_whole_image(name: str, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, scale = IMAGES[name], PixelScale(pixel_range=(0.0, 255.0))
    expected = rgb_array(image, scale)
    assert has_numbers(image) or np.array_equal(expected, np.asarray(to_rgb(image)))
    monkeypatch.setattr(rgb, "_BAND_PIXELS", pixels)
    array = rgb_array(image, scale)
    assert np.array_equal(array, expected)
    assert array.shape == (13, 9, 3) and array.flags.c_contiguous and array.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_of_a_rotated_image(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(PIXELS[:, :, :3]).save(file, "PNG", exif=exif)
    expected = np.asarray(to_rgb(Image.open(file)))
    monkeypatch.setattr(rgb, "_BAND_PIXELS", 20)
    assert np.array_equal(rgb_array(Image.open(file)), expected)


def test_numbers_need_a_range_in_bands_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rgb, "_BAND_PIXELS", 20)
    with pytest.raises(DataError):
        rgb_array(IMAGES["F"])
