"""Test that a prediction needs little memory for each image of a long list."""

import pathlib
import tracemalloc
from collections.abc import Callable, Iterator
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

MAX_BYTES = 300
"""Maximum memory of an image before and after each step of a prediction."""


def engine(predictor: Any, items: list[OutputItem], outputs: OutputSet, part_progress: Any) -> Iterator[ItemResult]:
    """Give results without images."""
    for number, item in enumerate(items):
        mark = Mark(outputs.run.model, f"{number:032x}", 500, 375, {"pet": number / 1e6})
        cell = image_cell(item.path)
        yield ItemResult(mark, ImageRows(cell, f"{cell},pet,1,0.5,1,1.0,0.9\n", f"{cell},pet,1,5\n", 1), None)


def memory_of(predictor: Predictor, count: int, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the maximum of the bytes that a prediction of `count` images has in memory before and after its steps."""
    sizes: list[int] = []

    def measure() -> None:
        # pathlib interns the parts of paths. Python's table of them is rebuilt from time to time, with megabytes.
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, pathlib.__file__)])
        sizes.append(sum(trace.size for trace in snapshot.traces))

    def measured(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            measure()
            result = function(*args, **options)
            measure()
            return result

        return call

    def measured_engine(*args: Any, **options: Any) -> Iterator[ItemResult]:
        yield from engine(*args, **options)
        measure()

    # File name → version, as in a listing of S3.
    names = {f"camera-{number % 10}/{number:08}.jpg": f'"{number:032x}"' for number in range(count)}
    with monkeypatch.context() as patch:
        patch.setattr(url_sources, "_ask", lambda url, use: names)
        patch.setattr(batch, "get_engine", lambda name: measured_engine)
        for name in ("find_images", "assign_files", "check_existing", "write_report"):
            patch.setattr(batch, name, measured(getattr(batch, name)))
        tracemalloc.start()
        try:
            result = predict_folder(predictor, ["memory://bucket/images/"], out)
        finally:
            tracemalloc.stop()
    assert result.image_count == count and result.images[count - 1]["shares"]["pet"] == (count - 1) / 1e6
    assert len(sizes) == 9
    return max(sizes)


def test_a_long_list_of_images_needs_little_memory(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_of(predictor, 1, tmp_path / "first", monkeypatch)  # imports modules
    few = memory_of(predictor, 500, tmp_path / "few", monkeypatch)
    many = memory_of(predictor, 2500, tmp_path / "many", monkeypatch)

    assert (many - few) / 2000 < MAX_BYTES, (few, many)
