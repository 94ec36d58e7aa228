"""Remembered features are those that the encoder would give again, and no more of them than fit."""

import torch
from torch import Tensor

from pixelwise.models.feature_cache import FeatureCache


class CountingEncoder:
    """Two levels that depend on every pixel, and how many images it was shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.shown += len(images)
        pixels = images.float()
        return [pixels * 2, torch.nn.functional.avg_pool2d(pixels, 2)]


def make_images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_image_is_encoded_once_in_whatever_company_it_comes() -> None:
    encode, images = CountingEncoder(), make_images(6)
    memory = FeatureCache(encode)
    for batch in (images[:4], images[[3, 5, 0]], images[[5, 4, 1]], images.flip(0)):
        assert same(memory(batch), CountingEncoder()(batch))
    assert encode.shown == 6


def test_images_that_differ_in_one_pixel_are_two() -> None:
    encode, images = CountingEncoder(), make_images(1).repeat(2, 1, 1, 1)
    images[1, 2, 7, 7] ^= 1
    memory = FeatureCache(encode)
    first = memory(images[:1])
    assert not same(first, memory(images[1:])) and encode.shown == 2


def test_what_does_not_fit_is_encoded_again_and_is_right() -> None:
    encode, images = CountingEncoder(), make_images(5)
    one = sum(level.nbytes for level in CountingEncoder()(images[:1]))
    memory = FeatureCache(encode, limit=2 * one)
    for _ in range(3):
        assert same(memory(images), CountingEncoder()(images))
    assert memory.used == 2 * one and encode.shown == 5 + 3 + 3


def test_features_come_with_channels_last() -> None:
    memory = FeatureCache(CountingEncoder())
    for _ in range(2):
        assert all(level.is_contiguous(memory_format=torch.channels_last) for level in memory(make_images(3)))
