"""Test that a prediction needs little memory for each image of a long list."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixelwise.inference import batch, url_sources
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.inference.outputs import Mark
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.result_tables import ImageRows
from pixelwise.inference.tables import image_cell

MAX_BYTES = 600
"""Maximum memory of an image. Before the lists were on disk, it was 4 kB."""


def engine(predictor: Any, items: list[OutputItem], outputs: OutputSet, part_progress: Any) -> Iterator[ItemResult]:
    """Give results without images."""
    for number, item in enumerate(items):
        mark = Mark(outputs.run.model, f"{number:032x}", 500, 375, {"pet": number / 1e6})
        cell = image_cell(item.path)
        yield ItemResult(mark, ImageRows(cell, f"{cell},pet,1,0.5,1,1.0,0.9\n", f"{cell},pet,1,5\n", 1), None)


def peak_of(predictor: Predictor, count: int, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the peak of the memory in bytes of a prediction with `count` images."""
    names = [f"camera-{number % 10}/{number:08}.jpg" for number in range(count)]
    monkeypatch.setattr(url_sources, "_ask", lambda url, use: names)
    monkeypatch.setattr(batch, "get_engine", lambda name: engine)
    tracemalloc.start()
    try:
        result = predict_folder(predictor, ["memory://bucket/images/"], out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.image_count == count and result.report["photos"][count - 1]["shares"]["pet"] == (count - 1) / 1e6
    return peak


def test_a_long_list_of_images_needs_little_memory(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two runs, one at most makes Python's table of interned strings larger, which counts as megabytes.
    few, many = (
        min(peak_of(predictor, count, tmp_path / f"{count}-{run}", monkeypatch) for run in range(2))
        for count in (500, 2500)
    )

    assert (many - few) / 2000 < MAX_BYTES, (few, many)
