"""Features of a frozen encoder, computed once for each image that comes again."""

from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor


class FeatureCache:
    """Remembers a frozen encoder's features by what an image shows.

    A frozen encoder gives an image the same features every time, and where images are at most flipped there are two
    images of each: from the third epoch on nearly all are known. Images are told apart by their bytes, so nobody
    has to say which image an image is of; one that never comes again is stored in vain, which the limit bounds.

    Args:
        encode: (N, 3, H, W) uint8 images → features (N, c_i, h_i, w_i), the same for the same image.
        limit: bytes of features to keep; images that come when it is full are encoded each time.
    """

    def __init__(self, encode: Callable[[Tensor], list[Tensor]], limit: int = 2**30) -> None:
        self.encode = encode
        self.limit = limit
        self.used = 0
        self.known: dict[bytes, list[Tensor]] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        """What `encode` gives for the images, each looked up or encoded."""
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        new = [index for index, key in enumerate(keys) if key not in self.known]
        fresh: dict[int, list[Tensor]] = {}
        if new:
            # Channels last, as convolutions want it: a stack of (h, w, c) is a (N, c, h, w) of that kind for free.
            levels = [feature.permute(0, 2, 3, 1).contiguous() for feature in self.encode(images[new])]
            if len(new) == len(images):
                found = [level.permute(0, 3, 1, 2) for level in levels]
            for row, index in enumerate(new):
                fresh[index] = [level[row] for level in levels]
                self._keep(keys[index], fresh[index])
        if len(new) < len(images):
            rows = [fresh.get(index) or self.known[key] for index, key in enumerate(keys)]
            found = [torch.stack(level).permute(0, 3, 1, 2) for level in zip(*rows, strict=True)]
        return found

    def _keep(self, key: bytes, features: list[Tensor]) -> None:
        size = sum(feature.nbytes for feature in features)
        if self.used + size <= self.limit:
            self.used += size
            # Copies: a slice would keep the whole batch alive.
            self.known[key] = [feature.clone() for feature in features]
