"""The torch data set: items, seeds, workers, and errors in workers."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.errors import DataError, WorkerDataError
from tests.data.shards import forks


@pytest.fixture(scope="module")
def ignoring(pets: pw.DatasetIndex) -> ReadSpec:
    """The trimap's values with the border ignored: masks have 0, 1 and 255."""
    return ReadSpec(LabelMap("index", {1: 0, 2: 1, 3: 255}))


def test_items_are_resized_images_and_masks(pets: pw.DatasetIndex) -> None:
    dataset = SegmentationDataset(pets.train, pets.read_spec, image_size=40)
    assert len(dataset) == len(pets.train) == 12
    for index, record in enumerate(pets.train):
        image, mask = dataset[index]
        assert (image.dtype, mask.dtype) == (torch.uint8, torch.uint8)
        assert (tuple(image.shape), tuple(mask.shape)) == ((3, 40, 40), (40, 40))
        original, original_mask = read_image_and_mask(record, pets.read_spec, min_size=40)
        assert torch.equal(image, resize_image(original, (40, 40)))
        assert torch.equal(mask, resize_mask(original_mask, (40, 40)))
        seeded, _ = dataset[index, 123]
        assert torch.equal(seeded, image), "without a transform the seed changes nothing"


@pytest.mark.parametrize("cache_images", [True, False])
def test_items_have_a_height_and_a_width(cache_images: bool, pets: pw.DatasetIndex) -> None:
    dataset = SegmentationDataset(pets.train, pets.read_spec, (32, 48), cache_images=cache_images)
    assert dataset.image_sizes() == [(32, 48)] * len(pets.train)
    for (image, mask), record in zip((dataset[index] for index in range(len(dataset))), pets.train, strict=True):
        full_image, full_mask = read_image_and_mask(record, pets.read_spec)
        assert torch.equal(image, resize_image(full_image, (32, 48)))
        assert torch.equal(mask, resize_mask(full_mask, (32, 48)))


def test_items_have_pixel_weights_if_classes_have_weights(pets: pw.DatasetIndex, ignoring: ReadSpec) -> None:
    weights = torch.tensor([0.75, 0.25])
    dataset = SegmentationDataset(pets.train, ignoring, 64, build_transform("flip", 64), class_weights=weights)
    values = set()
    for index in range(len(dataset)):
        image, mask, weight = dataset[index, index]  # some are flipped
        assert weight.dtype == torch.float32 and weight.shape == mask.shape == image.shape[1:]
        for value, expected in ((0, 0.75), (1, 0.25), (255, 0.0)):
            assert (weight[mask == value] == expected).all()
        values |= set(mask.unique().tolist())
    assert values == {0, 1, 255}


def test_progress_is_called_for_every_record(pets: pw.DatasetIndex) -> None:
    calls = []

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        for number, item in enumerate(items, start=1):
            calls.append((number, total))
            yield item

    SegmentationDataset(pets.train, pets.read_spec, 33, progress=progress)
    assert calls == [(n, 12) for n in range(1, 13)] * 2, "hashed, then decoded"
    SegmentationDataset(pets.train, pets.read_spec, 33, progress=progress)
    assert len(calls) == 36, "hashed only"


@pytest.mark.parametrize("cache_images", [True, False])
def test_class_pixels_are_counted_exactly(cache_images: bool, pets: pw.DatasetIndex, ignoring: ReadSpec) -> None:
    dataset = SegmentationDataset(pets.train, ignoring, image_size=48, cache_images=cache_images)
    masks = np.stack([dataset[i][1].numpy() for i in range(len(dataset))])
    counts = dataset.class_pixels(3)
    assert counts.tolist() == [(masks == 0).sum(), (masks == 1).sum(), 0]
    assert counts.dtype == torch.int64 and counts.sum() == masks.size - (masks == 255).sum()
    assert (masks == 255).any()


# --- seeds


@pytest.fixture(scope="module", params=["flip", "crop"])
def augmented(request: pytest.FixtureRequest, pets: pw.DatasetIndex) -> SegmentationDataset:
    return SegmentationDataset(pets.train, pets.read_spec, 40, build_transform(request.param, 32))


def equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_seeded_item_depends_on_its_seed_alone(augmented: SegmentationDataset) -> None:
    first = [augmented[3, seed] for seed in range(20)]
    torch.manual_seed(4321)
    assert all(equal(augmented[3, seed], first[seed]) for seed in reversed(range(20)))
    assert any(not equal(first[0], item) for item in first[1:])
    assert equal(augmented[3, 2**62 - 1], augmented[3, 2**62 - 1]), "the largest seed of the sampler"


@pytest.mark.parametrize("draws", [[(0, 77)], [(0, 77), (1, 78), (2, 79)], [(0, 77), (1, 78), (0, 77)]])
def test_seeded_items_leave_the_global_random_state_unchanged(
    draws: list[tuple[int, int]], augmented: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("seeds the generators of all devices")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.get_rng_state()
    augmented.__getitems__(draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_item_without_a_seed_is_drawn_from_the_global_random_state(augmented: SegmentationDataset) -> None:
    torch.manual_seed(3)
    items = [augmented[0] for _ in range(12)]
    assert any(not equal(items[0], item) for item in items[1:])
    torch.manual_seed(3)
    assert all(equal(augmented[0], item) for item in items)


def test_items_with_and_without_seeds_can_be_in_one_batch(augmented: SegmentationDataset) -> None:
    seeded = augmented[4, 9]
    assert equal(augmented.__getitems__([2, (4, 9), 3])[1], seeded)


@forks
def test_batches_are_the_same_with_any_number_of_workers_and_processes(augmented: SegmentationDataset) -> None:
    def batches(workers: int, rank: int = 0, world_size: int = 1) -> list[list[Tensor]]:
        sampler = EpochSampler(len(augmented), 4, 1, rank, world_size)
        sampler.epoch = 2
        torch.manual_seed(workers)
        return list(DataLoader(augmented, batch_sampler=sampler, num_workers=workers))

    single = batches(workers=0)
    assert [len(images) for images, _ in single] == [4, 4, 4]
    assert all(equal(a, b) for a, b in zip(single, batches(workers=2), strict=True))
    halves = [batches(0, rank, 2) for rank in range(2)]
    for batch, even, odd in zip(single, *halves, strict=True):
        for a, b, c in zip(batch, even, odd, strict=True):
            assert torch.equal(a[0::2], b) and torch.equal(a[1::2], c)


def test_collate_stacks_channels_last() -> None:
    items = [(torch.full((3, 4, 5), n, dtype=torch.uint8), torch.full((4, 5), n, dtype=torch.uint8)) for n in range(3)]
    images, masks = collate(items)
    assert images.shape == (3, 3, 4, 5) and images.is_contiguous(memory_format=torch.channels_last)
    for number in range(3):
        assert (images[number] == number).all() and (masks[number] == number).all()


# --- files that cannot be read


@pytest.fixture
def damaged(pets: pw.DatasetIndex, tmp_path: Path) -> list[Record]:
    """Four records, the third of which has a truncated image."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(pets.train[0].image.read_bytes()[:-300])
    return [*pets.train[:2], Record(path, pets.train[0].mask), pets.train[3]]


@forks
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_has_the_same_message(workers: int, damaged: list[Record], pets: pw.DatasetIndex) -> None:
    dataset = SegmentationDataset(damaged, pets.read_spec, 16, cache_images=False)
    with pytest.raises(DataError) as direct:
        read_image_and_mask(damaged[2], pets.read_spec, min_size=16)
    with pytest.raises(DataError) as error:
        list(DataLoader(dataset, batch_size=2, num_workers=workers))
    assert str(error.value) == str(direct.value)
    assert isinstance(error.value, WorkerDataError) == bool(workers)


def test_a_worker_error_keeps_text_without_a_traceback() -> None:
    assert str(WorkerDataError("cat.jpg: truncated")) == "cat.jpg: truncated"


def test_an_unreadable_image_can_be_ignored_and_is_logged_once(
    damaged: list[Record], pets: pw.DatasetIndex, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = SegmentationDataset(damaged, pets.read_spec, 16, cache_images=False, skip_unreadable=True)
    with caplog.at_level(logging.WARNING, "pixelwise"):
        for _ in range(3):
            image, mask = dataset[2]
    assert (image == 0).all() and (mask == 255).all() and image.shape == (3, 16, 16) and mask.shape == (16, 16)
    (message,) = caplog.messages
    assert message.startswith(f"left out: {damaged[2].image}: truncated")


@forks
def test_images_that_workers_left_out_are_known_to_the_main_process(
    damaged: list[Record], pets: pw.DatasetIndex
) -> None:
    dataset = SegmentationDataset(damaged, pets.read_spec, 16, cache_images=False, skip_unreadable=True)
    for _ in range(2):
        list(DataLoader(dataset, batch_size=2, num_workers=2))
    assert [str(error) for error in dataset.skipped] == [f"{damaged[2].image}: cannot be read"]
    dataset[2]
    (error,) = dataset.skipped
    assert "truncated" in str(error), "drawn here, the error has its cause"
