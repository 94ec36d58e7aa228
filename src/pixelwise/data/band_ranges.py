"""The range of values of each band, measured on images of a data set as percentiles."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.data.io.image import read_raw
from pixelwise.data.io.image_windows import ImageWindows, open_large
from pixelwise.data.io.record_windows import to_colors
from pixelwise.data.io.tiff import TiffBands
from pixelwise.data.pixel_scale import MAX_NODATA, PixelScale, missing_values
from pixelwise.data.schema import BytesSource, Record
from pixelwise.errors import ConfigError, DataError
from pixelwise.runtime.threads import prefetch_map

PERCENTILES = (0.5, 99.5)
"""Percentiles of the valid values of a band that become 1 and 255. docs/decisions.md compares them with others."""

MAX_IMAGES = 64
"""Maximum number of images that are read."""

_FIRST_IMAGES = 4
"""Number of images that are read first. If all have 8 bits and no nodata value, the others are not read."""

_VALUES_PER_IMAGE = 1 << 14
"""Maximum number of pixels that are taken from an image, at random."""

_PART_SIDE = 16
"""Side in pixels of the parts of a large image that are sampled."""

_MAX_LISTED_BANDS = 16
"""Maximum number of bands in the message."""


@dataclass(frozen=True, eq=False)
class _Sample:
    """Pixels of one image.

    Attributes:
        channels: number of channels of the image.
        bands: for each channel, the values of sampled pixels, without nodata. () if the image has 8 bits.
        has_nodata: True if the file states a nodata value, or has an internal mask.
    """

    channels: int = 3
    bands: tuple[npt.NDArray[np.float64], ...] = ()
    has_nodata: bool = False


def measure_scale(records: Sequence[Record], nodata: float | None = None) -> PixelScale:
    """Measure the range of values of each band.

    Args:
        records: the records of the images. At most `MAX_IMAGES` are read, evenly spaced from the first to the last.
            Images that cannot be read are left out.
        nodata: a value of pixels without data, besides those that the files state.

    Returns:
        A scale with the ranges, if most of the images do not have 8 bits. If they have 8 bits and a nodata value, the
        ranges are 0 to 255. If they have no nodata value either, there are no ranges.

    Raises:
        ConfigError: `nodata` is not a number that pixels can have.
    """
    if nodata is not None and not abs(nodata) <= MAX_NODATA:
        raise ConfigError(f"`nodata` is {nodata}; it must be a number that pixels can have, such as -9999 or 0")
    indices = np.linspace(0, len(records) - 1, min(len(records), MAX_IMAGES)).round().astype(int)
    images = [records[index].image for index in indices]
    samples = _read_samples(images[:_FIRST_IMAGES], nodata)
    if any(sample.bands or sample.has_nodata for sample in samples):
        samples += _read_samples(images[_FIRST_IMAGES:], nodata)
    deep = [sample for sample in samples if sample.bands]
    if len(deep) * 2 > len(samples):
        channels = Counter(sample.channels for sample in deep).most_common(1)[0][0]
        bands = zip(*(sample.bands for sample in deep if sample.channels == channels), strict=True)
        return PixelScale(band_ranges=tuple(_range(np.concatenate(band)) for band in bands), nodata=nodata)
    if nodata is not None or any(sample.has_nodata for sample in samples):
        channels = Counter(sample.channels for sample in samples or [_Sample()]).most_common(1)[0][0]
        return PixelScale(band_ranges=((0.0, 255.0),) * channels, nodata=nodata)
    return PixelScale()


def scale_messages(scale: PixelScale, nodata_fraction: float | None = None) -> list[str]:
    """Return lines for the user about the ranges of `measure_scale` and about nodata.

    Args:
        scale: the scale.
        nodata_fraction: fraction of all pixels that have no data, in [0, 1], or None if it is not known.

    Returns:
        One or two lines. An empty list if the scale has no ranges.

    >>> scale_messages(PixelScale(band_ranges=((12, 800), (0.5, 3)), nodata=-9999), 0.125)  # doctest: +ELLIPSIS
    ['pixel values are scaled ... percentile: band 1 12 to 800, band 2 0.5 to 3', '12.5 % of the pixels have no data \
(-9999, the tag GDAL_NODATA, an internal mask, NaN or infinity); they are ignored']
    """
    if not scale.band_ranges:
        return []
    own = "" if scale.nodata is None else f"{scale.nodata:g}, "
    values = f"{own}the tag GDAL_NODATA, an internal mask, NaN or infinity"
    if nodata_fraction is not None:
        lines = [f"{nodata_fraction * 100:.3g} % of the pixels have no data ({values}); they are ignored"]
    else:
        lines = [f"pixels without data ({values}) are ignored"]
    if nodata_fraction == 0 and scale.nodata is None:
        lines = []
    if all(each == (0.0, 255.0) for each in scale.band_ranges):
        return lines
    listed = [f"{low:g} to {high:g}" for low, high in scale.band_ranges]
    if len(set(listed)) > 1:
        listed = [f"band {number} {text}" for number, text in enumerate(listed, start=1)][:_MAX_LISTED_BANDS]
        more = len(scale.band_ranges) - len(listed)
        ranges = ", ".join(listed) + (f", … and {more} more" if more else "")
    else:
        ranges = listed[0]
    low, high = PERCENTILES
    return [f"pixel values are scaled to 8 bits, from the {low:g} % to the {high:g} % percentile: {ranges}", *lines]


def _read_samples(images: Sequence[BytesSource], nodata: float | None) -> list[_Sample]:
    """Return a sample of each image that can be read."""
    samples = prefetch_map(lambda image: _read_sample(image, nodata), images)
    return [sample for sample in samples if sample is not None]


def _read_sample(image: BytesSource, nodata: float | None) -> _Sample | None:
    """Return a sample of an image, or None if the image cannot be read."""
    windows = open_large(image)
    try:
        if windows is None:
            raw = read_raw(image)
        else:
            with windows:
                raw = _read_parts(windows)
    except DataError:
        return None
    if raw is None:
        return _Sample()
    channels = raw.pixels.shape[2]
    if raw.pixels.dtype == np.uint8:
        return _Sample(channels, has_nodata=raw.nodata is not None or raw.masked is not None)
    pixels = raw.pixels.reshape(-1, channels)
    if raw.masked is not None:
        pixels = pixels[~raw.masked.ravel()]
    if len(pixels) > _VALUES_PER_IMAGE:
        pixels = pixels[np.random.default_rng(0).integers(0, len(pixels), _VALUES_PER_IMAGE)]
    missing = missing_values(pixels, nodata, raw.nodata)
    valid = np.ones(pixels.shape, bool) if missing is None else ~missing
    bands = tuple(pixels[valid[:, band], band].astype(np.float64) for band in range(channels))
    return _Sample(channels, bands, raw.nodata is not None)


def _read_parts(windows: ImageWindows) -> TiffBands | None:
    """Return pixels at random places of a large image, (parts, `_PART_SIDE`², channels), see `read_raw`."""
    has_nodata = windows.nodata is not None or windows.has_mask
    if windows.palette is not None or (windows.dtype == np.uint8 and not has_nodata):
        return None
    generator = np.random.default_rng(0)
    parts, masks = [], []
    for _ in range(_VALUES_PER_IMAGE // _PART_SIDE**2):
        top, left = (int(generator.integers(0, side - _PART_SIDE)) for side in (windows.height, windows.width))
        place = range(top, top + _PART_SIDE), range(left, left + _PART_SIDE)
        parts.append(to_colors(windows, windows.read(*place)).reshape(_PART_SIDE**2, -1))
        if (masked := windows.masked(*place)) is not None:
            masks.append(masked.ravel())
    return TiffBands(np.stack(parts), windows.nodata, masked=np.stack(masks) if masks else None)


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentiles of the values of a band. If they are equal, the second is the first + 1.

    Without values, the range is (0, 1).
    """
    if not values.size:
        return 0.0, 1.0
    low, high = (float(f"{value:.7g}") for value in np.percentile(values, PERCENTILES))
    return low, high if high > low else low + 1
