"""Tests of previews: which images are shown, and in what form."""

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.errors import ConfigError, DataError
from pixelwise.visualization import overlay_grid


@pytest.fixture
def grid_arguments(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Record the arguments of each grid that is drawn."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> Image.Image:
        calls.append((args, kwargs))
        return overlay_grid(*args, **kwargs)

    monkeypatch.setattr("pixelwise.visualization.overlay_grid", record)
    return calls


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 4, 8]), (12, list(range(12))), (50, list(range(12)))])
def test_images_are_spread_evenly_over_the_split(
    pets: pw.DatasetIndex,
    grid_arguments: list[tuple[tuple[Any, ...], dict[str, Any]]],
    count: int,
    expected: list[int],
) -> None:
    grid = pw.preview(pets, "train", count)
    assert (grid.mode, grid.width) == ("RGB", 1280)
    ((_, _, names, classes, _), options) = grid_arguments[0]
    assert names == [pets.train[index].image.name for index in expected]
    assert classes == pets.classes
    assert options["title"] == f"oxford-iiit-pet · train · {len(expected)} of 12 images"


def test_invalid_arguments_are_refused(pets: pw.DatasetIndex) -> None:
    with pytest.raises(ConfigError, match="`count` is 0"):
        pw.preview(pets, count=0)
    with pytest.raises(DataError, match="no 'val' split"):
        pw.preview(pets, "val")


def test_unreadable_image_is_named(pets: pw.DatasetIndex) -> None:
    missing = replace(pets.train[0], image=pets.train[0].image.with_name("gone.jpg"))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"gone\.jpg"):
        pw.preview(replace(pets, train=(missing,)))
