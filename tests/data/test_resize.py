"""Resizing of images and masks, compared with Pillow and with exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from pixelwise.data.resize import resize_batch, resize_image, resize_mask


def source_pixels(old: int, new: int) -> list[set[int]]:
    """Return, for each new pixel, the old pixel under its center, or both if the center falls between two."""
    pixels = []
    for i in range(new):
        center = Fraction(2 * i + 1, 2) * old / new
        pixel = int(center)
        pixels.append({pixel - 1, pixel} if center == pixel else {pixel})
    return pixels


def test_masks_take_the_value_under_each_center_as_pillow_does() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(150):
        high, wide, new_high, new_wide = map(int, rng.integers(1, 250, 4))
        # The value of each pixel is its row in one mask and its column in the other.
        rows = np.arange(high, dtype=np.uint8)[:, None].repeat(wide, 1)
        columns = np.arange(wide, dtype=np.uint8)[None].repeat(high, 0)
        for mask, axis, old, new in ((rows, 0, high, new_high), (columns, 1, wide, new_wide)):
            ours = resize_mask(mask, (new_high, new_wide))
            assert ours.dtype == torch.uint8 and tuple(ours.shape) == (new_high, new_wide)
            pillow = np.asarray(Image.fromarray(mask).resize((new_wide, new_high), Image.Resampling.NEAREST))
            line, theirs = (ours[:, 0], pillow[:, 0]) if axis == 0 else (ours[0], pillow[0])
            assert (ours == (line[:, None] if axis == 0 else line[None])).all()
            for value, pillow_value, exact in zip(line.tolist(), theirs.tolist(), source_pixels(old, new), strict=True):
                assert value in exact
                if len(exact) == 1:
                    assert value == pillow_value
                    compared += 1
    assert compared > 20_000


def test_resizing_a_mask_to_its_own_size_or_a_multiple_is_exact() -> None:
    mask = np.random.default_rng(1).integers(0, 256, (13, 17), dtype=np.uint8)
    assert np.array_equal(resize_mask(mask, (13, 17)), mask)
    assert np.array_equal(resize_mask(mask, (39, 85)), mask.repeat(3, 0).repeat(5, 1))
    assert np.array_equal(resize_mask(mask.repeat(3, 0).repeat(5, 1), (13, 17)), mask)


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (100, 7)])
def test_images_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """Pillow is the reference of bilinear interpolation with antialiasing."""
    image = np.random.default_rng(2).integers(0, 256, (57, 43, 3), dtype=np.uint8)
    ours = resize_image(image, size)
    assert ours.dtype == torch.uint8 and tuple(ours.shape) == (3, *size)
    pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours.permute(1, 2, 0).numpy() - pillow).max() <= 1


def test_a_thin_image_is_shrunk_before_it_is_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    resize = F.resize_image

    def observed(image: torch.Tensor, size: list[int], *args: object, **kwargs: object) -> torch.Tensor:
        sizes.append((image.shape[1], *size))
        return resize(image, size, *args, **kwargs)

    monkeypatch.setattr(F, "resize_image", observed)
    column = (np.arange(600_000) * 255 // 600_000).astype(np.uint8)
    small = resize_image(column[:, None, None].repeat(3, 2), (128, 128))
    assert sizes == [(600_000, 128, 1), (128, 128, 128)], "128x600000 pixels would take 230 MB"
    expected = (np.arange(128) + 0.5) * 255 / 128
    assert np.abs(small[0].numpy() - expected[:, None]).max() <= 1.5


def test_images_are_channels_last_in_memory() -> None:
    """Convolutions are faster with it, and `collate` keeps it."""
    image = np.zeros((50, 40, 3), np.uint8)
    assert resize_image(image, (32, 32))[None].is_contiguous(memory_format=torch.channels_last)
    assert resize_image(image, (50, 40))[None].is_contiguous(memory_format=torch.channels_last)


def test_an_image_and_its_mask_are_resized_alike() -> None:
    """An edge that both have is at the same pixels in any size."""
    for new in (*range(20, 60, 3), 96, 128):
        edge = (np.arange(50) >= 21).astype(np.uint8)[None].repeat(50, 0)
        image = resize_image((edge * 255)[..., None].repeat(3, 2), (new, new))[0].int()
        mask = resize_mask(edge, (new, new))
        clear = (image - 127.5).abs() > 13
        assert torch.equal(mask[clear] == 1, image[clear] > 127)
        assert clear.sum() >= new * (new - 1)


@pytest.mark.parametrize("classes", [None, 2])
def test_a_batch_is_resized_as_its_items(classes: int | None) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 40, 50, 3), np.uint8)
    masks = generator.integers(0, 3, (2, 40, 50) if classes is None else (2, classes, 40, 50), np.uint8)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    small, small_masks = resize_batch(batch, torch.from_numpy(masks), (24, 32))
    assert small.dtype == small_masks.dtype == torch.uint8
    for index in range(2):
        assert torch.equal(small[index], resize_image(images[index], (24, 32)))
        assert torch.equal(small_masks[index], resize_mask(masks[index], (24, 32)))
