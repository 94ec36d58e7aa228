"""Helpers of the label map tests: masks are saved, counted and resolved."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.io.mask import read_mask
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import count_mask_values
from pixelwise.data.schema import FormatResult, Record


def resolve_images(
    images: Sequence[Image.Image],
    folder: Path,
    suffix: str = ".png",
    names: FormatResult | None = None,
    options: LabelOptions | None = None,
) -> ResolvedLabels:
    """Save mask images and resolve their classes. `names` holds what a format knows about them."""
    records = []
    for number, image in enumerate(images):
        path = folder / f"{number}{suffix}"
        if suffix == ".jpg":
            image.save(path, quality=85)
        elif suffix == ".webp":
            image.save(path, lossless=True)
        else:
            image.save(path)
        records.append(Record(folder / f"{number}.jpg", path))
    counts, errors = count_mask_values(records)
    assert not errors
    return resolve_labels(replace(names or FormatResult(), train=tuple(records)), counts, options or LabelOptions())


def read(folder: Path, labels: ResolvedLabels, number: int = 0, suffix: str = ".png") -> np.ndarray:
    return read_mask(folder / f"{number}{suffix}", labels.label_map)


def gray(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint8))
