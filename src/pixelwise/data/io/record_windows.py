"""Windows of the image and the mask of a record, read from their files without decoding them as a whole."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.io.image_windows import WINDOW_SUFFIXES, ImageWindows, open_windows
from pixelwise.data.io.mask import drawing_size, known_classes, read_mask
from pixelwise.data.io.mask_values import mask_values
from pixelwise.data.io.rgb import to_rgb
from pixelwise.data.schema import LabelMap, MaskSource, MultilabelMask, ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX

Bytes = npt.NDArray[np.uint8]

_MIN_BLOCKS = 4
"""Minimum size of an image whose windows are read, in tiles or strips. Windows of less decode most of the image."""

_WIDER_TYPES = {"int8": np.int32, "int16": np.int32, "uint32": np.int32, "float64": np.float32}
"""Types of masks that Pillow reads as wider or narrower ones."""


class RecordWindows:
    """Windows of the image and the mask of a record. They are equal to those parts of `read_image_and_mask`.

    A mask in files that cannot be read by windows, or that is drawn from annotations, is decoded as a whole and kept.

    Args:
        record: the record.
        read_spec: the parameters with which the data set's files are read. Those of the record have priority.
        image: the open image, see `open_image_windows`.
        keeps_tiles: see `open_windows`, for the files of the mask.

    Attributes:
        size: height and width of the image in pixels.
        nbytes: size in bytes of the pixels that are kept.
        block_rows: number of rows of the mask that are decoded at once.

    Raises:
        DataError: The record has no mask, or image and mask differ in size.
    """

    def __init__(self, record: Record, read_spec: ReadSpec, image: ImageWindows, keeps_tiles: bool = False) -> None:
        self._record, self._spec, self._image = record, record.read_spec or read_spec, image
        if record.mask is None:
            raise DataError(f"{record.image}: has no mask; add one or remove the image from the list")
        self.size = (image.height, image.width)
        self._masks = _open_masks(record.mask, keeps_tiles)
        self._whole = (
            None if self._masks else read_mask(record.mask, self._spec.label_map, drawing_size(record, self.size))
        )
        self.nbytes = 0 if self._whole is None else self._whole.nbytes
        self.block_rows = next((mask.block[0] for mask in self._masks if mask is not None), 1)
        sizes = (
            [self._whole.shape[-2:]]
            if self._whole is not None
            else [(mask.height, mask.width) for mask in self._masks if mask is not None]
        )
        for height, width in sizes:
            if (height, width) != self.size:
                raise DataError(
                    f"{record.image}: image is {image.width}x{image.height} but its mask {record.mask} "
                    f"is {width}x{height}; they must have the same size"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in (self._image, *self._masks):
            if file is not None:
                file.close()

    def read(self, rows: range, columns: range) -> tuple[Bytes, Bytes]:
        """Read a window.

        Args:
            rows: consecutive rows inside the image.
            columns: consecutive columns inside the image.

        Returns:
            The image, (rows, columns, channels), and the mask, (rows, columns), or (C, rows, columns) if multi-label.

        Raises:
            DataError: A file is damaged, or its mask has an unknown value. The message names the file.
        """
        image = self.read_image(rows, columns)
        mask = self._read_mask(rows, columns)
        missing = self._spec.scale.missing(image)
        if missing is not None:
            mask = mask.copy()
            mask[..., missing] = IGNORE_INDEX
        return image, mask

    def read_mask(self, rows: range, columns: range) -> Bytes:
        """Read the mask of a window. The image is read only if it can have nodata pixels. See `read`."""
        return self.read(rows, columns)[1] if self._spec.scale.band_ranges else self._read_mask(rows, columns)

    def read_image(self, rows: range, columns: range) -> Bytes:
        """Read the image of a window, see `read`."""
        windows, scale = self._image, self._spec.scale
        pixels = to_colors(windows, windows.read(rows, columns))
        if windows.palette is not None:
            return scale.apply(pixels)
        try:
            return scale.apply(pixels, windows.nodata, windows.masked(rows, columns))
        except DataError as error:
            raise DataError(f"{windows.path}: {error}") from None

    def _read_mask(self, rows: range, columns: range) -> Bytes:
        if self._whole is not None:
            return self._whole[..., rows.start : rows.stop, columns.start : columns.stop]
        assert self._record.mask is not None, "the constructor has checked it"
        channels = [
            None if mask is None else _read_classes(mask, self._spec.label_map, rows, columns) for mask in self._masks
        ]
        if not isinstance(self._record.mask, MultilabelMask):
            assert channels[0] is not None, "a mask of one file"
            return channels[0]
        unknown = self._record.mask.unknown
        return np.stack(
            [
                np.full((len(rows), len(columns)), IGNORE_INDEX if index in unknown else 0, np.uint8)
                if channel is None
                else channel
                for index, channel in enumerate(channels)
            ]
        )


def open_image_windows(record: Record, read_spec: ReadSpec, keeps_tiles: bool = False) -> ImageWindows | None:
    """Open the image of a record to read windows of it.

    Args:
        record: the record.
        read_spec: the parameters with which the data set's files are read. Those of the record have priority.
        keeps_tiles: see `open_windows`.

    Returns:
        The open image. None if it is not a local file that can be read by windows, if its windows would not be those of
        `read_image`, or if it has so few tiles or strips that most of it would be decoded.
    """
    image = _open(record.image, keeps_tiles)
    if image is None:
        return None
    channels = (record.read_spec or read_spec).channels
    if image.palette is not None or _is_blended(image) or image.bands == 1:
        is_readable = channels == 3
    else:
        is_readable = image.bands == channels and channels > 1
    if is_readable:
        return image
    image.close()
    return None


def has_mask_windows(mask: MaskSource | None) -> bool:
    """Return True if a mask is read by windows too, so that nothing of it is kept."""
    masks = [] if mask is None else _open_masks(mask)
    for windows in masks:
        if windows is not None:
            windows.close()
    return bool(masks)


def _open(source: object, keeps_tiles: bool = False) -> ImageWindows | None:
    """Open a file, or return None if its windows cannot be read or are not worth it."""
    if not isinstance(source, Path) or source.suffix.lower() not in WINDOW_SUFFIXES:
        return None
    try:
        windows = open_windows(source, keeps_tiles)
    except (DataError, OSError):
        return None  # decoding the file raises the error
    if windows.block[0] * windows.block[1] * _MIN_BLOCKS <= windows.height * windows.width:
        return windows
    windows.close()
    return None


def _open_masks(mask: MaskSource, keeps_tiles: bool = False) -> list[ImageWindows | None]:
    """Open the files of a mask, one per channel. Return an empty list if one cannot be read by windows."""
    sources = mask.channels if isinstance(mask, MultilabelMask) else (mask,)
    opened = [None if source is None else _open(source, keeps_tiles) for source in sources]
    if all(windows is not None or source is None for windows, source in zip(opened, sources, strict=True)):
        return opened
    for windows in opened:
        if windows is not None:
            windows.close()
    return []


def to_colors(image: ImageWindows, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the pixels of a window as the channels of `read_image`, before their conversion to 8 bits.

    Args:
        image: the file.
        pixels: (rows, columns, bands), the values of the file.

    Returns:
        (rows, columns, channels). Palette indices become colors, a single band is repeated three times, and 8-bit
        colors with opacity are blended with white.
    """
    if image.palette is not None:
        return image.palette[pixels[..., 0]]
    if _is_blended(image):
        return np.array(to_rgb(Image.fromarray(np.ascontiguousarray(pixels))))
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _is_blended(image: ImageWindows) -> bool:
    """Return True for 8-bit colors with opacity, which are blended with white."""
    return image.has_opacity and image.bands in (2, 4) and image.dtype == np.uint8


def _read_classes(mask: ImageWindows, label_map: LabelMap, rows: range, columns: range) -> Bytes:
    """Read the class indices of a window of a mask file."""
    return known_classes(read_mask_values(mask, label_map.kind, rows, columns), label_map, mask.path)


def read_mask_values(mask: ImageWindows, kind: str, rows: range, columns: range) -> npt.NDArray[Any]:
    """Read the values of a window of a mask file, see `mask_values`.

    Args:
        mask: the file.
        kind: the type of value, see `LabelMap.kind`.
        rows: consecutive rows inside the mask.
        columns: consecutive columns inside the mask.

    Raises:
        DataError: The file is damaged, or has no values of this kind. The message names it.
    """
    try:
        return mask_values(to_pillow(mask, mask.read(rows, columns)), kind)
    except DataError as error:
        text = str(error)
        raise error if text.startswith(str(mask.path)) else DataError(f"{mask.path}: {text}") from None


def to_pillow(mask: ImageWindows, pixels: npt.NDArray[Any]) -> Image.Image:
    """Return the pixels of a mask file as the image that Pillow would read from it.

    Args:
        mask: the file.
        pixels: (rows, columns, bands), the values of a window.

    Raises:
        DataError: Pillow has no such pixels. The message does not name the file.
    """
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    pixels = pixels.astype(_WIDER_TYPES.get(pixels.dtype.name, pixels.dtype.newbyteorder("=")))
    try:
        image = Image.fromarray(pixels)
    except TypeError:
        raise DataError(f"a mask must have integers of 8 or 16 bits, or colors; this one has {pixels.dtype}") from None
    if mask.palette is not None:
        image.putpalette(mask.palette.tobytes())
    return image
