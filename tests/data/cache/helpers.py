"""Helpers of cache tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.cache.store import load_and_resize
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset

BINARY = ReadSpec(LabelMap("index", {0: 0, 1: 1, 255: 255}))
MULTILABEL = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))


def entry_names(cache: Path) -> list[str]:
    """List the cache folder without lock files."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.exists() else []


def has_items_of(
    dataset: SegmentationDataset, records: Sequence[Record], read_spec: ReadSpec = BINARY, image_size: int = 16
) -> bool:
    """Return True if the items are exactly what the files contain."""
    expected = [load_and_resize(record, read_spec, image_size) for record in records]
    items = [dataset[index] for index in range(len(dataset))]
    return len(items) == len(expected) and all(
        np.array_equal(item.permute(1, 2, 0), image) and np.array_equal(item_mask, mask)
        for (item, item_mask), (image, mask) in zip(items, expected, strict=True)
    )
