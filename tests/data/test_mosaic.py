"""Mosaics of the images of a batch."""

import pytest
import torch
from torch import Tensor

from pixelwise.data.mosaic import join_batch

HEIGHT, WIDTH = 12, 20


def make_batch(count: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return images whose values state the image, the row and the column, and masks with the same values as images."""
    images = torch.zeros(count, channels, HEIGHT, WIDTH, dtype=torch.int64)
    images += torch.arange(count)[:, None, None, None] * 10_000
    images += torch.arange(HEIGHT)[:, None] * 100 + torch.arange(WIDTH)
    return images.contiguous(memory_format=torch.channels_last), images[:, 0].clone()


def join(count: int, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    return join_batch(*make_batch(count), fraction, torch.Generator().manual_seed(seed))


def test_parts_meet_as_in_a_grid_of_images() -> None:
    images, masks = join(30, 1.0)
    layouts = set()
    for index, mask in enumerate(masks):
        rows, columns, sources = mask // 100 % 100, mask % 100, mask // 10_000
        top, left = int(rows[0, 0]), int(columns[0, 0])  # coordinates of the first pixel in its image
        assert torch.equal(rows, ((torch.arange(HEIGHT) + top) % HEIGHT)[:, None].expand(HEIGHT, WIDTH))
        assert torch.equal(columns, ((torch.arange(WIDTH) + left) % WIDTH)[None].expand(HEIGHT, WIDTH))
        assert sources[-1, -1] == index, "the lower right part is from the image itself"
        row, column = (HEIGHT - top) % HEIGHT, (WIDTH - left) % WIDTH
        parts = [sources[row:, :column], sources[:row, column:], sources[:row, :column]]
        assert all(len(part.unique()) <= 1 and not (part == index).any() for part in parts)
        layouts.add((row > 0, column > 0))
    assert layouts == {(True, False), (False, True), (True, True)}
    assert torch.equal(images, masks[:, None].expand_as(images))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_fraction_of_mosaics() -> None:
    images, _ = join(400, 0.25)
    changed = (images != make_batch(400)[0]).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(join(5, 0.0)[0], make_batch(5)[0])


def test_a_batch_of_one_image_stays() -> None:
    assert torch.equal(join(1, 1.0)[0], make_batch(1)[0])


def test_the_batch_is_not_changed_and_the_seed_determines_the_mosaics() -> None:
    images, masks = make_batch(4)
    first = join_batch(images, masks, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(images, make_batch(4)[0]) and torch.equal(masks, make_batch(4)[1])
    again, other = (join_batch(images, masks, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])


def test_masks_with_several_labels() -> None:
    images, _ = make_batch(4, channels=2)
    generator = torch.Generator().manual_seed(3)
    joined, masks = join_batch(images, images.to(torch.int32), 1.0, generator)
    assert masks.shape == images.shape and torch.equal(joined, masks.long())
