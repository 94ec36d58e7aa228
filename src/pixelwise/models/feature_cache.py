"""A cache of a frozen encoder's features, keyed by the pixels of each image."""

from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor


class FeatureCache:
    """A cache of features in memory.

    A frozen encoder returns the same features for the same image. If the only augmentation is a flip with probability
    0.5, each image has two versions. On average, the features of 50 % of the images are then cached in the second
    epoch, and those of 94 % in the fifth. Images are identified by a hash of their pixels. Entries that are never
    requested again waste memory up to `limit`.

    Args:
        encode: a deterministic function from (N, C, H, W) uint8 images to features (N, c_i, h_i, w_i).
        limit: maximum size of the cached features in bytes. Once it is reached, images that are not cached are
            encoded each time.
    """

    def __init__(self, encode: Callable[[Tensor], list[Tensor]], limit: int = 2**30) -> None:
        self.encode = encode
        self.limit = limit
        self.used_bytes = 0
        self._entries: dict[bytes, list[Tensor]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the features of images. Encode only the images whose features are not cached.

        Args:
            images: (N, C, H, W) uint8, on the CPU.

        Returns:
            Features (N, c_i, h_i, w_i), from shallow to deep.
        """
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        new = [index for index, key in enumerate(keys) if key not in self._entries]
        encoded: dict[int, list[Tensor]] = {}
        if new:
            # The memory layout is (N, h, w, c), so that a stack of entries is a channels-last batch without a copy.
            features = [feature.permute(0, 2, 3, 1).contiguous() for feature in self.encode(images[new])]
            for row, index in enumerate(new):
                encoded[index] = [feature[row] for feature in features]
                self._add(keys[index], encoded[index])
            if len(new) == len(images):
                return [feature.permute(0, 3, 1, 2) for feature in features]
        rows = [encoded.get(index) or self._entries[key] for index, key in enumerate(keys)]
        return [torch.stack(feature).permute(0, 3, 1, 2) for feature in zip(*rows, strict=True)]

    def _add(self, key: bytes, features: list[Tensor]) -> None:
        size = sum(feature.nbytes for feature in features)
        if self.used_bytes + size <= self.limit:
            self.used_bytes += size
            # Store copies, because a slice would keep the full batch in memory.
            self._entries[key] = [feature.clone() for feature in features]
