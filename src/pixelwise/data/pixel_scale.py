"""Conversion of image bands of any number type to 8 bits, with a value for pixels without data."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.data.pixel_depth import to_8_bits

Bytes = npt.NDArray[np.uint8]

MAX_NODATA = 3.4028235e38
"""Greatest magnitude of a nodata value: that of float32 as GIS programs round it. Its negative is often nodata."""


@dataclass(frozen=True)
class PixelScale:
    """The conversion of the pixels of image files to uint8.

    With `band_ranges`, the uint8 value 0 is reserved for nodata, and valid pixels have 1 to 255. So an image keeps its
    nodata pixels if it is cut into windows, cached or packed. Without `band_ranges`, no value is reserved.

    Attributes:
        bit_depth: number of bits in use, 8 to 16, in images with 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8. Not used with `band_ranges`.
        pixel_range: the values that become 0 and 255 in images of floats, of signed integers or of 32 bits. Values
            outside the range are clipped, and NaN becomes 0. Not used with `band_ranges`.
        band_ranges: for each channel, the values (low, high) that become 1 and 255. Values outside are clipped. Pixels
            of uint8 keep their values, except that a valid 0 becomes 1.
        nodata: a value of pixels without data, besides that in the tag GDAL_NODATA of a file and the pixels of its
            internal mask. NaN and infinities are nodata as well. Used with `band_ranges` only.
    """

    bit_depth: int = 16
    pixel_range: tuple[float, float] | None = None
    band_ranges: tuple[tuple[float, float], ...] = ()
    nodata: float | None = None

    def apply(
        self, pixels: np.ndarray, file_nodata: float | None = None, masked: npt.NDArray[np.bool_] | None = None
    ) -> Bytes:
        """Convert pixels to uint8. The result of a window is that part of the result of the image.

        Args:
            pixels: (H, W) or (H, W, C) integers or floats. A single channel uses the first of `band_ranges`.
            file_nodata: the nodata value that the file states, see `parse_nodata`, or None.
            masked: (H, W), True for the pixels that the file marks as nodata in a mask of its own. None if it has no
                such mask. Used with `band_ranges` only.

        Returns:
            uint8 of the same shape. Without `band_ranges`, an array of uint8 is returned as it is.

        Raises:
            DataError: The type needs `band_ranges` or `pixel_range`, which this scale does not have.

        >>> scale = PixelScale(band_ranges=((0, 1000),), nodata=-9999)
        >>> scale.apply(np.array([[-9999, -5, 0, 500, 1000, 4000]], np.int16)).tolist()
        [[0, 1, 1, 128, 255, 255]]
        """
        if not pixels.dtype.isnative:
            pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        if not self.band_ranges:
            return to_8_bits(pixels, self.bit_depth, self.pixel_range)
        bands = pixels if pixels.ndim == 3 else pixels[..., None]
        if pixels.dtype == np.uint8:
            scaled = np.maximum(bands, 1)
        else:
            scaled = np.empty(bands.shape, np.uint8)
            for channel, (low, high) in enumerate(self._ranges(bands)):
                scaled[..., channel] = _stretch(bands[..., channel], low, high)
        missing = missing_values(bands, self.nodata, file_nodata)
        if missing is not None:
            scaled[missing] = 0
        if masked is not None:
            scaled[masked] = 0
        return scaled.reshape(pixels.shape)

    def missing(self, image: Bytes) -> npt.NDArray[np.bool_] | None:
        """Return the nodata pixels of a converted image: those without data in all channels.

        Args:
            image: (H, W, C) uint8, the result of `apply`.

        Returns:
            (H, W) bool, or None if there are no such pixels.
        """
        if not self.band_ranges:
            return None
        missing = image[..., 0] == 0
        for channel in range(1, image.shape[2]):
            if not missing.any():
                break
            missing &= image[..., channel] == 0
        return missing if missing.any() else None

    def _ranges(self, bands: np.ndarray) -> Iterator[tuple[float, float]]:
        """Yield the range of each channel. A channel without its own range, such as opacity, has that of its type."""
        for channel in range(bands.shape[2]):
            if channel < len(self.band_ranges):
                yield self.band_ranges[channel]
            else:
                yield (0.0, float(np.iinfo(bands.dtype).max)) if bands.dtype.kind in "ui" else (0.0, 1.0)


def check_band_ranges(band_ranges: Sequence[tuple[float, float]], channels: int) -> None:
    """Check the number and the order of `PixelScale.band_ranges`. An empty sequence is valid.

    Args:
        band_ranges: the ranges.
        channels: number of channels of the images.

    Raises:
        ValueError: There is not one range for each channel, or a range is not a lower and a higher value.
    """
    if len(band_ranges) not in (0, channels):
        raise ValueError(f"band_ranges has {len(band_ranges)} ranges for {channels} channels")
    if any(low >= high for low, high in band_ranges):
        raise ValueError("each of band_ranges must be a lower and a higher value")


def missing_values(pixels: np.ndarray, *nodata: float | None) -> npt.NDArray[np.bool_] | None:
    """Return which values are nodata: NaN, infinities and the values of `nodata`.

    Args:
        pixels: integers or floats of any shape.
        nodata: the nodata values. None stands for no value. A value that the type cannot represent does not occur.

    Returns:
        bool of the same shape, or None if no value is nodata.

    >>> missing_values(np.array([1, np.nan, -9999], np.float32), -9999.0, None).tolist()
    [False, True, True]
    """
    missing = ~np.isfinite(pixels) if pixels.dtype.kind == "f" else None
    for value in set(nodata) - {None}:
        assert value is not None
        typed = _as_type(value, pixels.dtype)
        if typed is not None:
            equal = pixels == typed
            missing = equal if missing is None else missing | equal
    return missing if missing is not None and missing.any() else None


def parse_nodata(text: object) -> float | None:
    """Return the number in the tag GDAL_NODATA of a TIFF. Return None if there is none, or if it is not a number.

    >>> parse_nodata("-9999 "), parse_nodata("nan"), parse_nodata(None)
    (-9999.0, nan, None)
    """
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    try:
        return float(str(text).strip(" \0\n"))
    except ValueError:
        return None


def _as_type(value: float, dtype: np.dtype) -> np.generic | None:
    """Return a nodata value in the type of the pixels, or None if the type does not have it."""
    if not math.isfinite(value):
        return None  # for floats, NaN and infinities are nodata anyway
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            typed = dtype.type(value)  # -3.4028235e+38 is below the lowest float32, and becomes it
        return typed if np.isfinite(typed) else None
    limits = np.iinfo(dtype)
    return dtype.type(int(value)) if float(value).is_integer() and limits.min <= value <= limits.max else None


def _stretch(band: np.ndarray, low: float, high: float) -> Bytes:
    """Scale one band so that `low` becomes 1 and `high` 255.

    Integers are scaled in float64. So a file gives the same result if it is read as int16 or, as by Pillow, as int32.
    """
    if band.dtype.kind in "ui" and band.dtype.itemsize == 2 and band.size > 1 << 16:
        limits = np.iinfo(band.dtype)
        table = _stretch(np.arange(limits.min, limits.max + 1), low, high)  # each value is computed once
        return table[band.astype(np.int32) - limits.min]
    values: npt.NDArray[np.floating]
    values = band.astype(np.float32 if band.dtype.kind == "f" and band.dtype.itemsize <= 4 else np.float64)
    if band.dtype.kind == "f":
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    np.clip(values, low, high, out=values)  # first, because the product of a large value could overflow
    values -= low
    values *= 254 / (high - low)
    values += 1
    return np.rint(values, out=values).astype(np.uint8)
