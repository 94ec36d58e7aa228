"""Windows of TIFF files, read with the package tifffile. Only the tiles or strips of a window are decoded."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from pixelwise.data.io.tiff import NODATA_TAG, TIFF_SIGNATURES, internal_mask
from pixelwise.data.pixel_scale import parse_nodata
from pixelwise.errors import DataError, UndecodableTiffError, first_line
from pixelwise.runtime.threads import available_cpus

if TYPE_CHECKING:
    from tifffile import FileHandle, TiffFile, TiffPage

Pixels = npt.NDArray[Any]

_MAX_SEGMENT_BYTES = 256 << 20
"""Maximum size in bytes of a row of tiles, or of a strip, that is decoded at once."""

_GRAY, _RGB, _PALETTE, _YCBCR, _JPEG = 1, 2, 3, 6, 7
"""Values of the TIFF tags PhotometricInterpretation and Compression."""

_ORIENTATION_TAG = 274


class TiffWindows:
    """Windows of a TIFF file, see `ImageWindows`.

    Args:
        path: the file.
        keeps_tiles: keep the decoded tiles of the last window. The next window uses them again.

    Raises:
        UndecodableTiffError: tifffile is not installed, or does not have the compression.
        DataError: The file cannot be read, or cannot be read in parts. The message names the file.
    """

    def __init__(self, path: Path, keeps_tiles: bool = False) -> None:
        self.path = path
        tiff = open_tiff(path)
        self.close = weakref.finalize(self, tiff.close)
        self._file, self.page = tiff.filehandle, tiff.pages.first
        try:
            self._check(tiff)
        except BaseException:
            self.close()
            raise
        page = self.page
        self.height, self.width, self.bands = page.imagelength, page.imagewidth, page.samplesperpixel
        self.dtype: np.dtype[Any] = np.dtype(page.dtype)
        self.palette = None if page.photometric != _PALETTE else _colors(page)
        self.has_opacity = any(kind in (1, 2) for kind in page.extrasamples)
        tag = page.tags.get(NODATA_TAG)
        self.nodata = parse_nodata(tag.value) if tag is not None else None
        self._segments = _Segments(self._file, page, keeps_tiles)
        mask = internal_mask(tiff)
        self._mask = None if mask is None else _Segments(self._file, mask, keeps_tiles)
        self.has_mask = mask is not None
        self.block = (1, 1) if is_plain(page) else self._segments.block
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, tiff: "TiffFile") -> None:
        fault = _fault(tiff, self.page)
        if fault is not None:
            raise DataError(f"{self.path}: cannot be read in parts ({fault}); save it as a TIFF with tiles")
        mask = internal_mask(tiff)
        fault = _missing_codec(self.page) or (None if mask is None else _missing_codec(mask))
        if fault is not None:
            raise UndecodableTiffError(f"{self.path}: cannot be decoded ({fault}); pip install 'pixelwise[tiff]'")

    def read(self, rows: range, columns: range) -> Pixels:
        """Return a window, (rows, columns, bands), see `ImageWindows`.

        Raises:
            DataError: The window is damaged. The message names the file.
        """
        return self._guarded(self._read_plain if is_plain(self.page) else self._segments.read, rows, columns)

    def masked(self, rows: range, columns: range) -> npt.NDArray[np.bool_] | None:
        """Return the nodata pixels of a window in the internal mask, see `ImageWindows`. Raises DataError."""
        return None if self._mask is None else self._guarded(self._mask.read, rows, columns)[..., 0] == 0

    def _guarded(self, read: Callable[[range, range], Pixels], rows: range, columns: range) -> Pixels:
        """Read in one thread at a time, and name the file in each error."""
        with self._lock:
            try:
                return read(rows, columns)
            except (MemoryError, OSError, DataError):
                raise
            except Exception as error:  # tifffile raises many exception types for broken files and missing codecs
                raise DataError(f"{self.path}: truncated or corrupt ({first_line(error)}); replace it") from None

    def _read_plain(self, rows: range, columns: range) -> Pixels:
        """Read a window of pixels that are stored without compression, one row after the other."""
        planes, samples = (self.bands, 1) if self.page.planarconfig == 2 else (1, self.bands)
        dtype = np.dtype(self._file_dtype)
        pixel = samples * dtype.itemsize
        bands = []
        for plane in range(planes):
            start = self.page.dataoffsets[0] + plane * self.height * self.width * pixel
            if len(columns) == self.width:
                content = _read_bytes(
                    self._file, start + rows.start * self.width * pixel, len(rows) * self.width * pixel
                )
            else:
                first, size = start + columns.start * pixel, len(columns) * pixel
                content = b"".join(_read_bytes(self._file, first + row * self.width * pixel, size) for row in rows)
            bands.append(np.frombuffer(content, dtype).reshape(len(rows), len(columns), samples))
        return np.concatenate(bands, 2)  # a copy, because arrays of bytes cannot be changed

    @property
    def _file_dtype(self) -> str:
        return self.page.parent.byteorder + self.dtype.char


class _Segments:
    """The tiles or strips of a page.

    Args:
        file: the open file.
        page: the page.
        keeps_tiles: see `TiffWindows`.

    Attributes:
        block: height and width of a tile or strip in pixels.
    """

    def __init__(self, file: "FileHandle", page: "TiffPage", keeps_tiles: bool) -> None:
        self._file, self._page, self._keeps_tiles = file, page, keeps_tiles
        self._grid = _Grid(page)
        self.block = self._grid.block
        self._kept: dict[int, Pixels | None] = {}

    def read(self, rows: range, columns: range) -> Pixels:
        """Decode the tiles or strips of a window. Return (rows, columns, bands)."""
        page, grid = self._page, self._grid
        numbers = grid.numbers(rows, columns)
        segments = {number: self._kept[number] for number in numbers if number in self._kept}
        missing = [number for number in numbers if number not in segments]
        # A segment without bytes has the fill value. The file is read in one thread.
        stored = [(number, self._stored(number)) for number in missing if page.databytecounts[number]]
        segments |= dict.fromkeys(missing) | dict(self._decode_all(stored))
        self._kept = segments if self._keeps_tiles else {}
        pixels = np.full((len(rows), len(columns), page.samplesperpixel), page.nodata, page.dtype)
        for number, segment in segments.items():
            if segment is not None:
                grid.place(pixels, segment, number, (rows.start, columns.start))
        return pixels

    def _stored(self, number: int) -> bytes:
        return _read_bytes(self._file, self._page.dataoffsets[number], self._page.databytecounts[number])

    def _decode_all(self, stored: list[tuple[int, bytes]]) -> list[tuple[int, Pixels | None]]:
        if len(stored) < 2:
            return [self._decode(*segment) for segment in stored]
        with ThreadPoolExecutor(min(available_cpus(), len(stored))) as pool:
            return list(pool.map(lambda segment: self._decode(*segment), stored))

    def _decode(self, number: int, content: bytes) -> tuple[int, Pixels | None]:
        page = self._page
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == _JPEG else {}
        data = page.decode(content, number, **tables)[0]
        return number, None if data is None else data[0]


class _Grid:
    """The positions of the tiles or strips of a page.

    Args:
        page: the page.

    Attributes:
        block: height and width of a tile or strip in pixels.
    """

    def __init__(self, page: "TiffPage") -> None:
        self.block = segment_rows(page), int(page.tilewidth if page.is_tiled else page.imagewidth)
        self._down, self._across = -(-page.imagelength // self.block[0]), -(-page.imagewidth // self.block[1])
        self._planes = page.samplesperpixel if page.planarconfig == 2 else 1

    def numbers(self, rows: range, columns: range) -> list[int]:
        """Return the numbers of the tiles or strips of a window."""
        height, width = self.block
        return [
            (plane * self._down + row) * self._across + column
            for plane in range(self._planes)
            for row in range(rows.start // height, -(-rows.stop // height))
            for column in range(columns.start // width, -(-columns.stop // width))
        ]

    def place(self, pixels: Pixels, segment: Pixels, number: int, start: tuple[int, int]) -> None:
        """Copy the part of a tile or strip that is inside a window.

        Args:
            pixels: the window, (rows, columns, bands).
            segment: the tile or strip, (rows, columns, bands of a plane).
            number: the number of the tile or strip.
            start: the first row and column of the window.
        """
        plane, position = divmod(number, self._down * self._across)
        targets, sources = [], []
        for index, axis in ((position // self._across, 0), (position % self._across, 1)):
            first = index * self.block[axis] - start[axis]
            low, high = max(first, 0), min(first + segment.shape[axis], pixels.shape[axis])
            targets.append(slice(low, high))
            sources.append(slice(low - first, high - first))
        pixels[targets[0], targets[1], plane : plane + segment.shape[2]] = segment[sources[0], sources[1]]


def _read_bytes(file: "FileHandle", start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def open_tiff(path: Path) -> "TiffFile":
    """Open a TIFF file with tifffile.

    Raises:
        UndecodableTiffError: tifffile is not installed.
        DataError: The file cannot be read. The message names it.
    """
    try:
        from tifffile import TiffFile
    except ModuleNotFoundError:
        raise UndecodableTiffError(
            f"{path}: reading it in parts needs tifffile; pip install 'pixelwise[tiff]'"
        ) from None
    try:
        tiff = TiffFile(path)
        if not len(tiff.pages):
            raise ValueError("it has no pages")
        return tiff
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # tifffile raises many exception types for broken files
        raise DataError(f"{path}: cannot be read as a TIFF ({first_line(error)}); replace or remove it") from None


def is_tiff(path: Path) -> bool:
    """Return True if a file begins like a TIFF file. Raises OSError."""
    with path.open("rb") as file:
        return file.read(4).startswith(TIFF_SIGNATURES)


def segment_rows(page: "TiffPage") -> int:
    """Return the number of rows of a tile or a strip."""
    return int(page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength))


def is_plain(page: "TiffPage") -> bool:
    """Return True if the pixels are stored without compression, one row after the other."""
    return bool(page.is_final) and not (page.is_tiled and page.tilewidth != page.imagewidth)


def _colors(page: "TiffPage") -> npt.NDArray[np.uint8]:
    """Return the palette of a page, (256, 3)."""
    assert page.colormap is not None, "`_fault` has checked it"
    return np.ascontiguousarray(page.colormap.T >> 8).astype(np.uint8)


def _fault(tiff: "TiffFile", page: "TiffPage") -> str | None:
    """Return why a TIFF cannot be read in parts, or None if it can."""
    if tiff.series[0].ndim > 3 or len(tiff.series[0].pages) > 1:
        return "several pages"
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample < 8:
        return "its pixels are not integers or floats of 8 to 64 bits"
    is_color = page.photometric in (_GRAY, _RGB) or (page.photometric == _YCBCR and page.compression == _JPEG)
    if page.photometric == _PALETTE and page.colormap is not None:
        is_color = page.dtype == np.uint8 and page.colormap.shape == (3, 256) and page.samplesperpixel == 1
    if not is_color:
        return "its colors are neither gray nor RGB"
    if page.tags.valueof(_ORIENTATION_TAG, default=1) != 1:
        return "it is rotated"
    size = segment_rows(page) * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    if size > _MAX_SEGMENT_BYTES and not is_plain(page):
        return "its tiles or strips are too large"
    return None


def _missing_codec(page: "TiffPage") -> str | None:
    """Return why the compression of a page cannot be decoded, or None if it can."""
    from tifffile import TIFF

    try:
        _ = None if page.compression == 1 else TIFF.DECOMPRESSORS[page.compression]
        _ = None if page.predictor == 1 else TIFF.UNPREDICTORS[page.predictor]
    except (KeyError, ImportError):
        return f"the compression {getattr(page.compression, 'name', page.compression)} needs imagecodecs"
    return None
