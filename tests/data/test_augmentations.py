"""Augmentations: image and mask stay aligned, seeds decide, and every parameter has an effect.

The contract tests run over all registered augmentations. Their images have colors that follow from the mask.
"""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise.data.augmentations import (
    AUGMENTATIONS,
    build_transform,
    is_cacheable,
    register_augmentation,
    source_size,
)
from pixelwise.data.input_size import to_pair
from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec, Params
from tests.data.augmented import SPECS, apply, away_from_edges, blocks, every_augmentation

SIZES = [32, 33, 57, 64]


# --- contract of every augmentation


@every_augmentation
@pytest.mark.parametrize("size", SIZES)
def test_image_and_mask_stay_aligned(spec: ComponentSpec, size: int) -> None:
    side, transform = source_size(spec, size), build_transform(spec, size)
    for seed in range(25):
        image, mask = apply(transform, *blocks(side, 9, seed), seed)
        assert image.dtype == mask.dtype == torch.uint8
        assert (tuple(image.shape), tuple(mask.shape)) == ((3, size, size), (size, size))
        assert type(image) is type(mask) is Tensor
        inside = away_from_edges(mask, 2) & (mask != 255)
        assert inside.float().mean() > 0.05
        assert torch.equal(image.argmax(0)[inside], mask[inside].long())


@pytest.mark.parametrize(
    "spec", [spec for name, spec in SPECS.items() if name not in ("crop rotate", "crop noise")], ids=str
)
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("size", [48, 64])
def test_masks_are_not_shifted_by_half_a_pixel(spec: ComponentSpec, upright: bool, size: int) -> None:
    """An edge between red and green is at the same place in image and mask, to a tenth of a pixel.

    torchvision's own crop resizes masks by plain nearest interpolation, which shifts them by half a pixel.
    """
    side, transform = source_size(spec, size), build_transform(spec, size)
    compared = 0
    for seed in range(30):
        mask = torch.zeros(side, side, dtype=torch.uint8)
        mask[:, side * 9 // 20 :] = 1
        mask = mask if upright else mask.T.contiguous()
        red = torch.where(mask == 1, 90, 150).to(torch.uint8)
        image = torch.stack([red, 240 - red, torch.full_like(red, 120)])
        new_image, new_mask = apply(transform, image, mask, seed)
        red_over_green = new_image[0].int() - new_image[1].int()
        contrast = int(red_over_green.abs().max())
        clear = (red_over_green.abs() > 0.2 * contrast) & (new_mask != 255)  # a tenth of a pixel from the edge
        assert torch.equal(new_mask[clear] == 1, red_over_green[clear] < 0)
        compared += int(clear.sum() + (new_mask == 255).sum())
    assert compared > 30 * size * (size - 3)


@every_augmentation
def test_no_mask_value_is_added_and_ignored_pixels_stay(spec: ComponentSpec) -> None:
    side, transform = source_size(spec, 40), build_transform(spec, 40)
    image, mask = blocks(side, 7)
    mask = torch.where(mask == 2, 255, mask)
    for seed in range(20):
        new_image, new_mask = apply(transform, image, mask, seed)
        assert set(new_mask.unique().tolist()) == {0, 1, 255}
        inside = away_from_edges(new_mask, 2)
        is_blue = new_image.argmax(0)[inside] == 2
        assert bool((new_mask[inside][is_blue] == 255).all()) and bool(is_blue.any())
        known = new_mask[inside] != 255
        assert torch.equal(new_image.argmax(0)[inside][known], new_mask[inside][known].long())


@every_augmentation
def test_images_that_are_not_square_stay_aligned(spec: ComponentSpec) -> None:
    transform = build_transform(spec, 33)
    image, mask = blocks(61, 9)
    for seed, (high, wide) in enumerate(itertools.product((45, 50, 61), (47, 61))):
        new_image, new_mask = apply(transform, image[:, :high, :wide], mask[:high, :wide], seed)
        assert new_image.shape[1:] == new_mask.shape
        inside = away_from_edges(new_mask, 2) & (new_mask != 255)
        assert torch.equal(new_image.argmax(0)[inside], new_mask[inside].long())


@every_augmentation
def test_images_can_have_a_height_and_a_width(spec: ComponentSpec) -> None:
    image_size = (30, 60)
    high, wide = to_pair(source_size(spec, image_size))
    assert high / wide == pytest.approx(0.5, abs=0.02)
    image, mask = blocks(wide, 9)
    new_image, new_mask = apply(build_transform(spec, image_size), image[:, :high], mask[:high], 1)
    assert tuple(new_image.shape[1:]) == tuple(new_mask.shape) == image_size


def test_crops_are_stretched_little_at_any_aspect_ratio() -> None:
    """A square in the image stays about a square: torchvision's crops have ratios around 1."""
    mask = torch.zeros(250, 1000, dtype=torch.uint8)
    mask[115:135, 490:510] = 1
    image, ratios = mask.expand(3, 250, 1000).contiguous(), []
    for seed in range(30):
        _, new_mask = apply(build_transform({"name": "crop", "color": 0}, (200, 800)), image, mask, seed)
        rows, columns = (int((new_mask == 1).any(axis).sum()) for axis in (1, 0))
        ratios.append(columns / rows)
    assert 0.7 < min(ratios) < 0.95 < 1.05 < max(ratios) < 1.4


@every_augmentation
def test_inputs_are_not_changed(spec: ComponentSpec) -> None:
    """They are cached for all epochs."""
    side, transform = source_size(spec, 32), build_transform(spec, 32)
    image, mask = blocks(side, 5)
    before = image.clone(), mask.clone()
    for seed in range(10):
        apply(transform, image, mask, seed)
    assert torch.equal(image, before[0]) and torch.equal(mask, before[1])


@every_augmentation
def test_the_same_seed_gives_the_same_result(spec: ComponentSpec) -> None:
    side, transform = source_size(spec, 32), build_transform(spec, 32)
    image, mask = blocks(side, 5)
    for seed in range(5):
        one, other = apply(transform, image, mask, seed), apply(transform, image, mask, seed)
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


# --- each augmentation


def test_none_changes_nothing() -> None:
    image, mask = blocks(33, 4)
    new_image, new_mask = apply(build_transform("none", 33), image, mask, 0)
    assert torch.equal(new_image, image) and torch.equal(new_mask, mask)


def test_flip_flips_half_of_the_images_and_does_nothing_else() -> None:
    transform = build_transform("flip", 9)
    image = torch.arange(3 * 9 * 9, dtype=torch.uint8).view(3, 9, 9)
    mask = torch.arange(81, dtype=torch.uint8).view(9, 9)
    flips = 0
    for seed in range(200):
        new_image, new_mask = apply(transform, image, mask, seed)
        flipped = not torch.equal(new_mask, mask)
        flips += flipped
        assert torch.equal(new_mask, mask.flip(1) if flipped else mask)
        assert torch.equal(new_image, image.flip(2) if flipped else image)
    assert 75 < flips < 125


def test_a_flip_is_that_of_torchvision_for_the_same_seed() -> None:
    image, mask = blocks(33, 4)
    transform, expected = build_transform({"name": "flip", "probability": 0.3}, 33), v2.RandomHorizontalFlip(0.3)
    flips = set()
    for seed in range(20):
        new_image, new_mask = apply(transform, image, mask, seed)
        torch.manual_seed(seed)
        other_image, other_mask = expected(tv_tensors.Image(image), tv_tensors.Mask(mask))
        assert torch.equal(new_image, other_image) and torch.equal(new_mask, other_mask)
        flips.add(torch.equal(new_mask, mask))
    assert flips == {True, False}


def test_crops_are_flipped_half_of_the_time_and_are_at_all_positions() -> None:
    """The mask has the number of its column in each pixel."""
    side, size = source_size("crop", 64), 64
    image = torch.full((3, side, side), 100, dtype=torch.uint8)
    columns = torch.arange(side, dtype=torch.uint8).expand(side, side).contiguous()
    transform, flips, widths, starts = build_transform("crop", size), 0, [], []
    for seed in range(150):
        row = apply(transform, image, columns, seed)[1][0].int()
        flips += bool(row[0] > row[-1])
        widths.append(int((row[0] - row[-1]).abs()) + 1)
        starts.append(int(row.min()))
    assert 55 < flips < 95
    assert max(widths) == side
    assert 0.55 * side < min(widths) < 0.8 * side, "crops have at least 60 % of the image"
    assert len(set(starts)) > 15


def test_crops_change_colors_but_not_the_mask() -> None:
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
    assert all(red >= green >= blue for red, green, blue in colors)
    reds = [red for red, _, _ in colors]
    assert min(reds) < 100 and max(reds) > 140


# --- parameters


def results(spec: ComponentSpec, size: int = 32) -> list[tuple[list[int], list[int]]]:
    """Apply an augmentation with 12 seeds."""
    image, mask = blocks(source_size(spec, size), 5)
    pairs = [apply(build_transform(spec, size), image, mask, seed) for seed in range(12)]
    return [(new_image.flatten().tolist(), new_mask.flatten().tolist()) for new_image, new_mask in pairs]


PARAMETERS = [(name, parameter) for name in AUGMENTATIONS for parameter in AUGMENTATIONS[name].params.model_fields]

VALUES: dict[str, Any] = {"quarter_turns": True, "rotate": 20, "zoom_out_side": 3, "gamma_power": 4, "blur_sigma": 4}
"""Parameter → a value other than its default. 0.9 for all others."""

CHANGES = {
    "rotate_probability": "rotate",
    "zoom_out_side": "zoom_out",
    "gamma_power": "gamma",
    "blur_sigma": "blur",
    "noise_std": "noise",
}
"""Parameter of a change → the parameter that switches it on."""


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_every_parameter_has_an_effect(name: str, parameter: str) -> None:
    change = CHANGES.get(parameter)
    base: dict[str, Any] = {"name": name} | ({} if change is None else {change: VALUES.get(change, 0.9)})
    assert results(base | {parameter: VALUES.get(parameter, 0.9)}) != results(base)


@pytest.mark.parametrize(("name", "parameter"), [pair for pair in PARAMETERS if pair[1] in CHANGES])
def test_details_of_a_change_that_is_off_are_refused(name: str, parameter: str) -> None:
    with pytest.raises(ConfigError, match=f"{parameter} has no effect without {CHANGES[parameter]}"):
        build_transform({"name": name, parameter: VALUES.get(parameter, 0.9)}, 32)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_parameters_have_ranges(name: str, parameter: str) -> None:
    for value in (-0.1, 1000, "much"):
        with pytest.raises(ConfigError, match=rf"augmentation '{name}': {parameter}"):
            build_transform({"name": name, parameter: value}, 32)


def test_the_shortest_form_of_a_setting_is_valid() -> None:
    spec = {"name": "crop", "rotate": 15, "rotate_probability": 0.5, "blur": 0.2, "blur_sigma": 2, "noise": 0.0}
    shortest = AUGMENTATIONS.normalize(spec)
    assert shortest == {"name": "crop", "rotate": 15, "blur": 0.2, "blur_sigma": 2}
    assert AUGMENTATIONS.normalize(shortest) == shortest


def test_an_unknown_augmentation_or_parameter_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(ConfigError, match=r"unknown augmentation 'flips' \(did you mean 'flip'\?\)"):
        build_transform("flips", 32)
    with pytest.raises(ConfigError, match="'crop' has no parameter 'zoom'; it has min_scale, max_scale, color, "):
        build_transform({"name": "crop", "zoom": 2}, 32)


def test_the_scales_of_a_crop_must_be_in_order() -> None:
    with pytest.raises(ConfigError, match="min_scale must not exceed max_scale"):
        build_transform({"name": "crop", "min_scale": 0.8, "max_scale": 0.7}, 32)


def test_crop_without_flips_is_crop_noflip() -> None:
    """Its random numbers are others, as the flip draws one."""
    side = source_size("crop-noflip", 64)
    columns = torch.arange(side, dtype=torch.uint8).expand(side, side).contiguous()
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    for spec in ("crop-noflip", {"name": "crop", "flip": 0}):
        for seed in range(40):
            row = apply(build_transform(spec, 64), image, columns, seed)[1][0].int()
            assert row[0] < row[-1]


def test_min_scale_bounds_the_crop() -> None:
    side = source_size("crop", 64)
    columns = torch.arange(side, dtype=torch.uint8).expand(side, side).contiguous()
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    spec = {"name": "crop-noflip", "min_scale": 0.1, "max_scale": 0.2}
    widths = []
    for seed in range(40):
        row = apply(build_transform(spec, 64), image, columns, seed)[1][0].int()
        widths.append(int(row[-1] - row[0]) + 1)
    assert 0.25 * side < min(widths) and max(widths) < 0.55 * side


# --- the registry


def test_traits_replace_decisions_by_name() -> None:
    class Rotation(Params):
        degrees: float = 10

    @register_augmentation("crop-and-rotate", params=Rotation, cacheable=True, source_scale=1.5)
    def rotate(image_size: int, *, degrees: float) -> v2.Transform:
        return v2.Compose([v2.CenterCrop(image_size), v2.RandomRotation((degrees, degrees))])

    try:
        assert source_size("crop-and-rotate", 32) == 48 and is_cacheable({"name": "crop-and-rotate", "degrees": 3})
        image, mask = build_transform({"name": "crop-and-rotate", "degrees": 90}, 32)(*blocks(48, 9))
        assert image.shape == (3, 32, 32) and mask.shape == (32, 32)
        expected = blocks(48, 9)[0][:, 8:40, 8:40].rot90(1, (1, 2))
        assert (image == expected).float().mean() > 0.9
    finally:
        AUGMENTATIONS.unregister("crop-and-rotate")
    assert [is_cacheable(name) for name in ("none", "flip", "crop", "crop-noflip")] == [True, True, False, False]
    with pytest.raises(ConfigError, match="exists already"):
        register_augmentation("flip", rotate)
