"""Real images, where PIXELWISE_DATA says that they are here: looked at, trained on, predicted."""

import json
import os
import shutil
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.cli.app import main
from pixelwise.data.analysis.inspection import inspect
from pixelwise.planning.plan import Plan

FOUND = {
    "oxford-iiit-pet": ("oxford-pets", (300, 0, 298), ("pet", "background", "border"), 0.35),
    "camvid": ("camvid", (367, 101, 0), ("sky", "building", "pole", "road"), 0.12),
}
"""Folder → format, images of each split, the first classes, and the validation mIoU that one short epoch passes."""


@pytest.fixture(params=FOUND)
def folder(request: pytest.FixtureRequest) -> Path:
    found = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / request.param
    if not found.is_dir():
        pytest.skip(f"needs PIXELWISE_DATA, a folder that holds {request.param}/")
    return found


def run(*tokens: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(token) for token in tokens])
    return ended.value.code  # type: ignore[return-value]


def test_a_look(folder: Path) -> None:
    format, splits, classes, _ = FOUND[folder.name]
    found = inspect(folder)
    assert found.data.format == format
    assert (len(found.data.train), len(found.data.val), len(found.data.test)) == splits
    assert found.data.classes[: len(classes)] == classes
    assert found.issues == ()
    # Breeds are numbered, and are no videos; the frames of CamVid are.
    assert found.data.group_summary == {"camvid": "3 groups, as the data set names them"}.get(folder.name, "")


def test_it_trains_and_predicts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The plan's own epochs and size take minutes.
    assert run("train", folder, "--out", tmp_path / "run", "--epochs", "1", "--size", "128") == 0
    assert "# as given" in capsys.readouterr().out
    plan = Plan.read(tmp_path / "run" / "plan.yaml")
    assert (plan.settings["size"], plan.settings["epochs"]) == (128, 1)
    (row,) = pw.Run.open(tmp_path / "run").read_metrics()
    assert (row["val_miou"] or 0) > FOUND[folder.name][3]
    # The run folder alone is enough, wherever it is moved to.
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "elsewhere"))
    record = pw.load_dataset(folder).train[7]
    assert run("predict", moved, record.image, "--out", tmp_path / "masks") == 0
    told = json.loads((tmp_path / "masks" / "predictions.json").read_text())
    assert len(told["photos"]) == 1 and len(list((tmp_path / "masks").glob("*_mask.png"))) == 1
