"""What the files of a data set hold, as digests: the same content gives the same, wherever it lies."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.schema import BytesSource, MaskSource, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

_KINDS = {"index": "values", "rgb": "colours", "polygons": "shapes", "multilabel": "layers"}
_SOURCES: dict[type, bytes] = {PolygonMask: b"Shapes", MultilabelMask: b"Layers"}
"""The names of version 0.1, in which keys are computed: its cache entries stay valid."""


def cache_key(
    records: Sequence[Record], reading: ReadSpec, size: int, version: int, progress: Progress = no_progress
) -> str:
    """What the prepared pixels follow from: the content of every image and mask in order, and the settings.

    `version` is that of the preparation. Where the files lie and what they are called does not count.
    """
    masks = reading.label_map
    settings = [
        version,
        size,
        _KINDS.get(masks.kind, masks.kind),
        sorted(masks.value_to_class.items()),
        masks.tolerance,
        reading.channels,
    ]
    whole = hashlib.blake2b(json.dumps([*settings, reading.bit_depth]).encode(), digest_size=20)
    for digest in progress(prefetch_map(_record_digest, records), len(records)):
        whole.update(digest)
    return whole.hexdigest()


def _record_digest(record: Record) -> bytes:
    return _digest(record.image) + (b"none" if record.mask is None else _digest(record.mask))


def _digest(source: MaskSource) -> bytes:
    """A digest of what a source holds; the source's own (`digest`), where it brings one."""
    whole = hashlib.blake2b(
        next((name for kind, name in _SOURCES.items() if isinstance(source, kind)), b""), digest_size=20
    )
    if isinstance(source, MultilabelMask):
        for image in source.channels:
            whole.update(b"none" if image is None else _digest(image))
    elif isinstance(source, PolygonMask):
        whole.update(b"%d" % source.background)
        for shape in source.annotations:
            whole.update(json.dumps([shape.label, shape.relative, [len(each) for each in shape.polygons]]).encode())
            for polygon in shape.polygons:
                whole.update(np.ascontiguousarray(polygon, np.float64).data)
            whole.update(repr(sorted((shape.rle or {}).items())).encode())
    elif isinstance(own := getattr(source, "digest", None), bytes):
        whole.update(own)
    else:
        _hash_file(source, whole)
    return whole.digest()


def _hash_file(source: BytesSource, whole: Any) -> None:
    try:
        if type(source).__module__.startswith("pathlib") and isinstance(source, Path):
            if source.exists() and not source.is_file():  # reading a named pipe would wait for ever
                raise OSError
            with source.open("rb") as file:
                while part := file.read(1 << 20):
                    whole.update(part)
        else:
            whole.update(source.read_bytes())
    except (OSError, DataError):
        whole.update(b"unreadable")  # building the entry says so, or leaves it out
