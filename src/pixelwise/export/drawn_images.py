"""Drawn images for the tests inside exported files. They show no one's data, unlike images of the training."""

import numpy as np
import numpy.typing as npt

from pixelwise.data.demo.synthetic import KINDS, draw_animal_scene

Bytes = npt.NDArray[np.uint8]

SIZES = ((96, 128), (120, 90), (61, 77))
"""Heights and widths of the images inside exported files, in pixels."""


def draw_image(height: int, width: int, channels: int, seed: int = 0) -> Bytes:
    """Draw a scene with an animal. The same arguments give the same image.

    Args:
        height: height in pixels.
        width: width in pixels.
        channels: number of channels. Other than 3, each channel is a different mean of the colors.
        seed: random seed.

    Returns:
        (height, width, channels) uint8.

    >>> draw_image(61, 77, 4).shape
    (61, 77, 4)
    """
    rng = np.random.default_rng(seed)
    image, _ = draw_animal_scene(rng, (width, height), list(KINDS)[seed % len(KINDS)])
    if channels == 3:
        return image
    weights = rng.dirichlet((0.5, 0.5, 0.5), channels)
    return np.rint(image @ weights.T).clip(0, 255).astype(np.uint8)
