"""Tests of the HTML that a notebook shows for a data set, and of arguments that are none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.index import draw_sheet
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import default_palette
from tests.visualization.test_html import decode_images


@pytest.fixture
def leaves(tmp_path: Path) -> pw.DatasetIndex:
    """Load six images with masks of the values 0 and 1."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "leaves" / folder).mkdir(parents=True)
    for number in range(6):
        image, mask = rng.integers(0, 255, (24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
        mask[4:12, number : number + 9] = 1
        Image.fromarray(image).save(tmp_path / "leaves" / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "leaves" / "masks" / f"{number}.png")
    return pw.load_dataset(tmp_path / "leaves", classes=["ground", "leaf <b>"])


def test_counts_classes_and_a_sheet(leaves: pw.DatasetIndex) -> None:
    shown = leaves._repr_html_()
    assert "6 train images" in shown
    assert "leaf &lt;b&gt;" in shown and "<b>leaves" not in shown
    (sheet,) = decode_images(shown)
    assert sheet.size == draw_sheet(leaves).size
    assert len(shown) < 300_000


def test_the_text_has_no_records(leaves: pw.DatasetIndex) -> None:
    text = repr(replace(leaves, train=leaves.train * 1000))
    assert text.endswith("format='folders', classes=('ground', 'leaf <b>'), train=6000, val=0, test=0)")
    assert len(text) < 500


def test_many_classes_are_counted(leaves: pw.DatasetIndex) -> None:
    names = tuple(f"class {number}" for number in range(200))
    shown = replace(leaves, classes=names, palette=default_palette(200))._repr_html_()
    assert "class 39" in shown and "class 40" not in shown and "and 160 more" in shown


def test_a_data_set_that_cannot_be_drawn_says_why(leaves: pw.DatasetIndex) -> None:
    undecided = replace(leaves, undecided="leaves: <two> readings")._repr_html_()
    assert "leaves: &lt;two&gt; readings" in undecided and not decode_images(undecided)
    (Path(leaves.root) / "images" / "0.png").unlink()
    gone = leaves._repr_html_()
    assert "0.png: no such file" in gone and not decode_images(gone)


def test_a_remote_data_set_is_not_read(leaves: pw.DatasetIndex) -> None:
    shown = replace(leaves, root="s3://bucket/leaves")._repr_html_()
    assert "s3://bucket/leaves" in shown and not decode_images(shown)


def test_a_sheet_needs_images(leaves: pw.DatasetIndex) -> None:
    with pytest.raises(DataError, match="no 'test' split"):
        draw_sheet(leaves, "test")


@pytest.mark.parametrize(
    "call",
    [
        lambda data, out: pw.train(data, out),
        lambda data, out: pw.train_folds(data, out),
        lambda data, out: pw.train_seeds(data, out),
        lambda data, out: pw.tune(data, out),
        lambda data, out: pw.find_learning_rate(data, out),
        lambda data, out: pw.measure_learning_curve(pw.Run(out, pw.Config()), data),
        lambda data, out: pw.evaluate(out, data),
        lambda data, out: pw.pack(data, out),
        lambda data, out: pw.preview(data),
        lambda data, out: pw.join_datasets([data]),
    ],
    ids=[
        "train",
        "train_folds",
        "train_seeds",
        "tune",
        "find_learning_rate",
        "learning_curve",
        "evaluate",
        "pack",
        "preview",
        "join",
    ],
)
def test_a_path_in_place_of_a_data_set_is_an_error_with_the_fix(
    call: Callable[[Any, Path], object], tmp_path: Path
) -> None:
    for data in ("leaves", Path("leaves")):
        with pytest.raises(ConfigError) as error:
            call(data, tmp_path / "out")
        assert str(error.value) == ("`data` is a path, not a loaded data set; pass pixelwise.load_dataset('leaves')")
    with pytest.raises(ConfigError, match=r"is list, not a loaded data set; pass pixelwise.load_dataset\(FOLDER\)"):
        call([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_path_in_place_of_a_report_is_an_error_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"pass pixelwise.inspect\(FOLDER\)"):
        pw.make_plan("leaves")  # type: ignore[arg-type]
