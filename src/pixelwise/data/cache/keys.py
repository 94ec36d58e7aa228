"""Keys of the image cache: hashes of file contents and settings. The location of the files does not change a key."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.io.image import is_special_file
from pixelwise.data.resize import ImageSize, Scale
from pixelwise.data.schema import BytesSource, MaskSource, MergedMask, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

# Keys are computed with the names that version 0.1 gave to label maps and masks, so that its cache entries stay valid.
_KINDS = {"index": "values", "rgb": "colours", "polygons": "shapes", "multilabel": "layers"}
_PREFIXES: dict[type, bytes] = {PolygonMask: b"Shapes", MultilabelMask: b"Layers", MergedMask: b"Merged"}

_BLOCK_BYTES = 1 << 20


def cache_key(
    records: Sequence[Record],
    read_spec: ReadSpec,
    image_size: ImageSize,
    version: int,
    progress: Progress = no_progress,
) -> str:
    """Return a hash of all data and settings that determine the cached pixels.

    Paths and file names are not hashed.

    Args:
        records: the records, in order. The content of every image and mask is hashed.
        read_spec: the parameters with which the images and masks are read. Those of a record have priority.
        image_size: the size in pixels of the cached images, or their scale.
        version: version number of the code that decodes and resizes.
        progress: see `Progress`.

    Returns:
        40 hexadecimal digits.
    """
    size = ["scale", image_size.factor] if isinstance(image_size, Scale) else image_size
    settings = [version, size, *_read_settings(read_spec)]
    key = hashlib.blake2b(json.dumps(settings).encode(), digest_size=20)
    own_settings = {id(record.read_spec): record.read_spec for record in records if record.read_spec is not None}
    own_bytes = {number: json.dumps(_read_settings(spec)).encode() for number, spec in own_settings.items()}
    for record, digest in zip(records, progress(prefetch_map(_record_digest, records), len(records)), strict=True):
        key.update(digest + own_bytes.get(id(record.read_spec), b""))
    return key.hexdigest()


def _read_settings(read_spec: ReadSpec) -> list[Any]:
    """Return the parameters that determine the pixels, for JSON."""
    label_map = read_spec.label_map
    settings: list[Any] = [
        _KINDS.get(label_map.kind, label_map.kind),
        sorted(label_map.value_to_class.items()),
        label_map.tolerance,
        read_spec.channels,
        read_spec.bit_depth,
        *(read_spec.pixel_range or ()),
    ]
    if label_map.other_class is not None or read_spec.masks_as_stored:
        settings += [label_map.other_class, read_spec.masks_as_stored]
    if read_spec.band_ranges:
        settings += ["bands with internal masks", read_spec.band_ranges, read_spec.nodata]
    return settings


def _record_digest(record: Record) -> bytes:
    return _digest(record.image) + (b"none" if record.mask is None else _digest(record.mask))


def _digest(source: MaskSource) -> bytes:
    """Return a hash of a source's content. A file with an attribute `digest` is not read."""
    prefix = next((prefix for kind, prefix in _PREFIXES.items() if isinstance(source, kind)), b"")
    digest = hashlib.blake2b(prefix, digest_size=20)
    if isinstance(source, MultilabelMask):
        for channel in source.channels:
            digest.update(b"none" if channel is None else _digest(channel))
        if source.unknown:
            digest.update(json.dumps(sorted(source.unknown)).encode())
    elif isinstance(source, MergedMask):
        for file in source.files:
            digest.update(_digest(file))
    elif isinstance(source, PolygonMask):
        _hash_polygons(source, digest)
    elif isinstance(known := getattr(source, "digest", None), bytes):
        digest.update(known)
    else:
        _hash_file(source, digest)
    return digest.digest()


def _hash_polygons(mask: PolygonMask, digest: Any) -> None:
    digest.update(b"%d" % mask.background)
    if mask.base is not None:
        digest.update(json.dumps([mask.base.kind, mask.base.class_ids]).encode() + _digest(mask.base.file))
    for item in mask.annotations:
        digest.update(json.dumps([item.label, item.relative, [len(polygon) for polygon in item.polygons]]).encode())
        for polygon in item.polygons:
            digest.update(np.ascontiguousarray(polygon, np.float64).data)
        digest.update(repr(sorted((item.rle or {}).items())).encode())
        if item.runs is not None:
            digest.update(b"rows" if item.runs.by_row else b"columns")
            digest.update(np.ascontiguousarray(item.runs.runs, np.int64).data)


def _hash_file(source: BytesSource, digest: Any) -> None:
    try:
        if isinstance(source, Path):
            if is_special_file(source):
                raise OSError
            with source.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        else:
            digest.update(source.read_bytes())
    except (OSError, DataError):
        digest.update(b"unreadable")  # the error is raised when the record is read for the cache
