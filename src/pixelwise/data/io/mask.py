"""Reading of masks as class indices."""

from functools import lru_cache

import numpy as np

from pixelwise.data.io.exif import exif_orientation, rotate_upright, stored_size
from pixelwise.data.io.image import read_with_size
from pixelwise.data.io.mask_values import mask_values, open_mask
from pixelwise.data.io.rasterize import rasterize
from pixelwise.data.schema import (
    BytesSource,
    LabelMap,
    MaskSource,
    MergedMask,
    MultilabelMask,
    PolygonMask,
    ReadSpec,
    Record,
)
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX, unpack_rgb


def read_image_and_mask(
    record: Record, read_spec: ReadSpec, min_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the image and the mask of a record.

    Args:
        record: a record with a mask.
        read_spec: the parameters with which the data set's files are read. Those of the record have priority.
        min_size: see `read_image`. The mask is not reduced.

    Returns:
        The image, (H, W, channels) uint8, and the mask, see `read_mask`. The mask has 255 at the image's nodata pixels.

    Raises:
        DataError: The record has no mask, a file cannot be read, or image and mask differ in size. The message names
            the file.
    """
    if record.mask is None:
        raise DataError(f"{record.image}: has no mask; add one or remove the image from the list")
    read_spec = record.read_spec or read_spec
    scale = read_spec.scale
    # The mask is ignored at the image's nodata pixels, so the image must not be reduced.
    image, size = read_with_size(record.image, read_spec.channels, scale, None if scale.band_ranges else min_size)
    mask = read_mask(record.mask, read_spec.label_map, drawing_size(record, size))
    if read_spec.masks_as_stored or mask.shape[-2:] == (size[1], size[0]) != size:
        mask = _rotate_with_image(record, mask, size)
    if mask.shape[-2:] != size:
        raise DataError(
            f"{record.image}: image is {size[1]}x{size[0]} but its mask {record.mask} "
            f"is {mask.shape[-1]}x{mask.shape[-2]}; they must have the same size"
        )
    missing = scale.missing(image)
    if missing is not None:
        mask = mask.copy()
        mask[..., missing] = IGNORE_INDEX
    return image, mask


def _rotate_with_image(record: Record, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Rotate a mask by the image's EXIF orientation if it has the size of the stored pixels.

    Return other masks unchanged.
    """
    orientation = exif_orientation(record.image)
    return rotate_upright(mask, orientation) if mask.shape[-2:] == stored_size(orientation, size) else mask


def stated_size(mask: MaskSource | None) -> tuple[int, int] | None:
    """Return the (height, width) in pixels that the run lengths of a mask state for its image.

    Return None if the mask has no run lengths in COCO's format.
    """
    annotations = mask.annotations if isinstance(mask, PolygonMask) else ()
    sizes = (annotation.rle["size"] for annotation in annotations if annotation.rle is not None)
    return next(((int(height), int(width)) for height, width in sizes), None)


def drawing_size(record: Record, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) in pixels at which the annotations of a record are drawn.

    Args:
        record: a record.
        size: (height, width) of the upright image in pixels.

    Returns:
        The size of the image's stored pixels if it differs from `size` and the run lengths state it. Else `size`.
    """
    is_exchanged = stated_size(record.mask) == (size[1], size[0]) != size
    return (size[1], size[0]) if is_exchanged and exif_orientation(record.image) >= 5 else size


def read_mask(mask: MaskSource, label_map: LabelMap, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask.

    Args:
        mask: a mask file, several files to unite, annotations to draw, or one file per class.
        label_map: the mapping from values in the files to classes.
        size: (height, width) of the image in pixels. It is needed only to draw annotations, and for a multi-label mask
            without any file.

    Returns:
        (H, W) uint8 class indices 0..C-1, with 255 for "ignore". `partial_labels` defines further values, for masks of
        data sets that are joined. A multi-label mask is (C, H, W) uint8: 0 absent, 1 present, 255 for "ignore".

    Raises:
        DataError: A file cannot be read, or it has a value that `label_map` does not contain. The message names the
            file. Or `size` is needed and None.
    """
    if isinstance(mask, PolygonMask):
        if size is None:
            raise DataError(f"{mask}: the size of the image is needed to draw its polygons")
        return rasterize(mask, size)
    if isinstance(mask, MultilabelMask):
        return _read_channels(mask, label_map, size)
    return _read_values(mask, label_map)


def _read_channels(mask: MultilabelMask, label_map: LabelMap, size: tuple[int, int] | None) -> np.ndarray:
    channels = [None if source is None else _read_values(source, label_map) for source in mask.channels]
    size = next((channel.shape for channel in channels if channel is not None), size)
    if size is None:
        raise DataError("the size of the image is needed for a multi-label mask without files")
    if any(channel is not None and channel.shape != size for channel in channels):
        raise DataError(f"{mask}: the masks of one image must have the same size")
    empty = [IGNORE_INDEX if index in mask.unknown else 0 for index in range(len(channels))]
    return np.stack(
        [
            np.full(size, value, np.uint8) if channel is None else channel
            for value, channel in zip(empty, channels, strict=True)
        ]
    )


def _read_values(source: BytesSource | MergedMask, label_map: LabelMap) -> np.ndarray:
    return known_classes(open_mask(source, lambda image: mask_values(image, label_map.kind)), label_map, source)


def known_classes(values: np.ndarray, label_map: LabelMap, source: BytesSource | MergedMask) -> np.ndarray:
    """Map mask values to class indices.

    Args:
        values: an array of mask values of any shape, see `mask_values`.
        label_map: the mapping from values to classes.
        source: the file of the values, for the message.

    Returns:
        uint8 of the same shape: 0..C-1, and 255 for "ignore".

    Raises:
        DataError: `label_map` does not contain a value.
    """
    mask = _lookup_of(label_map)(values)
    if mask.dtype != np.uint8 and (mask < 0).any():
        unknown = np.unique(values[mask < 0])
        more = " …" if len(unknown) > 5 else ""
        shown = ", ".join(format_value(int(value), label_map.kind) for value in unknown[:5]) + more
        known = ", ".join(format_value(value, label_map.kind) for value in label_map.value_to_class)
        raise DataError(f"{source}: mask value {shown} is outside the classes; expected only {known}")
    return mask.astype(np.uint8, copy=False)


def format_value(value: int, kind: str) -> str:
    """Return a mask value as text: 7, or #ff0000 for a color.

    Args:
        value: a mask value, see `mask_values`.
        kind: see `LabelMap.kind`.
    """
    return f"#{value:06x}" if kind == "rgb" else str(value)


def values_to_classes(values: np.ndarray, label_map: LabelMap) -> np.ndarray:
    """Map mask values to class indices.

    Args:
        values: an array of mask values of any shape, see `mask_values`.
        label_map: the mapping from values to classes.

    Returns:
        int16 of the same shape: 0..C-1, 255 for "ignore", −1 for a value that `label_map` does not contain.

    >>> values_to_classes(np.array([0, 7, 9]), LabelMap("index", {0: 0, 7: 1})).tolist()
    [0, 1, -1]
    """
    return _lookup_of(label_map)(values).astype(np.int16)


def _lookup_of(label_map: LabelMap) -> "_LookupTable | _NearestColor":
    pairs = tuple(sorted(label_map.value_to_class.items()))
    return _lookup(label_map.kind, pairs, label_map.tolerance, label_map.other_class)


@lru_cache(maxsize=8)
def _lookup(
    kind: str, value_to_class: tuple[tuple[int, int], ...], tolerance: int, other_class: int | None
) -> "_LookupTable | _NearestColor":
    if kind == "rgb" and tolerance:
        return _NearestColor(value_to_class, tolerance)
    return _LookupTable(value_to_class, 1 << 24 if kind == "rgb" else 1 << 16, tolerance, other_class)


class _LookupTable:
    """Maps values to class indices with a table of all possible values. The index of unknown values is −1."""

    def __init__(
        self, value_to_class: tuple[tuple[int, int], ...], size: int, tolerance: int, other_class: int | None
    ) -> None:
        keys, classes = (np.array(column, np.int64) for column in zip(*value_to_class, strict=True))
        self.table = np.full(size, -1 if other_class is None else other_class, np.int16)
        if tolerance:
            values = np.arange(size)
            nearest = np.searchsorted((keys[1:] + keys[:-1]) / 2, values)
            self.table[:] = np.where(np.abs(keys[nearest] - values) <= tolerance, classes[nearest], -1)
        else:
            self.table[keys] = classes
        self._prepare_8_bit_paths()

    def _prepare_8_bit_paths(self) -> None:
        """Prepare two faster ways to map 8-bit masks. They take a twentieth of the time of indexing the table."""
        table = self.table[:256]
        known = np.flatnonzero(table >= 0)
        shifts = np.unique((table[known] - known) % 256)
        # Most label maps add one number, modulo 256, to consecutive values. Two examples are 1, 2, 3 → 0, 1, 2 and
        # 255, 0, 1, 2 → 255, 0, 1, 2.
        first = known[~np.isin((known - 1) % 256, known)]
        is_shift = len(shifts) == len(first) == 1
        self.shift = (np.uint8(first[0]), np.uint8(shifts[0]), len(known)) if is_shift else None
        # Other label maps use bytes.translate, with an index that no class has for unknown values.
        unused = sorted(set(range(256)) - set(table.tolist()))
        self.unknown = unused[0] if unused else None
        self.translation = np.where(table < 0, self.unknown or 0, table).astype(np.uint8).tobytes()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return class indices: uint8 if a fast way applies and all values are known, else int16."""
        if values.dtype == np.uint8 and values.size:
            if self.shift is not None:
                first, shift, count = self.shift
                if (values - first).max() < count:
                    return values + shift
            elif self.unknown is not None:
                mapped = bytearray(values.tobytes()).translate(self.translation)
                if self.unknown not in mapped:
                    return np.frombuffer(mapped, np.uint8).reshape(values.shape)
        return self.table[values]


class _NearestColor:
    """Maps colors to the class of the nearest color. The distance is the largest difference over the channels."""

    def __init__(self, value_to_class: tuple[tuple[int, int], ...], tolerance: int) -> None:
        colors, classes = zip(*value_to_class, strict=True)
        self.colors, self.classes, self.tolerance = unpack_rgb(colors), np.array(classes), tolerance

    def __call__(self, values: np.ndarray) -> np.ndarray:
        unique, inverse = np.unique(values, return_inverse=True)
        distances = np.abs(unpack_rgb(unique)[:, None] - self.colors).max(2)
        nearest = distances.argmin(1)
        known = distances[np.arange(len(unique)), nearest] <= self.tolerance
        return np.where(known, self.classes[nearest], -1).astype(np.int16)[inverse].reshape(values.shape)
