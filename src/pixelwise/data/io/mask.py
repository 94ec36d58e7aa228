"""The one place where what is on disk becomes class indices."""

from functools import lru_cache

import numpy as np
from PIL import Image

from pixelwise.data.io.image import apply_exif_orientation, open_image, read_with_size
from pixelwise.data.schema import (
    Annotation,
    BytesSource,
    LabelMap,
    MaskSource,
    MultilabelMask,
    PolygonMask,
    ReadSpec,
    Record,
)
from pixelwise.errors import DataError


def read_image_and_mask(
    record: Record, reading: ReadSpec, smallest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's image (HWC uint8) and mask (see `read_mask`); both must be there and of one size.

    `smallest`: see `read_image`; where it is given, the mask keeps its own size.
    """
    if record.mask is None:
        raise DataError(f"{record.image}: has no mask; add one or take the image out of the list")
    image, size = read_with_size(record.image, reading.channels, reading.bit_depth, smallest)
    mask = read_mask(record.mask, reading.label_map, size)
    if mask.shape[-2:] != size:
        raise DataError(
            f"{record.image}: image is {size[1]}x{size[0]} but its mask {record.mask} "
            f"is {mask.shape[-1]}x{mask.shape[-2]}; they must be of one size"
        )
    return image, mask


def read_mask(mask: MaskSource, encoding: LabelMap, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask as HW uint8 class indices 0..C-1, with 255 for "ignore".

    A multi-label mask comes as (C, H, W) uint8: 0 absent, 1 present, 255 for "ignore". A value that `encoding` does
    not name raises DataError, which says where; so does a file that cannot be read.

    Args:
        mask: an image, shapes, or layers.
        encoding: what the values in images mean.
        size: (height, width) of the image; shapes are drawn so large, and images do without it.
    """
    if isinstance(mask, PolygonMask):
        if size is None:
            raise DataError(f"{mask}: shapes need the size of their image")
        return rasterize(mask, size)
    if isinstance(mask, MultilabelMask):
        layers = [None if each is None else _read_values(each, encoding) for each in mask.channels]
        size = next((each.shape for each in layers if each is not None), size)
        if size is None:
            raise DataError("a multi-label mask without any image needs the size of its image")
        if any(each is not None and each.shape != size for each in layers):
            raise DataError(f"{mask}: the masks of one image must be of one size")
        return np.stack([np.zeros(size, np.uint8) if each is None else each for each in layers])
    return _read_values(mask, encoding)


def _read_values(source: BytesSource, encoding: LabelMap) -> np.ndarray:
    values = open_image(source, lambda image: mask_values(image, encoding.kind))
    mask = _lookup(encoding.kind, tuple(sorted(encoding.value_to_class.items())), encoding.tolerance)(values)
    if mask.dtype != np.uint8 and (mask < 0).any():
        bad = np.unique(values[mask < 0])
        shown = ", ".join(format_value(int(value), encoding.kind) for value in bad[:5]) + (" …" if len(bad) > 5 else "")
        known = ", ".join(format_value(value, encoding.kind) for value in encoding.value_to_class)
        raise DataError(f"{source}: mask value {shown} is outside the classes; expected only {known}")
    return mask.astype(np.uint8, copy=False)


def format_value(value: int, kind: str) -> str:
    """A value as people write it: 7, or #ff0000 where it is a color."""
    return f"#{value:06x}" if kind == "rgb" else str(value)


def mask_values(image: Image.Image, kind: str) -> np.ndarray:
    """The value of every pixel of a mask image, upright: (H, W) uint8, uint16, or uint32 for "rgb".

    See `LabelMap`. Raises DataError for an image that has no values of that kind.
    """
    image = apply_exif_orientation(image)
    if kind == "alpha":
        if "A" not in image.getbands():
            raise DataError(f"a mask is in the opacity here, but this one has none (mode {image.mode})")
        return np.array(image.getchannel("A"))
    if kind == "rgb":
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.uint32), 2, 0)
        return red << 16 | green << 8 | blue
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    if image.mode in ("L", "P") or image.mode.startswith("I;16"):
        return np.array(image)
    if image.mode == "LA":
        return np.array(image.getchannel("L"))
    if image.mode in ("RGB", "RGBA"):
        red, green, blue = (np.asarray(image.getchannel(band)) for band in "RGB")
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            raise DataError("masks are gray here, but this one has colors")
        return red
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)
    raise DataError(f"a mask must hold whole numbers in 8 or 16 bits, or colors; this one is of mode {image.mode}")


def values_to_classes(values: np.ndarray, encoding: LabelMap) -> np.ndarray:
    """Class indices of values of any shape, int16: 0..C-1, 255 for "ignore", −1 for a value that is not named.

    >>> values_to_classes(np.array([0, 7, 9]), LabelMap("index", {0: 0, 7: 1})).tolist()
    [0, 1, -1]
    """
    lookup = _lookup(encoding.kind, tuple(sorted(encoding.value_to_class.items())), encoding.tolerance)
    return lookup(values).astype(np.int16)


@lru_cache(maxsize=8)
def _lookup(kind: str, mapping: tuple[tuple[int, int], ...], tolerance: int) -> "_Table | _Nearest":
    if kind == "rgb" and tolerance:
        return _Nearest(mapping, tolerance)
    return _Table(mapping, 1 << 24 if kind == "rgb" else 1 << 16, tolerance)


class _Table:
    """Values → class indices by a table of every value there can be; −1 for a value that is not mapped."""

    def __init__(self, mapping: tuple[tuple[int, int], ...], size: int, tolerance: int) -> None:
        keys, classes = (np.array(column, np.int64) for column in zip(*mapping, strict=True))
        self.table = np.full(size, -1, np.int16)
        if tolerance:
            values = np.arange(size)
            near = np.searchsorted((keys[1:] + keys[:-1]) / 2, values)
            self.table[:] = np.where(np.abs(keys[near] - values) <= tolerance, classes[near], -1)
        else:
            self.table[keys] = classes
        self._prepare_bytes()

    def _prepare_bytes(self) -> None:
        """What masks of 8 bits are mapped by, in a twentieth of a table's time."""
        small = self.table[:256]
        known = np.flatnonzero(small >= 0)
        shifts = np.unique((small[known] - known) % 256)
        # Most mappings are one shift, of values without a gap: 1, 2, 3 → 0, 1, 2; or 255, 0, 1, 2 as they are.
        first = known[~np.isin((known - 1) % 256, known)]
        self.run = (np.uint8(first[0]), np.uint8(shifts[0]), len(known)) if len(shifts) == len(first) == 1 else None
        # For all others Python's own table; what is not mapped becomes a value that no class has.
        unused = sorted(set(range(256)) - set(small.tolist()))
        self.unknown = unused[0] if unused else None
        self.small = np.where(small < 0, self.unknown or 0, small).astype(np.uint8).tobytes()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """uint8 where every value is mapped, as far as that is seen at once; else int16."""
        if values.dtype == np.uint8 and values.size:
            if self.run is not None:
                first, shift, count = self.run
                if (values - first).max() < count:
                    return values + shift
            elif self.unknown is not None:
                mapped = bytearray(values.tobytes()).translate(self.small)
                if self.unknown not in mapped:
                    return np.frombuffer(mapped, np.uint8).reshape(values.shape)
        return self.table[values]


class _Nearest:
    """Colors → class indices of the nearest color, in the channel where they differ most."""

    def __init__(self, mapping: tuple[tuple[int, int], ...], tolerance: int) -> None:
        colors, classes = zip(*mapping, strict=True)
        self.colors, self.classes, self.tolerance = _channels(np.array(colors)), np.array(classes), tolerance

    def __call__(self, values: np.ndarray) -> np.ndarray:
        found, inverse = np.unique(values, return_inverse=True)
        apart = np.abs(_channels(found)[:, None] - self.colors).max(2)
        nearest = apart.argmin(1)
        known = apart[np.arange(len(found)), nearest] <= self.tolerance
        return np.where(known, self.classes[nearest], -1).astype(np.int16)[inverse].reshape(values.shape)


def _channels(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255], axis=1).astype(np.int16)


def rasterize(mask: PolygonMask, size: tuple[int, int]) -> np.ndarray:
    """Draw shapes as a mask of (height, width): HW uint8 class indices, by the rules of COCO's own tools."""
    drawn = np.full(size, mask.background, np.uint8)
    for shape in mask.annotations:
        drawn[_inside(shape, size, mask.name)] = shape.label
    return drawn


def _inside(shape: Annotation, size: tuple[int, int], name: str) -> np.ndarray:
    """The pixels of a shape: HW bool."""
    from pycocotools import mask as coco

    if shape.rle is not None:
        height, width = shape.rle["size"]
        if (height, width) != size:
            raise DataError(f"{name}: drawn on an image of {width}x{height}, but the image is {size[1]}x{size[0]}")
        return coco.decode(shape.rle).astype(bool)
    scale = (size[1], size[0]) if shape.relative else (1, 1)
    polygons = [(polygon * scale).ravel().tolist() for polygon in shape.polygons]
    return coco.decode(coco.merge(coco.frPyObjects(polygons, *size))).astype(bool)
