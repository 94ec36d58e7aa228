"""A table of a frozen encoder's features for all training images, in the memory of a device."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class FeatureTable:
    """The features of a fixed set of images. A row number selects the features of an image.

    Args:
        levels: (rows, h_i, w_i, c_i) float for each level, from shallow to deep.
        size: height and width of the images in pixels.
    """

    def __init__(self, levels: Sequence[Tensor], size: tuple[int, int]) -> None:
        self.levels, self.size = list(levels), size
        self._rows = [_as_wide_rows(level) for level in levels]

    def __call__(self, rows: Tensor) -> list[Tensor]:
        """Return the features of images. The operations do not wait for the device.

        Args:
            rows: (N,) int64 on the device of the table.

        Returns:
            Features (N, c_i, h_i, w_i), from shallow to deep, channels last in memory.
        """
        return [
            table.index_select(0, rows).view(level.dtype).view(-1, *level.shape[1:]).permute(0, 3, 1, 2)
            for table, level in zip(self._rows, self.levels, strict=True)
        ]

    @staticmethod
    @torch.no_grad()
    def build(
        encode: Callable[[Tensor], list[Tensor]], images: Tensor, batch_size: int, limit: int
    ) -> "FeatureTable | None":
        """Encode images and keep their features.

        Args:
            encode: a deterministic function from (N, C, H, W) uint8 images to features (N, c_i, h_i, w_i).
            images: (rows, H, W, C) uint8.
            batch_size: number of images that are encoded at once.
            limit: maximum size of the table in bytes.

        Returns:
            The table, or None if it would be larger than `limit`. Then only one image is encoded.
        """
        count, height, width, _ = images.shape
        first = [feature.permute(0, 2, 3, 1) for feature in encode(images[:1].permute(0, 3, 1, 2))]
        if count * sum(feature.nbytes for feature in first) > limit:
            return None
        levels = [
            torch.empty((count, *feature.shape[1:]), dtype=feature.dtype, device=feature.device) for feature in first
        ]
        for start in range(0, count, batch_size):
            features = encode(images[start : start + batch_size].permute(0, 3, 1, 2))
            for level, feature in zip(levels, features, strict=True):
                level[start : start + batch_size] = feature.permute(0, 2, 3, 1)
        return FeatureTable(levels, (height, width))


def _as_wide_rows(level: Tensor) -> Tensor:
    """Return a view (rows, values) of a level, as int64 if possible, so that a GPU copies 8 bytes at once."""
    rows = level.view(len(level), -1)
    return rows.view(torch.int64) if rows.shape[1] * rows.element_size() % 8 == 0 else rows
