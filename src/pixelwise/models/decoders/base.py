"""TODO: module."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
