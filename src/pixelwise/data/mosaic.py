"""Join the images of a batch to mosaics, an augmentation for training."""

import torch
from torch import Tensor


def join_batch(images: Tensor, masks: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace a fraction of the images of a batch by mosaics of two or four of them.

    A mosaic is a window of a grid of images at their own size, with one or two seams at random positions. It resembles
    a window of a large image with several objects. Its lower right part is from the image that it replaces. The mosaics
    of Bochkovskiy et al. 2020, "YOLOv4", have the same layout.

    Args:
        images: (N, channels, height, width).
        masks: (N, height, width), or for multi-label masks (N, C, height, width).
        fraction: the probability in [0, 1] that an image is replaced.
        generator: the source of the random numbers, on the CPU.

    Returns:
        New images and masks of the same shapes. A batch of one image is returned as it is.

    >>> images, masks = torch.zeros(2, 3, 32, 32), torch.zeros(2, 32, 32)
    >>> images, masks = join_batch(images, masks, 0.5, torch.Generator().manual_seed(0))
    >>> images.shape
    torch.Size([2, 3, 32, 32])
    """

    def draw(end: int, start: int = 0) -> int:
        return int(torch.randint(start, end, (), generator=generator))

    count, _, height, width = images.shape
    if count < 2:
        return images, masks
    new_images, new_masks = images.clone(), masks.clone()
    for index in range(count):
        if float(torch.rand((), generator=generator)) >= fraction:
            continue
        layout = draw(3)  # 0: side by side, 1: one above the other, 2: four images
        top = draw(height, 1) if layout > 0 else 0
        left = draw(width, 1) if layout != 1 else 0
        source = index
        for rows, source_rows in _parts(top, height):
            for columns, source_columns in _parts(left, width):
                new_images[index, ..., rows, columns] = images[source, ..., source_rows, source_columns]
                new_masks[index, ..., rows, columns] = masks[source, ..., source_rows, source_columns]
                source = (index + draw(count, 1)) % count
    return new_images, new_masks


def _parts(seam: int, length: int) -> list[tuple[slice, slice]]:
    """Return the parts of an axis after and before a seam, each with its place in its image. 0 is no seam."""
    parts = [(slice(seam, None), slice(0, length - seam)), (slice(0, seam), slice(length - seam, None))]
    return parts if seam else parts[:1]
