"""Windows of local image files that are not decoded as a whole, through tifffile or rasterio."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.rasterio_windows import RasterioWindows, is_installed
from pixelwise.data.io.tiff_windows import TiffWindows, is_tiff, open_tiff
from pixelwise.errors import DataError, UndecodableTiffError

RASTER_SUFFIXES = (".jp2", ".j2k", ".jpx", ".vrt")
"""Suffixes of files that only rasterio reads by windows."""

WINDOW_SUFFIXES = (".tif", ".tiff", *RASTER_SUFFIXES)
"""Suffixes of files that can be read by windows."""

LARGE_PIXELS = 1 << 26
"""An image with more pixels than this is measured, validated and evaluated by windows if its file allows it."""

_MIN_LARGE_BYTES = 1 << 16
"""Minimum size in bytes of the file of a large image. Compression does not make a large image smaller."""


class ImageWindows(Protocol):
    """An image file of which windows are read. Threads can share it.

    Attributes:
        path: the file.
        height: height of the image in pixels.
        width: width of the image in pixels.
        bands: number of bands.
        dtype: the type of the pixels.
        nodata: the nodata value that the file states, or None.
        has_mask: True if the file has an internal mask, see `internal_mask`.
        palette: (256, 3) uint8 RGB colors of the pixel values, or None.
        has_opacity: True if the last band is the opacity.
        block: height and width in pixels of the part of the file that is decoded at once.
    """

    path: Path
    height: int
    width: int
    bands: int
    dtype: np.dtype[Any]
    nodata: float | None
    has_mask: bool
    palette: npt.NDArray[np.uint8] | None
    has_opacity: bool
    block: tuple[int, int]

    @property
    def page(self) -> Any:
        """The `tifffile.TiffPage` with the tags of a TIFF file. Other files have one with their georeference only.

        None if tifffile is not installed.
        """
        ...

    def read(self, rows: range, columns: range) -> npt.NDArray[Any]:
        """Return a window with the values of the file.

        Args:
            rows: consecutive rows inside the image.
            columns: consecutive columns inside the image.

        Returns:
            (rows, columns, bands).

        Raises:
            DataError: The file is damaged. The message names it.
        """
        ...

    def masked(self, rows: range, columns: range) -> npt.NDArray[np.bool_] | None:
        """Return the nodata pixels of a window in the internal mask, (rows, columns), see `read`.

        None if the file has no such mask.
        """
        ...

    def close(self) -> object:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_windows(path: Path, keeps_tiles: bool = False) -> ImageWindows:
    """Open an image file to read windows of it.

    tifffile reads TIFF files. rasterio, if it is installed, reads TIFF files that tifffile cannot decode, JPEG 2000
    files and virtual mosaics (VRT).

    Args:
        path: the file.
        keeps_tiles: keep the decoded tiles of the last window, for windows that overlap. rasterio keeps tiles anyway.

    Returns:
        The open file.

    Raises:
        DataError: The file cannot be read, or not by windows. The message names the file, and the extra if a package is
            missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() in RASTER_SUFFIXES:
        return RasterioWindows(path)
    try:
        return TiffWindows(path, keeps_tiles)
    except UndecodableTiffError as error:
        if not is_installed():
            raise DataError(f"{error} or 'pixelwise[geo]'") from None
        return RasterioWindows(path)


def can_read_windows(path: object) -> bool:
    """Return True if `open_windows` can open a file."""
    if not isinstance(path, Path) or path.suffix.lower() not in WINDOW_SUFFIXES:
        return False
    with suppress(DataError, OSError), open_windows(path):
        return True
    return False


def open_large(source: object) -> ImageWindows | None:
    """Open an image of more than `LARGE_PIXELS` pixels to read windows of it.

    Args:
        source: the file of the image.

    Returns:
        The open file. None for a smaller image, and for a file that `open_windows` cannot open.
    """
    if not isinstance(source, Path) or source.suffix.lower() not in WINDOW_SUFFIXES:
        return None
    with suppress(DataError, OSError):
        if source.is_file() and source.stat().st_size >= _MIN_LARGE_BYTES and is_large(source):
            return open_windows(source)
    return None


def can_open_large(source: object) -> bool:
    """Return True if `open_large` can open an image."""
    windows = open_large(source)
    if windows is not None:
        windows.close()
    return windows is not None


def is_large(path: Path) -> bool:
    """Return True if the header of a local file states more than `LARGE_PIXELS` pixels."""
    return (stated_pixels(path) or 0) > LARGE_PIXELS


def stated_pixels(path: Path) -> int | None:
    """Return the number of pixels of an image in the header of a local file, without rasterio.

    Returns:
        The number. None if the file cannot be read. `MAX_PIXELS` + 1 if Pillow states only that it has more than that.
    """
    with suppress(DataError, OSError):
        if is_tiff(path):
            with open_tiff(path) as tiff:
                return int(tiff.pages.first.imagelength * tiff.pages.first.imagewidth)
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return MAX_PIXELS + 1
    except Exception:  # a bad header can raise any error
        return None
