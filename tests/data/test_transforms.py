"""The changes of "crop" beside its crop, flip and colors: their direction, strength and borders."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pixelwise.data.augmentations import build_transform, source_size
from pixelwise.registry import ComponentSpec
from tests.data.augmented import apply, away_from_edges, blocks, every_augmentation


def columns_and_rows(side: int) -> tuple[Tensor, Tensor]:
    """Return an image whose first two channels are the column and the row of each pixel, and a mask of its columns."""
    row = torch.arange(side, dtype=torch.uint8).expand(side, side)
    image = torch.stack([row, row.T, torch.full_like(row, 200)])
    return image, row.contiguous()


def geometry(**parameters: Any) -> ComponentSpec:
    """Return the specification of crops of the whole image, without other changes than these."""
    return {"name": "crop", "min_scale": 1, "color": 0, "flip": 0, **parameters}


def test_quarter_turns_have_four_directions_and_change_no_value() -> None:
    image, mask = blocks(80, 9)
    transform = build_transform(geometry(quarter_turns=True), 80)
    counts = [0, 0, 0, 0]
    for seed in range(120):
        new_image, new_mask = apply(transform, image, mask, seed)
        turns = [turn for turn in range(4) if torch.equal(new_mask, mask.rot90(turn, (0, 1)))]
        if turns:  # other draws are crops of another aspect ratio
            assert torch.equal(new_image, image.rot90(turns[0], (1, 2)))
            counts[turns[0]] += 1
    assert min(counts) >= 5


def test_vertical_flips() -> None:
    image, mask = columns_and_rows(80)
    transform = build_transform(geometry(vertical_flip=0.5), 64)
    flips = 0
    for seed in range(100):
        new_image, new_mask = apply(transform, image, mask, seed)
        flips += bool(new_image[1, 0, 0] > new_image[1, -1, 0])
        assert new_mask[0, 0] < new_mask[0, -1], "left and right stay"
    assert 30 < flips < 70


def test_rotations_turn_image_and_mask_by_the_same_angle() -> None:
    """The angle follows from the coordinates in the image, and the mask has the same coordinates."""
    side = 80
    image, mask = columns_and_rows(side)
    angles = []
    for seed in range(40):
        transform = build_transform(geometry(rotate=30, rotate_probability=1), side)
        new_image, new_mask = apply(transform, image, mask, seed)
        known = (new_mask != 255) & away_from_edges((new_mask == 255).to(torch.uint8), 1)
        known[[0, -1]] = known[:, [0, -1]] = False
        x = new_image[0].float()
        assert (x - new_mask.float())[known].abs().max() <= 1
        assert abs(float((x - new_mask.float())[known].mean())) < 0.02, "no shift"
        center = slice(side // 2 - 10, side // 2 + 10)
        across, down = (float(x[center, center].diff(dim=axis).mean()) for axis in (1, 0))
        angles.append(float(torch.atan2(torch.tensor(down), torch.tensor(across))) * 180 / torch.pi)
        corners = [bool(new_mask[y, x] == 255) for y in (0, -1) for x in (0, -1)]
        assert any(corners) or abs(angles[-1]) < 3
        added = (new_mask == 255) & away_from_edges((new_mask == 255).to(torch.uint8), 1)
        assert bool((new_image[:, added] == 127).all()), "corners are gray"
    assert min(angles) < -20 and max(angles) > 20 and all(abs(angle) < 40 for angle in angles)


def test_zooming_out_adds_a_border_that_is_ignored() -> None:
    image, mask = columns_and_rows(80)
    added = []
    for seed in range(30):
        new_image, new_mask = apply(build_transform(geometry(zoom_out=1, zoom_out_side=2), 80), image, mask, seed)
        border = new_mask == 255
        added.append(float(border.float().mean()))
        inside = away_from_edges(border.to(torch.uint8), 1)
        assert bool((new_image[:, border & inside] == 127).all())
    assert 0.2 < sum(added) / 30 < 0.7 and max(added) > 0.6


def test_gamma_keeps_black_and_white_and_changes_the_tones_between_both_ways() -> None:
    ramp = torch.linspace(0, 255, 80).to(torch.uint8).expand(3, 80, 80).contiguous()
    middle = []
    for seed in range(40):
        new, _ = apply(build_transform(geometry(gamma=1, gamma_power=2), 80), ramp, ramp[0].clone(), seed)
        assert new.min() == 0 and new.max() == 255 and bool((new[0, 0].int().diff() >= 0).all())
        middle.append(float(new[0, 0, 40]) / 255)
    assert all(0.5**2 - 0.02 <= value <= 0.5**0.5 + 0.02 for value in middle)
    assert min(middle) < 0.35 and max(middle) > 0.6


def test_blur_and_noise_have_the_stated_strength() -> None:
    generator = torch.Generator().manual_seed(0)
    grain = torch.randint(60, 190, (3, 80, 80), generator=generator).to(torch.uint8)
    flat, mask = torch.full((3, 80, 80), 128, dtype=torch.uint8), torch.zeros(80, 80, dtype=torch.uint8)
    crop = {"max_scale": 1.0}
    blurred, noisy = [], []
    for seed in range(20):
        blur, noise = geometry(blur=1, blur_sigma=2, **crop), geometry(noise=1, noise_std=0.2)
        blurred.append(float(apply(build_transform(blur, 80), grain, mask, seed)[0].float().std()))
        noisy.append(float((apply(build_transform(noise, 80), flat, mask, seed)[0].float() - 128).std()) / 255)
    assert max(blurred) < 36 and min(blurred) < 10, "the grain has a standard deviation of 37"
    assert min(noisy) < 0.06 and 0.12 < max(noisy) <= 0.21


@pytest.mark.parametrize("channels", [1, 2, 5])
@every_augmentation
def test_other_numbers_of_channels(spec: ComponentSpec, channels: int) -> None:
    side, transform = source_size(spec, 32), build_transform(spec, 32)
    image = torch.randint(256, (channels, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for seed in range(3):
        new_image, new_mask = apply(transform, image, blocks(side, 5)[1], seed)
        assert new_image.shape == (channels, 32, 32) and new_mask.shape == (32, 32)
        assert new_image.dtype == torch.uint8


@every_augmentation
def test_each_channel_of_a_multilabel_mask_is_moved_like_a_mask(spec: ComponentSpec) -> None:
    side, transform = source_size(spec, 32), build_transform(spec, 32)
    image, mask = blocks(side, 5)
    channels = torch.stack([(mask == index).to(torch.uint8) for index in range(3)])
    for seed in range(5):
        _, expected = apply(transform, image, mask, seed)
        _, moved = apply(transform, image, channels, seed)
        assert moved.shape == (3, 32, 32)
        border = expected == 255
        for index in range(3):
            assert bool((moved[index][border] == 255).all())
            assert torch.equal(moved[index][~border], (expected[~border] == index).to(torch.uint8))
