"""The data sets of windows: their items, the classes that they show, and images without the cache."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch.utils.data import DataLoader

from pixelwise.data.augmentations import build_transform
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.partial_labels import PartialLabels
from pixelwise.data.resize import Scale, resize_image, resize_mask
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.schema import LabelMap, MultilabelMask, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.data.window_dataset import GridWindows, WindowDataset
from pixelwise.data.windows import MIN_WINDOWS
from pixelwise.errors import DataError

SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2}))
SIZES = ((300, 200), (150, 260), (40, 90))
"""Height and width of each image."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Draw three images whose pixels encode their position. Class 1 is a line in two of them, class 2 one pixel."""
    folder, records = tmp_path_factory.mktemp("windows"), []
    for number, (height, width) in enumerate(SIZES):
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([rows % 256, columns % 256, np.full_like(rows, number)], 2).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        if number < 2:
            mask[20] = 1
        if number == 1:
            mask[140, 250] = 2
        image_file, mask_file = folder / f"{number}.png", folder / f"{number}-mask.png"
        Image.fromarray(pixels).save(image_file)
        Image.fromarray(mask).save(mask_file)
        records.append(Record(image_file, mask_file))
    return records


def test_a_window_is_a_part_of_its_image_at_the_working_scale(records: list[Record]) -> None:
    windows = WindowDataset(records, SPEC, 1.0, 32)
    assert windows.image_sizes() == list(SIZES) and windows.image_count == 3
    assert len(windows) == pytest.approx(MIN_WINDOWS, abs=2)
    for image, mask in windows.__getitems__([(index, index) for index in range(len(windows))]):
        assert image.shape == (3, 32, 32) and mask.shape == (32, 32)
        number, rows = int(image[2, 0, 0]), image[0, :, 0].int()
        assert (image[2] == number).all() and (image[1, 0].int().diff().remainder(256) == 1).all()
        assert (rows.diff().remainder(256) == 1).all(), "32 consecutive rows"
        if number == 1:
            assert torch.equal((mask == 1).any(1), rows == 20), "the mask is that of the same rows"


def test_half_of_the_windows_show_each_class_equally_often(records: list[Record]) -> None:
    windows = WindowDataset(records, SPEC, 1.0, 16)
    items = windows.__getitems__([(index % len(windows), index) for index in range(1500)])
    rare = sum(bool((mask == 2).any()) for _, mask in items) / len(items)
    assert rare == pytest.approx(1 / 6, abs=0.04), "one pixel of 114,600 is in a sixth of the windows"


def test_windows_of_a_scale_are_those_of_the_resized_image(records: list[Record]) -> None:
    whole = SegmentationDataset(records, SPEC, Scale(0.5))
    for index, record in enumerate(records):
        image, mask = read_image_and_mask(record, SPEC)
        size = (SIZES[index][0] // 2, SIZES[index][1] // 2)
        assert torch.equal(whole[index][0], resize_image(image, size))
        assert torch.equal(whole[index][1], resize_mask(mask, size))
    grid = GridWindows(whole, 50)
    assert len(grid) == 3 * 2 + 2 * 3 + 1
    assert torch.equal(grid[0][0], whole[0][0][:, :50, :50]) and torch.equal(grid[5][1], whole[0][1][-50:, -50:])
    assert grid[len(grid) - 1][0].shape == (3, 50, 50), "mirrored beyond the border of the small image"


def test_a_seed_determines_the_window_also_in_workers_and_without_the_cache(records: list[Record]) -> None:
    windows = WindowDataset(records, SPEC, 1.0, 32, build_transform("crop", 24))
    draws = [[(0, 5), (200, 6)], [(100, 7), (30, 8)]]
    state = torch.random.get_rng_state()
    batches = [windows.__getitems__(batch) for batch in draws]
    assert torch.equal(torch.random.get_rng_state(), state), "seeded draws leave the global random state as it is"
    assert batches[0][0][0].shape == (3, 24, 24)
    shown = [
        int(image[2].float().mean().round())
        for image, _ in WindowDataset(records, SPEC, 1.0, 32).__getitems__(draws[0])
    ]
    assert [windows.image_of(draw) for draw in draws[0]] == shown
    loader = DataLoader(windows, batch_sampler=draws, num_workers=1, collate_fn=collate)
    for batch, items in zip(loader, batches, strict=True):
        assert torch.equal(batch[0], torch.stack([item[0] for item in items]))
        assert torch.equal(batch[1], torch.stack([item[1] for item in items]))
    again = pickle.loads(pickle.dumps(windows))
    assert torch.equal(again[0, 5][0], batches[0][0][0])


def test_without_the_cache_images_are_decoded_once_while_they_fit(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = WindowDataset(records, SPEC, 1.0, 32, cache_images=False)
    assert windows.image_sizes() == list(SIZES) and windows.images_in_memory > 3
    pixels = sum(height * width for height, width in SIZES)
    assert windows.class_pixels(3).tolist() == [pixels - 461, 460, 1]
    read: list[int] = []
    original = SegmentationDataset.read

    def counted(self: SegmentationDataset, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(SegmentationDataset, "read", counted)
    for _ in range(2):
        items = windows.__getitems__([(index, index) for index in range(len(windows))])
    assert sorted(read) == [0, 1, 2]
    owners = torch.tensor([int(image[2, 0, 0]) for image, _ in items])
    assert owners.tolist() == windows.owners, "a window around a class is one of the same image"


class InMemory:
    """An image that is not a local file."""

    def __init__(self, path: Path) -> None:
        self.name, self.read_bytes = path.name, path.read_bytes


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_grid_without_the_cache_covers_rotated_images(
    orientation: int, suffix: str, is_local: bool, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path, mask = tmp_path / f"image.{suffix}", tmp_path / "mask.png"
    Image.new("RGB", (90, 40)).save(path, exif=exif)
    size = (90, 40) if orientation > 4 else (40, 90)
    pixels = np.zeros(size, np.uint8)
    pixels[-1, -1] = 1
    Image.fromarray(pixels).save(mask)
    record = Record(path if is_local else InMemory(path), mask)
    images = SegmentationDataset([record], SPEC, Scale(0.5), cache_images=False)
    assert images.image_sizes() == [(size[0] // 2, size[1] // 2)]
    whole = SegmentationDataset([record], SPEC, Scale(1.0), cache_images=False)
    grid = GridWindows(whole, 40)
    assert len(grid) == 3 and sum(int((grid[index][1] == 1).sum()) for index in range(3)) == 1


def test_an_image_of_unknown_size_that_cannot_be_read_is_ignored(records: list[Record], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    mixed = [records[2], Record(InMemory(broken), records[0].mask)]
    with pytest.raises(DataError, match=r"InMemory|broken"):
        WindowDataset(mixed, SPEC, 1.0, 32, cache_images=False)
    windows = WindowDataset(mixed, SPEC, 1.0, 32, cache_images=False, skip_unreadable=True)
    assert windows.image_sizes()[0] == SIZES[2] and len(windows.skipped) == 1


def test_the_sampler_draws_each_window_once_per_epoch(records: list[Record]) -> None:
    windows = WindowDataset(records, SPEC, 1.0, 32)
    sampler = EpochSampler(len(windows), 16, seed=1)
    drawn = [index for batch in sampler for index, _ in batch]
    assert sorted(drawn) == list(range(len(windows)))


def test_values_of_unknown_classes_are_no_classes(records: list[Record]) -> None:
    spec = ReadSpec(LabelMap("index", {0: 2, 1: 1, 2: 0}), partial_labels=PartialLabels(2, ((0, 1),)))
    windows = WindowDataset(records, spec, 1.0, 16)
    items = windows.__getitems__([(index % len(windows), index) for index in range(400)])
    shown = sum(bool((mask < 2).any()) for _, mask in items) / len(items)
    assert shown > 0.5, "the windows around a class are around class 0 or 1, not around the value 2"


def test_unreadable_images_are_left_out(records: list[Record], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    mixed = [records[0], Record(broken, records[0].mask), records[1]]
    with pytest.raises(DataError, match=r"broken\.png"):
        WindowDataset(mixed, SPEC, 1.0, 32)
    windows = WindowDataset(mixed, SPEC, 1.0, 32, skip_unreadable=True)
    assert windows.image_sizes() == [SIZES[0], SIZES[1]] and len(windows.skipped) == 1
    uncached = WindowDataset(mixed, SPEC, 1.0, 32, cache_images=False, skip_unreadable=True)
    ignored = uncached[uncached.owners.index(1), 0]
    assert (ignored[1] == 255).all()


def test_multilabel_masks_have_windows(tmp_path: Path) -> None:
    image, channel = tmp_path / "image.png", tmp_path / "channel.png"
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(image)
    present = np.zeros((50, 60), np.uint8)
    present[40, 50] = 255
    Image.fromarray(present).save(channel)
    spec = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))
    windows = WindowDataset([Record(image, MultilabelMask((channel, None)))], spec, 1.0, 16)
    masks = torch.stack([mask for _, mask in windows.__getitems__([(index, index) for index in range(100)])])
    assert masks.shape == (100, 2, 16, 16)
    assert masks[:, 0].flatten(1).any(1).float().mean() > 0.4 and not masks[:, 1].any()
