"""Process counts and channel statistics of a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.schema import LabelMap, MultilabelMask, ReadSpec
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import ConfigError, DataError
from pixelwise.training.data import (
    channel_statistics,
    check_learnable,
    check_process_count,
    select_samples,
)


@pytest.mark.parametrize(
    ("counts", "fits"), [((2, 2, 9, 2), True), ((3, 2, 9, 9), False), ((3, 9, 2, 9), False), ((3, 9, 9, 2), False)]
)
def test_every_process_needs_an_image(counts: tuple[int, int, int, int], fits: bool) -> None:
    if fits:
        check_process_count(*counts)
        return
    with pytest.raises(ConfigError, match=r"3 processes need at least one image each.*start fewer processes"):
        check_process_count(*counts)


def test_channel_statistics_are_those_of_the_pixels(pets: pw.DatasetIndex) -> None:
    images = SegmentationDataset(pets.train[:4], pets.read_spec, 32)
    pixels = [images[index][0].double() for index in range(4)]
    mean, std = channel_statistics(images)
    for channel in range(3):
        values = [image[channel].flatten() for image in pixels]
        assert mean[channel] == pytest.approx(sum(float(v.mean()) for v in values) / 4)
        squares = sum(float(((v - mean[channel]) ** 2).sum()) for v in values)
        assert std[channel] == pytest.approx((squares / (4 * 32 * 32 - 1)) ** 0.5)
    assert channel_statistics(images, max_images=2)[0] == pytest.approx(
        [(float(pixels[0][c].mean()) + float(pixels[2][c].mean())) / 2 for c in range(3)]
    )


TWO_CLASSES = ReadSpec(LabelMap("index", {0: 0, 1: 1, 255: 255}))


def open_masks(folder: Path, values: list[int], cache_images: bool) -> tuple[pw.DatasetIndex, SegmentationDataset]:
    """Write masks with one value each, and open them. Class 0 is "rest", class 1 "cat", and 255 is ignored."""
    Image.new("RGB", (32, 32)).save(folder / "image.png")
    records = []
    for number, value in enumerate(values):
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(folder / f"{number}.png")
        records.append(pw.Record(folder / "image.png", folder / f"{number}.png"))
    data = pw.DatasetIndex(folder, "made", ("rest", "cat"), ((0, 0, 0), (1, 1, 1)), TWO_CLASSES, tuple(records))
    return data, SegmentationDataset(records, TWO_CLASSES, 32, cache_images=cache_images)


@pytest.mark.parametrize("cache_images", [True, False])
@pytest.mark.parametrize(
    ("values", "fault"),
    [([255] * 20, "no pixel of any class; check the values to ignore"), ([0, 255, 0], "only the class 'rest'; add")],
    ids=["all ignored", "one class"],
)
def test_a_training_with_nothing_to_learn_is_an_error(
    values: list[int], fault: str, cache_images: bool, tmp_path: Path
) -> None:
    data, images = open_masks(tmp_path, values, cache_images)
    with pytest.raises(DataError, match=rf"{tmp_path}: the training masks have {fault}"):
        check_learnable(images, data)


@pytest.mark.parametrize("cache_images", [True, False])
def test_a_second_class_in_any_mask_is_enough(cache_images: bool, tmp_path: Path) -> None:
    """Without the cache a sample of the masks, every second one, is read first. The only cat is not among these."""
    data, images = open_masks(tmp_path, [0, 0, 0, 1, *[0] * 20], cache_images)
    check_learnable(images, data)


def test_multilabel_masks_need_one_class(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    spec = ReadSpec(LabelMap("multilabel", {0: 0, 1: 1}))
    for value, is_error in ((0, True), (1, False)):
        Image.new("L", (32, 32), value).save(tmp_path / "mask.png")
        record = pw.Record(tmp_path / "image.png", MultilabelMask((tmp_path / "mask.png", None)))
        data = pw.DatasetIndex(tmp_path, "made", ("a", "b"), ((0, 0, 0), (1, 1, 1)), spec, (record,))
        images = SegmentationDataset([record], spec, 32, cache_images=False)
        if is_error:
            with pytest.raises(DataError, match="no pixel of any class"):
                check_learnable(images, data)
        else:
            check_learnable(images, data)


class TestSamples:
    def config(self, **settings: Any) -> pw.Config:
        return pw.Config(encoder_weights="none", **settings)

    @pytest.mark.parametrize(("images", "count", "expected"), [
        (9, 4, [0, 2, 4, 6]), (4, 4, [0, 1, 2, 3]), (5, 4, [0, 1, 2, 3]), (3, 4, [0, 1, 2]), (100, 3, [0, 33, 66]),
    ])  # fmt: skip
    def test_there_are_as_many_as_requested(self, images: int, count: int, expected: list[int]) -> None:
        records = [pw.Record(Path(f"{index}.png"), None) for index in range(images)]
        samples = select_samples(records, self.config(sample_predictions=count), ReadSpec(LabelMap("index")))
        assert [records.index(record) for record in samples] == expected

    def test_a_record_that_cannot_be_read_is_replaced(self, pets: pw.DatasetIndex) -> None:
        broken = replace(pets.train[0], image=Path("missing.jpg"))
        records = [broken, *pets.train[1:5]]
        config = self.config(sample_predictions=4, skip_unreadable=True)
        assert select_samples(records, config, pets.read_spec) == records[1:]
        assert select_samples(records[:2], config, pets.read_spec) == records[1:2]
