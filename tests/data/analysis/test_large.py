"""Statistics of images and masks that are read by windows: they are those of decoded ones."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data import band_ranges
from pixelwise.data.analysis import image_scan, large_image, large_mask
from pixelwise.data.analysis.scan import RecordStats, scan_record
from pixelwise.data.band_ranges import measure_scale
from pixelwise.data.io import image_windows
from pixelwise.data.io import large_mask as large_values
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import MaskSource, MultilabelMask, Record

HEIGHT, WIDTH = 640, 512


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write a TIFF file with tiles of 64 pixels."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    is_color = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    kind = {"photometric": "rgb" if is_color else "minisblack", "planarconfig": "contig" if pixels.ndim == 3 else None}
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib", metadata=None, **kind | options)
    return path


def draw_mask() -> np.ndarray:
    """Draw a thin line, a wide rectangle, and dots that the reduced mask does not show."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[100:103], mask[200:400, 100:300] = 1, 2
    mask[501:640:20, 7:512:20] = 5
    return mask


def draw_image(bands: int, dtype: Any) -> np.ndarray:
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(row / (20 + band)) + np.cos(column / (30 + band)) for band in range(bands)], 2)
    return (100 + 40 * waves).astype(dtype)


@pytest.fixture
def is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let images of this size be large, and read them in several bands."""
    monkeypatch.setattr(image_windows, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(image_windows, "_MIN_LARGE_BYTES", 0)
    for module in (large_image, large_values):
        monkeypatch.setattr(module, "_BAND_PIXELS", 100 * WIDTH)
    monkeypatch.setattr(large_values, "_COUNTED_PIXELS", 777)
    yield


def scan_by_windows(record: Record, scale: PixelScale, monkeypatch: pytest.MonkeyPatch) -> RecordStats:
    """Scan a record without decoding its image."""
    with monkeypatch.context() as patch:
        patch.setattr(image_scan, "open_image", None)
        patch.setattr(image_scan, "read_bands", None)
        return scan_record(record, scale)


def assert_equal(found: RecordStats, expected: RecordStats) -> None:
    """Compare statistics. Thumbnails differ by rounding, and digests of masks by their parts."""
    assert found.issues == expected.issues == ()
    assert found.image is not None and expected.image is not None
    for field in fields(found.image):
        one, other = getattr(found.image, field.name), getattr(expected.image, field.name)
        if field.name == "thumbnail":
            assert np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8)).max() <= 2
        else:
            assert one == pytest.approx(other), field.name
    assert found.mask is not None and expected.mask is not None
    assert found.mask.stats == expected.mask.stats
    assert found.mask.missing == expected.mask.missing
    assert [channel for channel, _ in found.mask.regions] == [channel for channel, _ in expected.mask.regions]
    for (_, one), (_, other) in zip(found.mask.regions, expected.mask.regions, strict=True):
        for name in (field.name for field in fields(one) if field.name != "object_sizes"):
            tolerance = 0.06 if name == "widths" else 1e-6  # a width is limited to the side of the measured part
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), tolerance, err_msg=name)
        assert [len(sizes) for sizes in one.object_sizes] == [len(sizes) for sizes in other.object_sizes]


def compare(record: Record, scale: PixelScale, monkeypatch: pytest.MonkeyPatch) -> RecordStats:
    """Compare the statistics of windows with those of the decoded image."""
    with monkeypatch.context() as patch:
        patch.setattr(image_windows, "LARGE_PIXELS", 1 << 26)
        expected = scan_record(record, scale)
    found = scan_by_windows(record, scale, monkeypatch)
    assert_equal(found, expected)
    return found


@pytest.mark.parametrize(
    ("bands", "dtype", "options", "scale"),
    [
        (3, np.uint8, {}, UNSCALED),
        (1, np.uint8, {}, UNSCALED),
        (5, np.uint8, {}, UNSCALED),
        (4, np.uint16, {}, PixelScale(band_ranges=((20, 180),) * 4)),
        (2, np.float32, {}, PixelScale(band_ranges=((20, 180), (0, 200)), nodata=100)),
        (3, np.uint8, {"extratags": [(42113, "s", 0, "100", True)]}, PixelScale(band_ranges=((0, 255),) * 3)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_statistics_by_windows_are_those_of_decoded_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_large: None,
    bands: int,
    dtype: Any,
    options: Any,
    scale: PixelScale,
) -> None:
    image = draw_image(bands, dtype)
    if scale.band_ranges and bands != 4:
        image[150:300, 50:200] = 100  # nodata
    record = Record(write(tmp_path / "a.tif", image, **options), write(tmp_path / "m.tif", draw_mask()))
    found = compare(record, scale, monkeypatch)
    assert found.mask is not None and (found.mask.missing > 0) == bool(scale.band_ranges and bands != 4)


def mask_sources(folder: Path) -> dict[str, MaskSource]:
    """Write masks of several kinds."""
    mask = draw_mask()
    Image.fromarray(mask).save(folder / "m.png")
    colors = np.zeros((3, 256), np.uint16)
    colors[:, :10] = np.arange(10) * 5140
    palette = write(folder / "palette.tif", mask, photometric="palette", colormap=colors)
    rgb = np.stack([mask * 20, mask * 3, mask], 2)
    numbered = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // 4000
    channels = write(folder / "one.tif", (mask == 1).astype(np.uint8)), None, folder / "m.png"
    return {
        "png": folder / "m.png",
        "palette": palette,
        "rgb": write(folder / "rgb.tif", rgb),
        "gray rgb": write(folder / "gray.tif", np.repeat(mask[..., None], 3, 2)),
        "numbered": write(folder / "numbered.tif", (numbered + 1).astype(np.uint16)),
        "multilabel": MultilabelMask(channels),
    }


def test_masks_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: None) -> None:
    image = write(tmp_path / "a.tif", draw_image(3, np.uint8))
    for mask in mask_sources(tmp_path).values():
        assert compare(Record(image, mask), UNSCALED, monkeypatch).mask is not None


def test_narrow_values_are_measured_in_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: None) -> None:
    monkeypatch.setattr(large_mask, "MAX_FULL_SIDE", 120)
    image = write(tmp_path / "a.tif", draw_image(3, np.uint8))
    found = scan_by_windows(Record(image, write(tmp_path / "m.tif", draw_mask())), UNSCALED, monkeypatch)
    assert found.mask is not None
    regions = found.mask.regions[0][1]
    assert regions.widths[regions.values.tolist().index(1)] == pytest.approx(3, rel=0.1)
    assert regions.small_sizes[regions.values.tolist().index(5)] == pytest.approx((1 / HEIGHT / WIDTH) ** 0.5)


def test_a_mask_of_another_size_is_an_issue(tmp_path: Path, is_large: None) -> None:
    record = Record(write(tmp_path / "a.tif", draw_image(3, np.uint8)), write(tmp_path / "m.tif", draw_mask()[:-64]))
    assert "512x640 but its mask" in str(scan_record(record).issues[0])


def test_the_ranges_of_large_images_are_measured_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: None
) -> None:
    path = write(tmp_path / "a.tif", draw_image(2, np.float32))
    monkeypatch.setattr(band_ranges, "read_raw", None)
    ranges = measure_scale([Record(path, None)]).band_ranges
    assert np.allclose(ranges, [(22, 175)] * 2, atol=5)
    assert measure_scale([Record(write(tmp_path / "b.tif", draw_image(3, np.uint8)), None)]) == UNSCALED
