"""Images for the tests of predictions."""

import numpy as np
import torch
import torch.nn.functional as F


def make_image(height: int = 51, width: int = 77, seed: int = 0) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of smooth color blobs, whose mask has more than one class."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    blobs = F.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (blobs * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
