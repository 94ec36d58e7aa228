"""Image and mask stay aligned: images whose colors tell their masks go through every transform."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.augmentations import AUGMENTATIONS, Transform, build_transform, source_size
from pixelwise.data.resize import resize_image, resize_mask

SIZES = [32, 33, 57, 64]
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


def apply(transform: Transform, image: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return transform(image, mask)


def blocks(side: int, block: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An image of red, green and blue blocks, and the mask that they mean: 0, 1 and 2.

    The largest channel tells the class whatever brightness, contrast and saturation do.
    """
    count = -(-side // block)
    cells = torch.randint(3, (count, count), generator=torch.Generator().manual_seed(seed))
    mask = cells.repeat_interleave(block, 0).repeat_interleave(block, 1)[:side, :side].to(torch.uint8)
    image = torch.full((3, side, side), 70, dtype=torch.uint8)
    image.scatter_(0, mask.long()[None], 160)
    return image, mask


def away_from_edges(mask: Tensor, distance: int) -> Tensor:
    """Where all pixels within `distance` are of one class."""
    near = F.unfold(F.pad(mask.float()[None, None], [distance] * 4, mode="replicate"), 2 * distance + 1)
    return (near == near[:, :1]).all(1).view_as(mask)


# --- every augmentation


@every_augmentation
@pytest.mark.parametrize("size", SIZES)
def test_image_and_mask_stay_aligned(name: str, size: int) -> None:
    side, transform = source_size(name, size), build_transform(name, size)
    for seed in range(25):
        image, mask = apply(transform, *blocks(side, 9, seed), seed)
        assert image.dtype == mask.dtype == torch.uint8
        assert (tuple(image.shape), tuple(mask.shape)) == ((3, size, size), (size, size))
        assert type(image) is type(mask) is Tensor
        inside = away_from_edges(mask, 1)
        assert inside.float().mean() > 0.2
        assert torch.equal(image.argmax(0)[inside], mask[inside].long())


@every_augmentation
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("size", [48, 64])
def test_masks_are_not_shifted_by_half_a_pixel(name: str, upright: bool, size: int) -> None:
    """An edge in the image, where red gives way to green, and in the mask is the same to a tenth of a pixel.

    torchvision's own crop resizes masks by plain nearest and puts them half a pixel off.
    """
    side, transform = source_size(name, size), build_transform(name, size)
    seen = 0
    for seed in range(30):
        mask = torch.zeros(side, side, dtype=torch.uint8)
        mask[:, side * 9 // 20 :] = 1
        mask = mask if upright else mask.T.contiguous()
        red = torch.where(mask == 1, 90, 150).to(torch.uint8)
        image = torch.stack([red, 240 - red, torch.full_like(red, 120)])
        new_image, new_mask = apply(transform, image, mask, seed)
        red_over_green = new_image[0].int() - new_image[1].int()
        contrast = int(red_over_green.abs().max())
        clear = red_over_green.abs() > 0.2 * contrast  # a fifth of the step: a tenth of a pixel from the edge
        assert torch.equal(new_mask[clear] == 1, red_over_green[clear] < 0)
        seen += int(clear.sum())
    assert seen > 30 * size * (size - 3)


@every_augmentation
def test_the_border_of_the_mask_and_ignored_pixels_survive(name: str) -> None:
    """No value is invented, and 255 stays 255."""
    side, transform = source_size(name, 40), build_transform(name, 40)
    image, mask = blocks(side, 7)
    mask = torch.where(mask == 2, 255, mask)
    for seed in range(20):
        new_image, new_mask = apply(transform, image, mask, seed)
        assert set(new_mask.unique().tolist()) == {0, 1, 255}
        inside = away_from_edges(new_mask, 1)
        assert torch.equal(new_image.argmax(0)[inside] == 2, new_mask[inside] == 255)


@every_augmentation
def test_images_that_are_not_square_keep_with_their_masks(name: str) -> None:
    transform = build_transform(name, 33)
    image, mask = blocks(61, 9)
    for seed, (high, wide) in enumerate(itertools.product((45, 50, 61), (47, 61))):
        new_image, new_mask = apply(transform, image[:, :high, :wide], mask[:high, :wide], seed)
        assert new_image.shape[1:] == new_mask.shape
        inside = away_from_edges(new_mask, 1)
        assert torch.equal(new_image.argmax(0)[inside], new_mask[inside].long())


@every_augmentation
def test_inputs_are_left_as_they_are(name: str) -> None:
    """They are the prepared images, kept for all epochs."""
    side, transform = source_size(name, 32), build_transform(name, 32)
    image, mask = blocks(side, 5)
    before = image.clone(), mask.clone()
    for seed in range(10):
        apply(transform, image, mask, seed)
    assert torch.equal(image, before[0]) and torch.equal(mask, before[1])


@every_augmentation
def test_the_same_seed_draws_the_same(name: str) -> None:
    side, transform = source_size(name, 32), build_transform(name, 32)
    image, mask = blocks(side, 5)
    for seed in range(5):
        one, other = apply(transform, image, mask, seed), apply(transform, image, mask, seed)
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


# --- what each does


def test_none_changes_nothing() -> None:
    image, mask = blocks(33, 4)
    new_image, new_mask = apply(build_transform("none", 33), image, mask, 0)
    assert torch.equal(new_image, image) and torch.equal(new_mask, mask)


def test_the_tutorials_flip_is_all_it_does_and_half_of_the_time() -> None:
    transform = build_transform("flip", 9)
    image = torch.arange(3 * 9 * 9, dtype=torch.uint8).view(3, 9, 9)
    mask = torch.arange(81, dtype=torch.uint8).view(9, 9)
    flips = 0
    for seed in range(400):
        new_image, new_mask = apply(transform, image, mask, seed)
        flipped = not torch.equal(new_mask, mask)
        flips += flipped
        assert torch.equal(new_mask, mask.flip(1) if flipped else mask)
        assert torch.equal(new_image, image.flip(2) if flipped else image)
    assert 160 < flips < 240


def test_crops_flip_half_of_the_time_and_lie_everywhere() -> None:
    """Seen in a mask that numbers its columns."""
    side, size = source_size("crop", 64), 64
    image = torch.full((3, side, side), 100, dtype=torch.uint8)
    columns = torch.arange(side, dtype=torch.uint8).expand(side, side).contiguous()
    transform, flips, widths, starts = build_transform("crop", size), 0, [], []
    for seed in range(300):
        across = apply(transform, image, columns, seed)[1][0].int()
        flips += bool(across[0] > across[-1])
        widths.append(int((across[0] - across[-1]).abs()) + 1)
        starts.append(int(across.min()))
    assert 115 < flips < 185
    assert max(widths) == side
    assert 0.55 * side < min(widths) < 0.8 * side, "of much of the image at least"
    assert len(set(starts)) > 15


def test_crops_change_colors_and_not_the_mask() -> None:
    side = source_size("crop", 32)
    image = torch.tensor([120, 90, 60], dtype=torch.uint8)[:, None, None].expand(3, side, side).contiguous()
    mask = torch.full((side, side), 7, dtype=torch.uint8)
    colors = set()
    for seed in range(50):
        new_image, new_mask = apply(build_transform("crop", 32), image, mask, seed)
        assert (new_mask == 7).all()
        assert (new_image == new_image[:, :1, :1]).all()
        colors.add(tuple(new_image[:, 0, 0].tolist()))
    assert len(colors) > 40
    red, green, blue = np.array(sorted(colors)).T
    assert (red >= green).all() and (green >= blue).all()
    assert red.min() < 100 and red.max() > 140


# --- resizing


def source_pixels(old: int, new: int) -> list[set[int]]:
    """For each new pixel the old one under its center, in exact arithmetic; both where it falls between two."""
    chosen = []
    for i in range(new):
        center = Fraction(2 * i + 1, 2) * old / new
        here = int(center)
        chosen.append({here - 1, here} if center == here else {here})
    return chosen


def test_masks_take_the_value_under_each_center_as_pillow_does() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(150):
        high, wide, new_high, new_wide = map(int, rng.integers(1, 250, 4))
        # Every pixel knows its place: a row in one mask and a column in the other.
        rows = np.arange(high, dtype=np.uint8)[:, None].repeat(wide, 1)
        columns = np.arange(wide, dtype=np.uint8)[None].repeat(high, 0)
        for mask, axis, old, new in ((rows, 0, high, new_high), (columns, 1, wide, new_wide)):
            ours = resize_mask(mask, (new_high, new_wide))
            assert ours.dtype == torch.uint8 and tuple(ours.shape) == (new_high, new_wide)
            pillow = np.asarray(Image.fromarray(mask).resize((new_wide, new_high), Image.Resampling.NEAREST))
            line, theirs = (ours[:, 0], pillow[:, 0]) if axis == 0 else (ours[0], pillow[0])
            assert (ours == (line[:, None] if axis == 0 else line[None])).all()
            for mine, his, right in zip(line.tolist(), theirs.tolist(), source_pixels(old, new), strict=True):
                assert mine in right
                if len(right) == 1:
                    assert mine == his
                    compared += 1
    assert compared > 20_000


def test_resizing_a_mask_to_its_own_size_or_a_multiple_is_exact() -> None:
    mask = np.random.default_rng(1).integers(0, 256, (13, 17), dtype=np.uint8)
    assert np.array_equal(resize_mask(mask, (13, 17)), mask)
    assert np.array_equal(resize_mask(mask, (39, 85)), mask.repeat(3, 0).repeat(5, 1))
    assert np.array_equal(resize_mask(mask.repeat(3, 0).repeat(5, 1), (13, 17)), mask)


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (100, 7)])
def test_images_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """Bilinear with antialiasing, whose reference is Pillow's."""
    image = np.random.default_rng(2).integers(0, 256, (57, 43, 3), dtype=np.uint8)
    ours = resize_image(image, size)
    assert ours.dtype == torch.uint8 and tuple(ours.shape) == (3, *size)
    pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours.permute(1, 2, 0).numpy() - pillow).max() <= 1


def test_images_are_channels_last_in_memory() -> None:
    """What the convolutions want; a batch of them is stacked so."""
    image = np.zeros((50, 40, 3), np.uint8)
    assert resize_image(image, (32, 32))[None].is_contiguous(memory_format=torch.channels_last)
    assert resize_image(image, (50, 40))[None].is_contiguous(memory_format=torch.channels_last)


def test_a_image_and_its_mask_are_resized_alike() -> None:
    """Their common edge falls on the same pixels at any size."""
    for new in (*range(20, 60, 3), 96, 128):
        truth = (np.arange(50) >= 21).astype(np.uint8)[None].repeat(50, 0)
        image = resize_image((truth * 255)[..., None].repeat(3, 2), (new, new))[0].int()
        mask = resize_mask(truth, (new, new))
        clear = (image - 127.5).abs() > 13
        assert torch.equal(mask[clear] == 1, image[clear] > 127)
        assert clear.sum() >= new * (new - 1)
