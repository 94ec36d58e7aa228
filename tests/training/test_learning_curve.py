"""The learning curve of a run: nested subsets, equal validation images and steps, and its files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.errors import DataError
from pixelwise.metrics.evaluation import ImageScore
from pixelwise.runs.run_dir import Run
from pixelwise.training import learning_curve
from pixelwise.training.learning_curve import LearningCurve, measure_learning_curve


@pytest.fixture(scope="module")
def curve(tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> LearningCurve:
    folder = tmp_path_factory.mktemp("curves") / "run"
    shutil.copytree(tiny_run.path, folder)
    return measure_learning_curve(Run.open(folder), pets)


def parts(path: Path) -> dict[str, set[str]]:
    """Return part → file names from split.csv."""
    rows = [line.split(",") for line in (path / "split.csv").read_text().splitlines()[1:]]
    return {part: {row[0] for row in rows if row[1] == part} for part in ("train", "val")}


def test_the_half_contains_the_quarter_and_all_share_the_validation_images(curve: LearningCurve) -> None:
    full, half, quarter = (parts(path) for path in (curve.path.parent, curve.path / "half", curve.path / "quarter"))
    assert quarter["train"] < half["train"] < full["train"]
    assert quarter["val"] == half["val"] == full["val"]
    assert curve.sizes == (len(quarter["train"]), len(half["train"]), len(full["train"]))
    assert curve.val_images == len(full["val"])


def test_all_runs_have_a_similar_number_of_steps(curve: LearningCurve) -> None:
    steps = [Run.open(path).read_metrics()[-1]["step"] for path in (curve.path.parent, curve.path / "half")]
    assert steps[0] is not None and steps[1] == pytest.approx(steps[0], rel=0.5)


def test_the_curve_is_written_and_drawn(curve: LearningCurve) -> None:
    content = json.loads((curve.path / "learning-curve.json").read_text())
    assert content["sizes"] == [*curve.sizes] and content["scores"] == [*curve.scores]
    assert content["gain"]["images"] == 2 * curve.sizes[-1]
    with Image.open(curve.path / "learning-curve.png") as image:
        assert image.width > 600
    assert f"twice the images ({curve.gain.images}): about" in str(curve)


def test_resamples_without_any_class_do_not_count() -> None:
    """One of the two images is ignored as a whole, so a quarter of the resamples has no class."""
    ignored = ImageScore("a.png", None, np.zeros((1, 3), np.int64), 0, 0, None)
    hits = ImageScore("b.png", None, np.array([[6, 2, 2]]), 10, 6, 0.5)
    deviations = learning_curve._deviations([[ignored, hits]] * 3)
    assert deviations is not None and deviations.shape[1] == 3 and 1300 < len(deviations) < 1700
    assert np.isfinite(deviations).all()
    assert learning_curve._deviations([[ignored, ignored]] * 3) is None


def test_complete_runs_are_not_repeated(curve: LearningCurve, pets: pw.DatasetIndex) -> None:
    files = [curve.path / name / "model.safetensors" for name in ("quarter", "half")]
    before = [file.stat().st_mtime_ns for file in files]
    again = measure_learning_curve(Run.open(curve.path.parent), pets)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert again == curve


def test_the_length_is_that_of_the_finished_run(tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    """A time budget or a patience of the run is not repeated: the smaller runs have as many steps."""
    shutil.copytree(tiny_run.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    budgeted = replace(run, config=run.config.replace(time_budget=60, patience=1, epochs=500))
    curve = measure_learning_curve(budgeted, pets)
    half = Run.open(curve.path / "half")
    assert (half.config.time_budget, half.config.patience) == (None, None)
    assert half.config.epochs == len(half.read_metrics()) < 10


def test_too_few_images_are_an_error(tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
    with pytest.raises(DataError, match="at least 6 training images, not 5"):
        measure_learning_curve(tiny_run, replace(pets, train=pets.train[:5], val=pets.train[5:]))
    one_video = tuple(replace(record, group="video") for record in pets.train)
    with pytest.raises(DataError, match="groups of the training images are too large"):
        measure_learning_curve(tiny_run, replace(pets, train=one_video, val=pets.test[:2], group_summary="1 video"))
