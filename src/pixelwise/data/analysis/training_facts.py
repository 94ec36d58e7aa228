"""Properties of the training masks that prediction uses: their file format, and the typical size of objects."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest

import numpy as np
from PIL import Image

from pixelwise.data.analysis.regions import object_sizes
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.image_windows import open_large
from pixelwise.data.io.mask_values import open_mask
from pixelwise.data.io.record_windows import to_pillow
from pixelwise.data.join import class_indices
from pixelwise.data.mask_format import MaskFormat, MaskMode, ObjectScale, check_mask_format
from pixelwise.data.record_parts import open_undecodable, read_parts
from pixelwise.data.schema import BytesSource, LabelMap, MaskSource, MergedMask, MultilabelMask, PolygonMask, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.runtime.threads import prefetch_map

_SAMPLED_MASKS = 32
"""Maximum number of masks whose objects are measured, evenly spaced over the training records."""

_PARTS = 4
"""Number of parts that are measured of an image that is too large to be decoded."""

_MODES: dict[str, MaskMode] = {"1": "1", "P": "P", "I": "I;16", "F": "I;16"}
"""Pillow's mode of a mask → the mode for predicted masks."""


def find_mask_format(data: DatasetIndex, records: Sequence[Record]) -> MaskFormat | None:
    """Return the mode, the values and the orientation of a data set's masks. The mode depends on the first mask.

    Args:
        data: the data set.
        records: its training records.

    Returns:
        The format. None if the masks are annotations, classes have no distinct values, or the first mask is unreadable.
        Data sets that were joined have one if each class has the same value and color in all.
    """
    if data.sets:
        return _joined_format(data)
    label_map = data.read_spec.label_map
    is_multilabel = label_map.kind == "multilabel"
    values = label_map.class_values(2 if is_multilabel else len(data.classes))
    source = next((file for record in records if (file := _first_file(record.mask)) is not None), None)
    if not values or source is None:
        return None
    try:
        windows = open_large(source)
        if windows is None:
            mask_format = open_mask(source, lambda image: _format_of(image, label_map, values))
        else:
            with windows:
                mask_format = _format_of(to_pillow(windows, windows.read(range(1), range(1))), label_map, values)
        check_mask_format(mask_format, len(values))
    except (DataError, ValueError):
        return None
    return replace(mask_format, as_stored=data.read_spec.masks_as_stored)


def _joined_format(data: DatasetIndex) -> MaskFormat | None:
    """Return the format of data sets that were joined, see `find_mask_format`."""
    found = [find_mask_format(part, part.train + part.val + part.test) for part in data.sets]
    formats = [mask_format for mask_format in found if mask_format is not None]
    if len(formats) < len(found) or len({(each.mode, each.as_stored) for each in formats}) > 1:
        return None
    if data.read_spec.task is MULTILABEL:  # the values are those of absent and present pixels
        return formats[0] if len(set(formats)) == 1 else None
    pairs = {
        (index, value, color)
        for mask_format, indices in zip(formats, class_indices(data), strict=True)
        for index, value, color in zip_longest(indices, mask_format.values, mask_format.colors)
    }
    indices, values, colors = zip(*sorted(pairs), strict=True)
    if indices != tuple(range(len(data.classes))) or len(set(values)) < len(values):
        return None
    return replace(formats[0], values=values, colors=colors if formats[0].colors else ())


def _first_file(mask: MaskSource | None) -> BytesSource | None:
    """Return a file of a mask, or None for annotations."""
    if mask is None or isinstance(mask, PolygonMask):
        return None
    if isinstance(mask, MultilabelMask):
        return next((file for channel in mask.channels if (file := _first_file(channel)) is not None), None)
    return mask.files[0] if isinstance(mask, MergedMask) else mask


def _format_of(image: Image.Image, label_map: LabelMap, values: tuple[int, ...]) -> MaskFormat:
    """Return the format for predicted masks, with the mode of an opened mask if it can store the values."""
    if label_map.kind in ("rgb", "alpha"):
        return MaskFormat("RGB" if label_map.kind == "rgb" else "LA", values)
    mode = _MODES.get(image.mode, "I;16" if image.mode.startswith("I;16") or max(values) > 255 else "L")
    if mode == "1" and not set(values) <= {0, 255}:
        mode = "L"
    if mode != "P":
        return MaskFormat(mode, values)
    palette = np.zeros((256, 3), np.uint8)
    stored = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette[list(values)])
    return MaskFormat(mode, values, colors)


def measure_objects(data: DatasetIndex, records: Sequence[Record]) -> ObjectScale | None:
    """Measure the typical size of the objects in training images, from at most 32 images.

    Args:
        data: the data set.
        records: its training records.

    Returns:
        The medians in pixels, or None if no mask has an object of a class that is not background.
    """
    count = min(_SAMPLED_MASKS, len(records))
    sampled = [records[index * len(records) // count] for index in range(count)]
    task, background = data.read_spec.task, set(data.background)
    classes = [index for index in range(len(data.classes)) if index not in background]

    def measure(record: Record) -> tuple[float, np.ndarray]:
        with suppress(DataError):  # the training reports it
            windows = open_undecodable(record, data.read_spec)
            if windows is None:
                masks, size = [data.read(record)[1]], None
            else:
                with windows:
                    masks, size = [mask for _, mask in read_parts(windows, _PARTS)], windows.size
            side = float(np.sqrt(np.prod(size or masks[0].shape[-2:])))
            regions = [task.class_region(mask, index) for mask in masks for index in classes]
            return side, np.concatenate([object_sizes(region) * math.sqrt(region.size) for region in regions])
        return 0.0, np.zeros(0)

    measured = [(side, sizes) for side, sizes in prefetch_map(measure, sampled, 2) if side]
    objects = np.concatenate([sizes for _, sizes in measured]) if measured else np.zeros(0)
    if not len(objects):
        return None
    return ObjectScale(float(np.median([side for side, _ in measured])), round(float(np.median(objects)), 2))
