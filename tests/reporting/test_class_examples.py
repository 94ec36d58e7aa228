"""Tests of the example images of a class: its own color, bounded numbers, files that are gone."""

import base64
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.inspection import DatasetReport, inspect
from pixelwise.palette import Color
from pixelwise.reporting.class_examples import MAX_EXAMPLES, Example, class_examples
from tests.reporting.conftest import COLORS, ODD_NAMES


def decode(example: Example) -> Image.Image:
    content = base64.b64decode(example.url.removeprefix("data:image/webp;base64,"))
    return Image.open(io.BytesIO(content)).convert("RGB")


def fraction_of_hue(image: Image.Image, color: Color) -> float:
    """Return the fraction of pixels with about the hue of a color, also if it is blended over gray."""
    pixels = np.asarray(image, float)
    pixels -= pixels.mean(2, keepdims=True)
    hue = np.array(color, float) - np.mean(color)
    length = np.linalg.norm(pixels, axis=2)
    similarity = (pixels @ hue) / np.maximum(length * np.linalg.norm(hue), 1e-6)
    return float(((similarity > 0.97) & (length > 30)).mean())


@pytest.mark.parametrize("index", [1, 2])
def test_the_class_has_its_color(index: int, report: DatasetReport) -> None:
    stats = report.classes[index]
    examples = class_examples(stats, index, report.data.read_spec, 3)
    assert len(examples) == stats.image_count
    fractions = [example.fraction for example in examples]
    assert fractions == sorted(fractions, reverse=True) and fractions[-1] > 0.02
    image = decode(examples[0])
    assert image.size == examples[0].size
    # The images are gray, so only the class's own color has a hue. It is on the right half.
    own, other = (fraction_of_hue(image, COLORS[each]) for each in (index, 3 - index))
    assert 0.01 < own < 0.2 and other < 0.002, (own, other)
    left, right = (
        image.crop((start, 0, start + image.width // 2 - 4, image.height)) for start in (0, image.width // 2 + 4)
    )
    brightness = [np.percentile(np.asarray(half.convert("L")), 50) for half in (left, right)]
    assert abs(brightness[0] - brightness[1]) < 6, "pixels of other classes are left untouched"
    assert fraction_of_hue(left, COLORS[index]) < 0.002


def test_classes_share_a_number_of_examples(report: DatasetReport) -> None:
    stats = report.classes[0]
    assert len(class_examples(stats, 0, report.data.read_spec, MAX_EXAMPLES // 3)) == 3
    assert len(class_examples(stats, 0, report.data.read_spec, 10 * MAX_EXAMPLES)) == 1


def test_a_class_without_pixels_has_no_examples(report: DatasetReport) -> None:
    assert class_examples(replace(report.classes[0], examples=()), 0, report.data.read_spec, 3) == []


def test_examples_that_became_unreadable_are_left_out(data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "own"))
    report = inspect(root, classes=ODD_NAMES, skip_unreadable=True)
    stats = report.classes[2]
    for record in stats.examples[1:]:
        Path(str(record.image)).write_bytes(b"")
    assert len(class_examples(stats, 2, report.data.read_spec, 3)) == 1
    Path(str(stats.examples[0].image)).unlink()
    assert class_examples(stats, 2, report.data.read_spec, 3) == []
