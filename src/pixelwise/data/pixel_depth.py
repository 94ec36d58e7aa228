"""Conversion of pixels of any number type to 8 bits, and the range of their values."""

import numpy as np

from pixelwise.errors import DataError


def to_8_bits(pixels: np.ndarray, bit_depth: int = 16, pixel_range: tuple[float, float] | None = None) -> np.ndarray:
    """Convert pixels of any number type to 8 bits.

    Args:
        pixels: integers or floats of any shape.
        bit_depth: see `PixelScale`. Used for uint16.
        pixel_range: see `PixelScale`. Used for all types except uint8 and uint16.

    Returns:
        uint8 of the same shape. An array of uint8 is returned as it is. NaN becomes 0.

    Raises:
        DataError: The type needs `pixel_range`, which is None.

    >>> to_8_bits(np.array([-1.0, 0.0, 1.0, np.nan], np.float32), pixel_range=(0.0, 2.0)).tolist()
    [0, 0, 128, 0]
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return np.minimum(pixels >> (bit_depth - 8), 255).astype(np.uint8)
    if pixel_range is None:
        raise DataError(
            f"its pixels are {pixels.dtype}, whose range is known only to a model that was trained on such images; "
            "save it with 8 or 16 bits a channel"
        )
    low, high = pixel_range
    scaled = (pixels.astype(np.result_type(pixels.dtype, np.float32)) - low) * (255 / (high - low) if high > low else 0)
    return np.clip(np.rint(np.nan_to_num(scaled, nan=0, posinf=255, neginf=0)), 0, 255).astype(np.uint8)


def value_range(pixels: np.ndarray) -> tuple[float, float] | None:
    """Return the lowest and the highest finite value of pixels.

    Args:
        pixels: integers or floats of any shape.

    Returns:
        (low, high), or None for uint8 and uint16, which need no range. If all finite values are equal, `high` is `low`
        + 1. Without finite values, the range is (0, 1).

    >>> value_range(np.array([-2, 0, 7], np.int16)), value_range(np.array([3], np.uint8))
    ((-2.0, 7.0), None)
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return None
    finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1
