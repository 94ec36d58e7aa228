"""Windows of image files that tifffile cannot decode, read with the package rasterio (GDAL)."""

import io
import threading
import weakref
from collections.abc import Callable
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, first_line

_DRIVERS = {".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG", ".jpx": "JP2OpenJPEG", ".vrt": "VRT"}
"""Suffix → GDAL's name of the format. Files with other suffixes are opened as TIFF files, for security."""

_OPTIONS = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",  # a VRT cannot name files on a server
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no files beside the image, such as .aux.xml
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}
"""Options of GDAL while a file is opened or read."""

_MAX_BLOCK_BYTES = 256 << 20
"""Maximum size in bytes of a row of blocks that is decoded at once."""


def is_installed() -> bool:
    """Return True if rasterio is installed. It is not imported."""
    return find_spec("rasterio") is not None


def require_rasterio(path: Path) -> Any:
    """Import and return rasterio.

    Raises:
        DataError: It is not installed. The message names the file and the extra.
    """
    try:
        import rasterio
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading it in parts needs rasterio; pip install 'pixelwise[geo]'") from None
    return rasterio


class RasterioWindows:
    """Windows of a TIFF, JPEG 2000 or VRT file, see `ImageWindows`.

    Args:
        path: the file.

    Raises:
        DataError: The file cannot be read, or rasterio is not installed. The message names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._rasterio = path, require_rasterio(path)
        self._lock = threading.Lock()
        try:
            with self._rasterio.Env(**_OPTIONS):
                self._file = self._rasterio.open(path, driver=_DRIVERS.get(path.suffix.lower(), "GTiff"))
        except self._rasterio.errors.RasterioError as error:
            raise DataError(f"{path}: cannot be read ({_reason(error)}); replace or remove it") from None
        self.close = weakref.finalize(self, self._file.close)
        file = self._file
        self.height, self.width, self.bands = file.height, file.width, file.count
        self.dtype: np.dtype[Any] = np.dtype(file.dtypes[0])
        self.nodata = None if file.nodata is None else float(file.nodata)
        self.has_opacity = file.colorinterp[-1] == self._rasterio.enums.ColorInterp.alpha
        self.palette = self._colors() if file.count == 1 and self.dtype == np.uint8 else None
        is_masked = file.mask_flag_enums[0] == [self._rasterio.enums.MaskFlags.per_dataset]
        self.has_mask = is_masked and self.palette is None
        self.block: tuple[int, int] = file.block_shapes[0]
        if (fault := self._fault()) is not None:
            self.close()
            raise DataError(f"{path}: cannot be read in parts ({fault}); save it as a TIFF with tiles")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, rows: range, columns: range) -> npt.NDArray[Any]:
        """Return a window, (rows, columns, bands), see `ImageWindows`.

        Raises:
            DataError: The window is damaged. The message names the file.
        """
        return np.ascontiguousarray(np.moveaxis(self._read(self._file.read, rows, columns), 0, 2))

    def masked(self, rows: range, columns: range) -> npt.NDArray[np.bool_] | None:
        """Return the nodata pixels of a window in the internal mask, see `ImageWindows`. Raises DataError."""
        return self._read(partial(self._file.read_masks, 1), rows, columns) == 0 if self.has_mask else None

    def _read(self, read: Callable[..., npt.NDArray[Any]], rows: range, columns: range) -> npt.NDArray[Any]:
        window = self._rasterio.windows.Window(columns.start, rows.start, len(columns), len(rows))
        with self._lock, self._rasterio.Env(**_OPTIONS):
            try:
                return read(window=window)
            except self._rasterio.errors.RasterioError as error:
                raise DataError(f"{self.path}: truncated or corrupt ({_reason(error)}); replace it") from None

    @cached_property
    def page(self) -> Any:
        """The page of a TIFF file of one pixel with the georeference of this file, or None without tifffile."""
        try:
            from tifffile import TiffFile
        except ModuleNotFoundError:
            return None
        profile = {"width": 1, "height": 1, "count": 1, "dtype": "uint8", "driver": "GTiff"}
        points, system = self._file.gcps
        with self._rasterio.Env(**_OPTIONS), self._rasterio.MemoryFile() as memory:
            with memory.open(**profile, crs=self._file.crs or system, transform=self._file.transform) as file:
                if points:
                    file.gcps = points, system
            return TiffFile(io.BytesIO(memory.read())).pages.first

    def _colors(self) -> npt.NDArray[np.uint8] | None:
        try:
            colors = self._file.colormap(1)
        except ValueError:  # it has none
            return None
        palette = np.zeros((256, 3), np.uint8)
        palette[list(colors)] = [color[:3] for color in colors.values()]
        return palette

    def _fault(self) -> str | None:
        if len(set(self._file.dtypes)) > 1 or self.dtype.kind not in "uif":
            return "its pixels are not integers or floats of one type"
        if self._file.tags(ns="IMAGE_STRUCTURE").get("NBITS", "8") in ("1", "2", "4"):
            return "its pixels have fewer than 8 bits"
        if self.block[0] * self.width * self.bands * self.dtype.itemsize > _MAX_BLOCK_BYTES:
            return "its tiles or strips are too large"
        return None


def _reason(error: Exception) -> str:
    """Return GDAL's reason of an error of rasterio, which only refers to it."""
    return first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
