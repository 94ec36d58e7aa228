"""Real data sets, if PIXELWISE_DATA names a folder with them: inspect, train, predict."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import pixelwise as pw
from pixelwise.data.analysis.inspection import inspect
from pixelwise.planning.plan import Plan
from tests.integration.helpers import RunCommand

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Expected(NamedTuple):
    """Properties of a data set.

    Attributes:
        split_sizes: number of images in train, val and test.
        classes: the first class names.
        min_iou: validation mIoU that one short epoch exceeds.
        group_summary: `DatasetIndex.group_summary`.
    """

    format: str
    split_sizes: tuple[int, int, int]
    classes: tuple[str, ...]
    min_iou: float
    group_summary: str


DATA_SETS = {
    # Its images are numbered by breed and are not a video.
    "oxford-iiit-pet": Expected("oxford-pets", (300, 0, 298), ("pet", "background", "border"), 0.35, ""),
    "camvid": Expected(
        "camvid", (367, 101, 0), ("sky", "building", "pole", "road"), 0.12, "3 groups, as the data set names them"
    ),
}
"""Folder → expected properties."""


@pytest.fixture
def time_limit() -> None:
    """Set no limit: a training can take minutes."""


@pytest.fixture(params=DATA_SETS)
def folder(request: pytest.FixtureRequest) -> Path:
    path = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / str(request.param)
    if not path.is_dir():
        pytest.skip(f"needs PIXELWISE_DATA, a folder that contains {request.param}/")
    return path


def test_inspection(folder: Path) -> None:
    expected = DATA_SETS[folder.name]
    report = inspect(folder)
    assert report.data.format == expected.format
    assert (len(report.data.train), len(report.data.val), len(report.data.test)) == expected.split_sizes
    assert report.data.classes[: len(expected.classes)] == expected.classes
    assert report.issues == ()
    assert report.data.group_summary == expected.group_summary


def test_training_and_prediction(folder: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    # The plan's own epochs and size take minutes.
    trained = run_cli("train", folder, "--out", tmp_path / "run", "--epochs", "1", "--size", "128")
    assert trained.code == 0 and "# as given" in trained.out
    plan = Plan.read(tmp_path / "run" / "plan.yaml")
    assert (plan.settings["image_size"], plan.settings["epochs"]) == (128, 1)
    (row,) = pw.Run.open(tmp_path / "run").read_metrics()
    assert (row["val_miou"] or 0) > DATA_SETS[folder.name].min_iou
    # The run directory is complete: it can be moved.
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "elsewhere"))
    record = pw.load_dataset(folder).train[7]
    assert run_cli("predict", moved, record.image, "--out", tmp_path / "masks").code == 0
    predictions = json.loads((tmp_path / "masks" / "predictions.json").read_text())
    assert len(predictions["photos"]) == 1 and len(list((tmp_path / "masks").glob("*_mask.png"))) == 1
