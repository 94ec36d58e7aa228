"""The statistics of an image that is too large to decode at once, from bands of its rows."""

import hashlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.analysis.image_scan import MIN_DRAFT_SIDE, ImageStats, channel_moments, image_stats
from pixelwise.data.io.image_windows import ImageWindows, open_large
from pixelwise.data.io.record_windows import to_colors
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import BytesSource

_BAND_PIXELS = 1 << 22
"""Number of pixels of a band of rows."""

_MODES = {("u", 1): "L", ("u", 2): "I;16", ("i", 4): "I", ("f", 4): "F"}
"""Kind and size of the type of one band → Pillow's mode."""


def scan_large_image(windows: ImageWindows, scale: PixelScale) -> ImageStats:
    """Measure an image. The statistics are those of `scan_image`, except for rounding in the thumbnail.

    Args:
        windows: the open image.
        scale: the conversion of the data set's pixels to 8 bits, if it has ranges.

    Raises:
        DataError: The image cannot be read. The message names it.
    """
    height, width = windows.height, windows.width
    step = max(1, min(height, width) // MIN_DRAFT_SIDE)
    digest, gray, sampled = hashlib.blake2b(digest_size=16), _GraySums(height, width), []
    max_value, missing_pixels = 0, 0
    for start in range(0, height, _band_rows(windows)):
        rows = range(start, min(start + _band_rows(windows), height))
        pixels = to_colors(windows, windows.read(rows, range(width)))
        if not start:
            digest.update(repr(((height, width), pixels.dtype)).encode())
        digest.update(np.ascontiguousarray(pixels).reshape(-1).data)
        if pixels.dtype == np.uint16:
            max_value = max(max_value, int(pixels.max()))
        masked = windows.masked(rows, range(width))
        scaled = scale.apply(pixels, windows.nodata, masked) if scale.band_ranges else None
        missing = None if scaled is None else scale.missing(scaled)
        missing_pixels += 0 if missing is None else int(np.count_nonzero(missing))
        shown = pixels if scaled is None else scaled
        sampled.append(shown[-start % step :: step, ::step].copy())  # a view would keep the band
        is_rgb = pixels.dtype == np.uint8 and pixels.shape[2] == 3
        gray.add(start, pixels if is_rgb else shown, is_rgb=is_rgb)
    means, mean_squares = channel_moments(np.concatenate(sampled), has_ranges=bool(scale.band_ranges))
    return ImageStats(
        digest=digest.digest(),
        size=(height, width),
        mode=_mode(windows),
        channels=int(sampled[0].shape[2]),
        max_value=max_value,
        has_wide_numbers=windows.dtype not in (np.uint8, np.uint16),
        means=means,
        mean_squares=mean_squares,
        thumbnail=gray.thumbnail(scales=windows.dtype != np.uint8 and not scale.band_ranges),
        nodata_fraction=missing_pixels / (height * width),
    )


def thumbnail_and_digest(source: BytesSource) -> tuple[bytes, bytes]:
    """Return the thumbnail and the digest of an image of any size, see `ImageStats`. Raises DataError."""
    windows = open_large(source)
    if windows is None:
        stats = image_stats(source)
    else:
        with windows:
            stats = scan_large_image(windows, UNSCALED)
    return stats.thumbnail, stats.digest


def missing_pixels(
    windows: ImageWindows, scale: PixelScale, rows: range, columns: range
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels of a part of an image that have no data, see `PixelScale.missing`."""
    pixels = to_colors(windows, windows.read(rows, columns))
    return scale.missing(scale.apply(pixels, windows.nodata, windows.masked(rows, columns)))


def _band_rows(windows: ImageWindows) -> int:
    """Return the number of rows of a band. No tile or strip is decoded twice."""
    return max(1, _BAND_PIXELS // windows.width // windows.block[0]) * windows.block[0]


def _mode(windows: ImageWindows) -> str:
    """Return Pillow's pixel mode, or the number of bands, as `ImageStats.mode`."""
    if windows.palette is not None:
        return "P"
    if windows.bands == 1:
        return _MODES.get((windows.dtype.kind, windows.dtype.itemsize), "1 bands")
    colors = {2: "LA", 3: "RGB", 4: "RGBA"}
    is_color = windows.dtype == np.uint8 and windows.has_opacity == (windows.bands in (2, 4))
    return colors.get(windows.bands, f"{windows.bands} bands") if is_color else f"{windows.bands} bands"


class _GraySums:
    """The sums of the gray values over the areas of a thumbnail.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._columns = (np.arange(THUMBNAIL_SIDE + 1) * side / THUMBNAIL_SIDE for side in (height, width))
        self._sums = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        self._low, self._high = np.inf, -np.inf

    def add(self, start: int, pixels: npt.NDArray[np.generic], *, is_rgb: bool) -> None:
        """Add a band of rows.

        Args:
            start: its first row.
            pixels: (rows, W, C).
            is_rgb: True to weigh the channels as Pillow does. Otherwise, gray is their mean.
        """
        if is_rgb:
            gray = np.asarray(Image.fromarray(pixels).convert("L"))
        else:
            gray = np.nan_to_num(pixels.mean(2, dtype=np.float32), posinf=0, neginf=0)
            self._low, self._high = min(self._low, float(gray.min())), max(self._high, float(gray.max()))
        first = np.floor(self._columns[:-1]).astype(int)
        sums = np.add.reduceat(gray, first, axis=1, dtype=np.float32 if gray.dtype != np.uint8 else np.uint32)
        sums = sums.astype(np.float64)
        crossing = (self._columns[:-1] - first)[1:] * gray[:, first[1:]]  # part of these pixels in the area to the left
        sums[:, 1:] -= crossing
        sums[:, :-1] += crossing
        for row, values in enumerate(sums, start):
            owner = min(int(np.searchsorted(self._rows, row, "right")) - 1, THUMBNAIL_SIDE - 1)
            inside = min(self._rows[owner + 1] - row, 1.0)
            self._sums[owner] += inside * values
            if inside < 1 and owner + 1 < THUMBNAIL_SIDE:
                self._sums[owner + 1] += (1 - inside) * values

    def thumbnail(self, *, scales: bool) -> bytes:
        """Return `THUMBNAIL_SIDE`² gray values. With `scales`, the image's range becomes 0 to 255."""
        means = self._sums / np.outer(np.diff(self._rows), np.diff(self._columns))
        if scales:
            means = (means - self._low) * (255 / max(self._high - self._low, 1e-9))
        return means.round().clip(0, 255).astype(np.uint8).tobytes()
