"""The rows of images that are too large to decode at once, and their rows at another size."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pixelwise.data.io.tiff import NODATA_TAG, TIFF_SIGNATURES
from pixelwise.data.pixel_scale import parse_nodata
from pixelwise.errors import DataError, first_line
from pixelwise.inference.inputs import from_array
from pixelwise.models.config import ModelConfig
from pixelwise.runtime.threads import available_cpus

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_MAX_SEGMENT_BYTES = 256 << 20
"""Maximum size in bytes of a row of tiles, or of a strip, that is decoded at once."""

_MAX_RESIZED_BYTES = 64 << 20
"""Maximum size in bytes of one channel, as float32, of the rows that are resized at once."""

_GRAY, _RGB, _YCBCR, _JPEG = 1, 2, 6, 7
"""Values of the TIFF tags PhotometricInterpretation and Compression."""

_ORIENTATION_TAG = 274


class ImageRows(Protocol):
    """An image that is read in ranges of rows.

    Attributes:
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    height: int
    width: int

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, converted for the model, (stop - start, width, channels) uint8."""
        ...


class ArrayRows:
    """The rows of an image in memory.

    Args:
        image: (H, W, channels) uint8.
    """

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, see `ImageRows`."""
        return self.image[start:stop]


class TiffRows:
    """The rows of a TIFF file. Only the tiles or strips of these rows are decoded.

    Args:
        path: the file.
        config: the configuration of the model, for the conversion of pixels.

    Attributes:
        page: the page of the image, with its tags.

    Raises:
        DataError: The file cannot be read, or cannot be read by rows. The message names the file.
    """

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self.path, self._config = path, config
        self._tiff = _open(path)
        page = self._tiff.pages.first
        self.page = page
        self.height, self.width = page.imagelength, page.imagewidth
        if (fault := _fault(self._tiff, page)) is not None:
            self.close()
            raise DataError(f"{path}: cannot be read in parts ({fault}); save it as a TIFF with tiles")
        tag = page.tags.get(NODATA_TAG)
        self._nodata = parse_nodata(tag.value) if tag is not None else None
        self._step = _segment_rows(page)
        self._bands: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "TiffRows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, see `ImageRows`.

        Raises:
            DataError: The rows are damaged, or the model cannot use them. The message names the file.
        """
        with self._lock:
            try:
                pixels = self._read_contiguous(start, stop) if self._is_plain else self._read_segments(start, stop)
                return from_array(pixels, self._config, self._nodata)
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from None
            except (MemoryError, OSError):
                raise
            except Exception as error:  # tifffile raises many exception types for broken files and missing codecs
                raise DataError(f"{self.path}: truncated or corrupt ({first_line(error)}); replace it") from None

    @property
    def _is_plain(self) -> bool:
        """True if the pixels are stored without compression, one row after the other."""
        return _is_plain(self.page)

    def _read_contiguous(self, start: int, stop: int) -> np.ndarray:
        page, file = self.page, self._tiff.filehandle
        planes, samples = (page.samplesperpixel, 1) if page.planarconfig == 2 else (1, page.samplesperpixel)
        assert page.dtype is not None, "`_fault` has checked it"
        dtype = np.dtype(self._tiff.byteorder + page.dtype.char)
        row = self.width * samples * dtype.itemsize
        bands = []
        for plane in range(planes):
            file.seek(page.dataoffsets[0] + (plane * self.height + start) * row)
            content = file.read((stop - start) * row)
            bands.append(np.frombuffer(content, dtype).reshape(stop - start, self.width, samples))
        return np.concatenate(bands, 2) if planes > 1 else bands[0]

    def _read_segments(self, start: int, stop: int) -> np.ndarray:
        numbers = range(start // self._step, -(-stop // self._step))
        # Successive ranges of rows overlap, so the tiles of the last range are kept.
        kept = {number: self._bands[number] for number in numbers if number in self._bands}
        self._bands = kept | {number: self._decode(number) for number in numbers if number not in kept}
        pixels = np.concatenate([self._bands[number] for number in numbers])
        first = numbers.start * self._step
        return pixels[start - first : stop - first]

    def _decode(self, number: int) -> np.ndarray:
        """Return a row of tiles, or a strip, as (rows, width, samples)."""
        page = self.page
        across = -(-self.width // page.tilewidth) if page.is_tiled else 1
        down, planes = -(-self.height // self._step), page.samplesperpixel if page.planarconfig == 2 else 1
        top = number * self._step
        rows = min(self._step, self.height - top)
        pixels = np.full((rows, self.width, page.samplesperpixel), page.nodata, page.dtype)
        options: dict[str, Any] = {}
        if page.compression == _JPEG:
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        file = self._tiff.filehandle
        segments = []
        for plane in range(planes):
            for column in range(across):
                index = (plane * down + number) * across + column
                if size := page.databytecounts[index]:  # a segment without bytes has the fill value
                    file.seek(page.dataoffsets[index])
                    segments.append((file.read(size), index))

        def place(segment: tuple[bytes, int]) -> None:
            data, (plane, _, _, left, _), _ = page.decode(*segment, **options)
            if data is not None:
                part = data[0, :rows, : self.width - left]
                pixels[: len(part), left : left + part.shape[1], plane : plane + part.shape[2]] = part

        if len(segments) == 1:
            place(segments[0])
        else:
            with ThreadPoolExecutor(available_cpus()) as pool:
                list(pool.map(place, segments))
        return pixels


def _open(path: Path) -> "TiffFile":
    """Open a TIFF file. Raises DataError."""
    try:
        from tifffile import TiffFile
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading it in parts needs tifffile; pip install 'pixelwise[tiff]'") from None
    try:
        tiff = TiffFile(path)
        if not len(tiff.pages):
            raise ValueError("it has no pages")
        return tiff
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # tifffile raises many exception types for broken files
        raise DataError(f"{path}: cannot be read as a TIFF ({first_line(error)}); replace or remove it") from None


def _segment_rows(page: "TiffPage") -> int:
    """Return the number of rows of a tile or a strip."""
    return int(page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength))


def _is_plain(page: "TiffPage") -> bool:
    return bool(page.is_final) and not (page.is_tiled and page.tilewidth != page.imagewidth)


def _fault(tiff: "TiffFile", page: "TiffPage") -> str | None:
    """Return why a TIFF cannot be read in parts, or None if it can."""
    if tiff.series[0].ndim > 3 or len(tiff.series[0].pages) > 1:
        return "several pages"
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample < 8:
        return "its pixels are not integers or floats of 8 to 64 bits"
    if not (page.photometric in (_GRAY, _RGB) or (page.photometric == _YCBCR and page.compression == _JPEG)):
        return "its colors are neither gray nor RGB"
    if page.tags.valueof(_ORIENTATION_TAG, default=1) != 1:
        return "it is rotated"
    size = _segment_rows(page) * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    if size > _MAX_SEGMENT_BYTES and not _is_plain(page):
        return "its tiles or strips are too large"
    return None


def tiff_size(path: Path) -> tuple[int, int] | None:
    """Return the height and width of a local TIFF file in pixels, or None if it is no TIFF or tifffile is missing."""
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(TIFF_SIGNATURES):
                return None
        with _open(path) as tiff:
            return tiff.pages.first.imagelength, tiff.pages.first.imagewidth
    except (OSError, DataError):
        return None  # reading it raises the error


def is_readable_by_rows(path: Path) -> bool:
    """Return True if `TiffRows` can read a file."""
    try:
        with _open(path) as tiff:
            return _fault(tiff, tiff.pages.first) is None
    except DataError:
        return False


class ScaledRows:
    """The rows of an image at another size, like those of `resize_image` up to rounding.

    Args:
        image: the image.
        size: height and width in pixels to which it is resized.
    """

    def __init__(self, image: ImageRows, size: tuple[int, int]) -> None:
        self.image, (self.height, self.width) = image, size

    def read(self, start: int, stop: int) -> Tensor:
        """Return the rows from start to stop, (channels, stop - start, width) uint8."""
        if (self.image.height, self.image.width) == (self.height, self.width):
            return torch.from_numpy(self.image.read(start, stop)).permute(2, 0, 1)
        first, weights = antialias_weights(self.image.height, self.height, start, stop)
        step = max(1, _MAX_RESIZED_BYTES // (max(self.image.width, self.width) * 4))
        total: Tensor | None = None
        for offset in range(0, weights.shape[1], step):
            part = weights[:, offset : offset + step]
            pixels = torch.from_numpy(self.image.read(first + offset, first + offset + part.shape[1])).permute(2, 0, 1)
            resized = F.resize_image(
                pixels, [part.shape[1], self.width], InterpolationMode.BILINEAR, antialias=True
            ).float()
            product = torch.matmul(part, resized)
            total = product if total is None else total.add_(product)
        assert total is not None, "there is at least one row"
        return total.round_().clamp_(0, 255).to(torch.uint8)


def antialias_weights(old: int, new: int, start: int, stop: int) -> tuple[int, Tensor]:
    """Return the weights of old values in new values, for linear interpolation with antialiasing as in torch.

    Args:
        old: number of old values.
        new: number of new values.
        start: the first new value.
        stop: the new value after the last one.

    Returns:
        The first old value that is needed, and (stop - start, old values that are needed) float32. Each row sums to 1.
    """
    scale = old / new
    support = max(scale, 1.0)
    center = (torch.arange(start, stop, dtype=torch.float64) + 0.5) * scale
    first = int(max(0.0, float(center[0]) - support + 0.5))
    last = int(min(float(old), float(center[-1]) + support + 0.5))
    position = torch.arange(first, max(last, first + 1), dtype=torch.float64) + 0.5
    weights = (1 - (position - center[:, None]).abs() / support).clamp(min=0)
    return first, (weights / weights.sum(1, keepdim=True)).float()
