"""The feature cache returns what the encoder would, encodes each image once, and keeps its limit."""

import torch
from torch import Tensor

from pixelwise.models.feature_cache import FeatureCache


class CountingEncoder:
    """Two features that depend on every pixel, and a count of the encoded images."""

    def __init__(self) -> None:
        self.encoded = 0

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.encoded += len(images)
        pixels = images.float()
        return [pixels * 2, torch.nn.functional.avg_pool2d(pixels, 2)]


def make_images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_image_is_encoded_once_in_any_batch() -> None:
    encode, images = CountingEncoder(), make_images(6)
    cache = FeatureCache(encode)
    for batch in (images[:4], images[[3, 5, 0]], images[[5, 4, 1]], images.flip(0)):
        assert same(cache(batch), CountingEncoder()(batch))
    assert encode.encoded == 6


def test_images_that_differ_in_one_pixel_are_different() -> None:
    encode, images = CountingEncoder(), make_images(1).repeat(2, 1, 1, 1)
    images[1, 2, 7, 7] ^= 1
    cache = FeatureCache(encode)
    first = cache(images[:1])
    assert not same(first, cache(images[1:])) and encode.encoded == 2


def test_images_above_the_limit_are_encoded_again() -> None:
    encode, images = CountingEncoder(), make_images(5)
    one = sum(feature.nbytes for feature in CountingEncoder()(images[:1]))
    cache = FeatureCache(encode, limit=2 * one)
    for _ in range(3):
        assert same(cache(images), CountingEncoder()(images))
    assert cache.used_bytes == 2 * one and len(cache) == 2 and encode.encoded == 5 + 3 + 3


def test_features_have_channels_last() -> None:
    cache = FeatureCache(CountingEncoder())
    for _ in range(2):
        assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in cache(make_images(3)))
