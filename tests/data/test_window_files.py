"""Windows of TIFF files, read without the cache: they are those of decoded images, and only their tiles are read."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pixelwise.data import window_images
from pixelwise.data.io import tiff_windows
from pixelwise.data.io.record_windows import open_image_windows
from pixelwise.data.resize import Scale
from pixelwise.data.schema import LabelMap, MaskSource, MultilabelMask, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.data.window_dataset import GridWindows, WindowDataset
from pixelwise.errors import DataError

HEIGHT, WIDTH = 210, 170
SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2, 9: 255}))
COLORS = ReadSpec(LabelMap("rgb", {0: 0, 0xFF0000: 1, 0x0000FF: 2, 0xFFFFFF: 255}))


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows be read from files, as if the images did not fit into memory."""
    monkeypatch.setattr(window_images, "MAX_DECODED_BYTES", 1_000)


def draw_mask() -> np.ndarray:
    """Draw a mask with a line, a rare class of 4 pixels, and ignored pixels."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:23], mask[150:152, 160:162], mask[200:] = 1, 2, 9
    return mask


def draw_image(bands: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    image = np.random.default_rng(bands).integers(0, 256, (HEIGHT, WIDTH, bands))
    return (image * 3 - 100 if dtype != np.uint8 else image).astype(dtype)


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write a TIFF file in tiles of 32 pixels."""
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8:
        options = {"photometric": "rgb"} | options
    else:
        options = {"photometric": "minisblack", "planarconfig": "contig"} | options
    defaults: dict[str, Any] = {"tile": (32, 32), "compression": "zlib", "metadata": None}
    tifffile.imwrite(path, pixels, **defaults | options)
    return path


def write_palette(path: Path, pixels: np.ndarray) -> Path:
    colors = np.zeros((3, 256), np.uint16)
    colors[:, :10] = np.arange(10) * 5140
    return write(path, pixels, photometric="palette", colormap=colors)


def windows_of(records: list[Record], spec: ReadSpec, scale: float = 1.0, side: int = 24, **options: Any) -> Any:
    return WindowDataset(records, spec, scale, side, cache_images=False, **options)


def assert_equals_decoded(
    record: Record, spec: ReadSpec, scale: float, monkeypatch: pytest.MonkeyPatch, side: int = 24
) -> None:
    """Compare windows and class counts with those of the decoded image."""
    draws = [(index, index) for index in range(40 if side < 100 else 6)]
    with monkeypatch.context() as patch:
        patch.setattr(window_images, "MAX_DECODED_BYTES", 1 << 30)
        decoded = windows_of([record], spec, scale, side)
        expected = decoded.__getitems__(draws)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationDataset, "read", None)  # nothing is decoded as a whole
        windows = windows_of([record], spec, scale, side)
        items = windows.__getitems__(draws)
        counts = windows.class_pixels_of(0)
    assert torch.equal(counts, decoded.class_pixels_of(0))
    assert any((mask == 2).any() or mask.ndim == 3 for _, mask in items), "the rare class is drawn"
    for (image, mask), (expected_image, expected_mask) in zip(items, expected, strict=True):
        difference = (image.short() - expected_image.short()).abs()
        assert difference.max() <= (scale != 1) and difference.float().mean() < 0.4, "rounding of the resized image"
        assert torch.equal(mask, expected_mask)


@pytest.mark.parametrize("scale", [1.0, 0.4, 1.5])
@pytest.mark.parametrize("side", [24, 400])
def test_windows_are_those_of_the_decoded_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float, side: int
) -> None:
    record = Record(write(tmp_path / "image.tif", draw_image()), write(tmp_path / "mask.tif", draw_mask()))
    monkeypatch.setattr("pixelwise.data.scaled_windows._MAX_PIXELS", 16_000)
    assert_equals_decoded(record, SPEC, scale, monkeypatch, side)


@pytest.mark.parametrize(
    ("bands", "dtype", "options", "settings"),
    [
        (1, np.uint8, {}, {}),
        (1, np.uint16, {}, {}),
        (4, np.uint8, {"extrasamples": ["unassalpha"]}, {}),
        (5, np.uint8, {}, {"channels": 5}),
        (2, np.float32, {}, {"channels": 2, "band_ranges": ((0, 600), (10, 500)), "nodata": 200}),
        (1, np.int16, {}, {"band_ranges": ((-50, 500),) * 3}),
        (3, np.uint8, {"extratags": [(42113, "s", 0, "7", True)]}, {"band_ranges": ((0, 255),) * 3}),
        (3, np.uint8, {"compression": None, "tile": None}, {}),
        (3, np.uint16, {"tile": None, "rowsperstrip": 9}, {}),
    ],
    ids=str,
)
def test_images_are_converted_like_decoded_ones(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bands: int,
    dtype: Any,
    options: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    image = draw_image(bands, dtype)
    image[100:130, 20:50] = 7 if dtype == np.uint8 else 200  # nodata
    image = image[..., 0] if bands == 1 else image
    record = Record(write(tmp_path / "image.tif", image, **options), write(tmp_path / "mask.tif", draw_mask()))
    assert_equals_decoded(record, ReadSpec(SPEC.label_map, **settings), 1.0, monkeypatch)


def masks_of(folder: Path, kind: str) -> tuple[MaskSource, ReadSpec]:
    mask = draw_mask()
    if kind == "palette":
        return write_palette(folder / "mask.tif", mask), SPEC
    if kind == "colors":
        colors = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)] + [(255, 255, 255)] * 7, np.uint8)
        return write(folder / "mask.tif", colors[mask]), COLORS
    if kind == "png":
        Image.fromarray(mask).save(folder / "mask.png")
        return folder / "mask.png", SPEC
    if kind == "channels":
        files = [write(folder / f"{value}.tif", (mask == value).astype(np.uint8)) for value in (1, 2)]
        return MultilabelMask((*files, None, None), frozenset({3})), ReadSpec(LabelMap("multilabel", {0: 0, 1: 1}))
    types = {"int16": np.int16, "uint16": np.uint16, "float32": np.float32, "gray": np.uint8}
    return write(folder / "mask.tif", mask.astype(types[kind])), SPEC


@pytest.mark.parametrize("kind", ["palette", "colors", "png", "channels", "int16", "uint16", "float32", "gray"])
def test_masks_are_those_of_decoded_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mask, spec = masks_of(tmp_path, kind)
    image = write_palette(tmp_path / "image.tif", draw_image(1)[..., 0] % 10)
    assert_equals_decoded(Record(image, mask), spec, 1.0, monkeypatch)


def test_a_window_reads_only_its_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write(tmp_path / "image.tif", draw_image())
    record = Record(image, write(tmp_path / "mask.tif", draw_mask()))
    read: dict[str, int] = {"image.tif": 0, "mask.tif": 0}
    read_bytes = tiff_windows._read_bytes

    def counted(file: tifffile.FileHandle, start: int, count: int) -> bytes:
        read[file.name] += count
        return read_bytes(file, start, count)

    monkeypatch.setattr(tiff_windows, "_read_bytes", counted)
    monkeypatch.setattr(SegmentationDataset, "read", None)
    windows = windows_of([record], SPEC)
    windows.__getitems__([(0, 0)])
    with tifffile.TiffFile(image) as tiff, tifffile.TiffFile(tmp_path / "mask.tif") as tiff_mask:
        tile = max(tiff.pages.first.databytecounts)
        assert 0 < read["image.tif"] <= 4 * tile < sum(tiff.pages.first.databytecounts) / 8
        pixels = sum(tiff_mask.pages.first.databytecounts)
        assert pixels <= read["mask.tif"] < 2 * pixels, "the mask is read once, to find its classes"
        before = read["mask.tif"]
        windows.__getitems__([(index, index) for index in range(10)])
        assert read["mask.tif"] - before <= 10 * 5 * max(tiff_mask.pages.first.databytecounts)
    assert windows.mean_bytes == 0 and windows.images_in_memory > 1_000_000


def test_a_seed_determines_the_window_also_in_workers(tmp_path: Path) -> None:
    masks = [write(tmp_path / "mask.tif", draw_mask()), *(tmp_path / f"{number}.png" for number in range(2))]
    for mask in masks[1:]:
        Image.fromarray(draw_mask()).save(mask)
    Image.fromarray(draw_image()).save(tmp_path / "image.png")
    tiff = write(tmp_path / "image.tif", draw_image())
    windows = windows_of(
        [Record(tiff, masks[0]), Record(tmp_path / "image.png", masks[1]), Record(tiff, masks[2])], SPEC
    )
    assert [pixels.has_windows for pixels in windows._images.kept] == [True, False, True]
    assert windows.mean_bytes == HEIGHT * WIDTH * (0 + 4 + 1) / 3
    draws = [[(0, 5), (len(windows) - 1, 6)], [(len(windows) // 2, 7), (3, 8)]]
    again = pickle.loads(pickle.dumps(windows))
    loader = DataLoader(again, batch_sampler=draws, num_workers=1, collate_fn=collate)
    for batch, expected in zip(loader, [windows.__getitems__(batch) for batch in draws], strict=True):
        assert torch.equal(batch[0], torch.stack([item[0] for item in expected]))
        assert torch.equal(batch[1], torch.stack([item[1] for item in expected]))


def test_a_grid_reads_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(write(tmp_path / "image.tif", draw_image()), write(tmp_path / "mask.tif", draw_mask()))
    images = SegmentationDataset([record], SPEC, Scale(1.0), cache_images=False)
    monkeypatch.setattr(SegmentationDataset, "read", None)
    grid = GridWindows(images, 100)
    assert len(grid) == 6
    assert np.array_equal(grid[5][0].permute(1, 2, 0), draw_image()[-100:, -100:])


@pytest.mark.parametrize("fault", ["size", "value", "damaged"])
def test_errors_name_the_file_and_can_be_skipped(tmp_path: Path, fault: str) -> None:
    mask = draw_mask()
    if fault == "value":
        mask[mask == 2] = 77
    image = write(tmp_path / "image.tif", draw_image())
    record = Record(image, write(tmp_path / "mask.tif", mask[:200] if fault == "size" else mask))
    if fault == "damaged":
        content = bytearray(image.read_bytes())
        with tifffile.TiffFile(image) as tiff:
            for offset in tiff.pages.first.dataoffsets:
                content[offset : offset + 20] = bytes(20)
        image.write_bytes(content)
    message = {
        "size": rf"image\.tif: image is {WIDTH}x{HEIGHT} but its mask .*mask\.tif is {WIDTH}x200",
        "value": r"mask\.tif: mask value 77 is outside the classes; expected only 0, 1, 2, 9",
        "damaged": r"image\.tif: truncated or corrupt",
    }
    with pytest.raises(DataError, match=message[fault]):
        windows_of([record], SPEC).__getitems__([(index, index) for index in range(9)])
    windows = windows_of([record], SPEC, skip_unreadable=True)
    items = windows.__getitems__([(index, index) for index in range(9)])
    assert len(windows.skipped) == 1 and all((mask == 255).all() for _, mask in items)


def test_files_that_are_decoded_as_a_whole(tmp_path: Path) -> None:
    strip = write(tmp_path / "strip.tif", draw_image(), tile=None, rowsperstrip=HEIGHT)
    rotated = write(tmp_path / "rotated.tif", draw_image(), extratags=[(274, "H", 1, 6, True)])
    bands = write(tmp_path / "bands.tif", draw_image(5))
    png = tmp_path / "image.png"
    Image.fromarray(draw_image()).save(png)
    for path in (strip, rotated, bands, png, tmp_path / "missing.tif"):
        assert open_image_windows(Record(path, None), SPEC) is None, path


def test_images_that_fit_into_memory_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_images, "MAX_DECODED_BYTES", HEIGHT * WIDTH * 8)
    record = Record(write(tmp_path / "image.tif", draw_image()), write(tmp_path / "mask.tif", draw_mask()))
    for total, has_windows in ((2, False), (3, True)):
        windows = windows_of([record], SPEC, total_images=total)
        assert windows._images.kept[0].has_windows == has_windows
    assert not windows_of([record] * 2, SPEC)._images.kept[0].has_windows
