"""Mask files of large and of georeferenced images: tiled BigTIFF files with the tags of the image."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.io.image_windows import open_windows
from pixelwise.data.mask_format import MaskFormat, encode_mask
from pixelwise.errors import DataError
from pixelwise.runtime.threads import available_cpus

if TYPE_CHECKING:
    from tifffile import TiffPage

    from pixelwise.inference.large_mask import MaskFile  # imports torch

TILE = 512
"""Side of the tiles of mask files in pixels."""

_MARK_TAG = 65000
"""The TIFF tag of the mark, see `Mark`. Tags from 65000 on are for private use."""

_GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""The tags of GeoTIFF: ModelPixelScale, ModelTiepoint, ModelTransformation, and the three tags of keys."""

_TEXTS = (269, 271, 272, 306, 315, 316, 33432)
"""Tags with a text about the image: DocumentName, Make, Model, DateTime, Artist, HostComputer and Copyright."""

_RESOLUTION_UNIT, _X_RESOLUTION, _Y_RESOLUTION = 296, 282, 283


def write_mask_tiff(
    path: Path, mask: "MaskFile", channel: int, mask_format: MaskFormat | None, page: "TiffPage", mark: str
) -> None:
    """Write one channel of a mask as a tiled BigTIFF file, tile by tile.

    Args:
        path: the file.
        mask: the mask.
        channel: the channel.
        mask_format: the mode and the values of the file. None for class indices.
        page: the page of the image, whose resolution, texts and georeference are copied.
        mark: the text to store in the tag 65000.

    Raises:
        OSError: The file cannot be written.
    """
    encode = _encoder(mask_format)
    example = encode(np.zeros((1, 1), np.uint8))
    options: dict[str, Any] = {"photometric": "rgb" if example.shape[2:] == (3,) else "minisblack"}
    if mask_format is not None and mask_format.mode == "P":
        options = {"photometric": "palette", "colormap": _color_map(mask_format)}
    elif example.shape[2:] == (2,):
        options["extrasamples"] = ["unassalpha"]
    bands = (encode(band) for band in mask.bands(channel, TILE))
    write_tiff(path, bands, (*mask.shape[-2:], *example.shape[2:]), page, mark, dtype=example.dtype, **options)


def write_tiff(
    path: Path,
    bands: Iterable[npt.NDArray[Any]],
    shape: tuple[int, ...],
    page: "TiffPage | None",
    mark: str,
    **options: Any,
) -> None:
    """Write a tiled BigTIFF file, tile by tile.

    Args:
        path: the file.
        bands: the rows from top to bottom, `TILE` at a time: (rows, W) or (rows, W, samples). For a shape of
            (planes, H, W), those of each plane.
        shape: the shape of all pixels.
        page: the page of the image, whose resolution, texts and georeference are copied. None for no tags.
        mark: the text to store in the tag 65000.
        options: the dtype, and other arguments of `tifffile.TiffWriter.write`.

    Raises:
        OSError: The file cannot be written.
    """
    from tifffile import TiffWriter

    tiles = (band[:, left : left + TILE] for band in bands for left in range(0, band.shape[1], TILE))
    with TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            tiles,
            shape=shape,
            tile=(TILE, TILE),
            compression="zlib",
            metadata=None,
            software="pixelwise",
            maxworkers=available_cpus(),
            extratags=[*_copied_tags(page), (_MARK_TAG, "s", 0, mark, True)],
            **_description(page),
            **_resolution(page),
            **options,
        )


def write_imagej_tiff(
    path: Path,
    bands: Iterable[npt.NDArray[Any]],
    shape: tuple[int, ...],
    page: "TiffPage | None",
    mark: str,
    info: str,
) -> None:
    """Write labels as an uncompressed TIFF file with the metadata of ImageJ, which reads no tiles.

    Args:
        path: the file. It has less than 4 GiB.
        bands: the rows from top to bottom, uint16, see `write_tiff`.
        shape: (H, W), or (channels, H, W).
        page: see `write_tiff`. Its description is not copied, because that of ImageJ takes its place.
        mark: see `write_tiff`.
        info: the text of "Show Info" in ImageJ.

    Raises:
        OSError: The file cannot be written.
    """
    from tifffile import TiffWriter

    with TiffWriter(path, imagej=True) as writer:
        writer.write(
            iter(bands),
            shape=shape,
            dtype=np.uint16,
            photometric="minisblack",
            rowsperstrip=TILE,
            metadata={"axes": "CYX"[-len(shape) :], "Info": info},
            software="pixelwise",
            extratags=[*_copied_tags(page), (_MARK_TAG, "s", 0, mark, True)],
            **_resolution(page),
        )


def has_georeference(path: Path) -> bool:
    """Return True if an image file that `open_windows` can open has a georeference."""
    with suppress(DataError, OSError), open_windows(path) as windows:
        return windows.page is not None and page_has_georeference(windows.page)
    return False


def page_has_georeference(page: "TiffPage") -> bool:
    """Return True if the page of an image has a tag of GeoTIFF."""
    return any(code in page.tags for code in _GEOREFERENCE)


def read_tiff_mark(path: Path) -> str | None:
    """Return the text in the tag 65000 of a TIFF file, or None if it has none.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no TIFF file, or tifffile is not installed.
    """
    try:
        from tifffile import TiffFile, TiffFileError
    except ModuleNotFoundError:
        raise ValueError("tifffile is not installed") from None
    try:
        with TiffFile(path) as tiff:
            value = tiff.pages.first.tags.valueof(_MARK_TAG)
    except TiffFileError as error:
        raise ValueError(str(error)) from None
    return value if isinstance(value, str) else None


def _encoder(mask_format: MaskFormat | None) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]:
    """Return a function that converts class indices to the pixels of the file."""
    if mask_format is None:
        return lambda tile: tile

    def encode(tile: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        pixels = np.asarray(encode_mask(tile, mask_format))
        return pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels

    return encode


def _color_map(mask_format: MaskFormat) -> npt.NDArray[np.uint16]:
    """Return the palette of a file, (3, 256) uint16."""
    colors = np.zeros((256, 3), np.uint16)
    colors[list(mask_format.values)] = np.array(mask_format.colors, np.uint16) * 257
    return np.ascontiguousarray(colors.T)


def _copied_tags(page: "TiffPage | None") -> list[tuple[int, int, int, Any, bool]]:
    """Return the georeference and the texts of an image as arguments of tifffile."""
    if page is None:
        return []
    return [
        (tag.code, int(tag.dtype), tag.count, tag.value, True)
        for code in (*_GEOREFERENCE, *_TEXTS)
        if (tag := page.tags.get(code)) is not None
    ]


def _description(page: "TiffPage | None") -> dict[str, Any]:
    """Return the description of an image as an argument of tifffile, unless it describes the shape and the channels."""
    if page is None:
        return {}
    is_structure = page.is_shaped or page.is_ome or page.is_imagej
    return {} if is_structure or not page.description else {"description": page.description}


def _resolution(page: "TiffPage | None") -> dict[str, Any]:
    if page is None:
        return {}
    across, down = page.tags.valueof(_X_RESOLUTION), page.tags.valueof(_Y_RESOLUTION)
    if across is None or down is None:
        return {}
    return {"resolution": (across, down), "resolutionunit": int(page.tags.valueof(_RESOLUTION_UNIT, default=2))}
