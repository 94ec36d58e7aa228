"""Real data sets, if PIXELWISE_DATA names a folder with them: inspect, train, predict."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import pixelwise as pw
from pixelwise.data.schema import SPLITS
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
        near_duplicates: test images that nearly equal a training image.
    """

    format: str
    split_sizes: tuple[int, int, int]
    classes: tuple[str, ...]
    min_iou: float
    group_summary: str
    near_duplicates: tuple[str, ...] = ()


DATA_SETS = {
    # Its images are numbered by breed and are not a video.
    "oxford-iiit-pet": Expected(
        "oxford-pets", (300, 0, 298), ("pet", "background", "border"), 0.35, "", ("Abyssinian_99.jpg",)
    ),
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


def test_inspection_training_and_prediction(folder: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    expected = DATA_SETS[folder.name]
    inspected = run_cli("inspect", folder, "--out", tmp_path / "report")
    assert inspected.code == 0, inspected
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["format"] == expected.format
    assert tuple(report["splits"].get(split, 0) for split in SPLITS) == expected.split_sizes
    assert tuple(row["name"] for row in report["classes"])[: len(expected.classes)] == expected.classes
    problems = [(problem["kind"], Path(problem["file"]).name) for problem in report["problems"]]
    assert problems == [("near-duplicate", name) for name in expected.near_duplicates]
    assert (report["groups"] or "") == expected.group_summary
    # The plan's own epochs and size take minutes.
    plan = tmp_path / "report" / "plan.yaml"
    trained = run_cli("train", folder, "--plan", plan, "--out", tmp_path / "run", "--epochs", "1", "--size", "128")
    assert trained.code == 0, trained
    run = pw.Run.open(tmp_path / "run")
    planned = dict(Plan.read(plan).settings) | {"image_size": 128, "start_size": None, "epochs": 1}
    del planned["encoder_training"]  # the run has the mode that "auto" stands for
    assert {name: getattr(run.config, name) for name in planned} == planned
    (row,) = run.read_metrics()
    assert (row["val_miou"] or 0) > expected.min_iou
    # The run directory is complete: it can be moved.
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "elsewhere"))
    record = pw.load_dataset(folder).train[7]
    assert run_cli("predict", moved, record.image, "--out", tmp_path / "masks").code == 0
    predictions = json.loads((tmp_path / "masks" / "predictions.json").read_text())
    assert len(predictions["photos"]) == 1 and len(list((tmp_path / "masks").glob("*_mask.png"))) == 1
