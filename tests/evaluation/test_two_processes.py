"""Tests of evaluation with two processes: both return the result of one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PROGRAM = """
import json, os, sys
from dataclasses import replace
from pathlib import Path

import pixelwise as pw

run, data_path, out = map(Path, sys.argv[1:])
data = pw.load_dataset(data_path)
result = pw.evaluate(
    run, data, out=out / "evaluation.json", device="cpu", skip_unreadable=True, metrics=["boundary_iou", "image_iou"]
)
one_record = replace(data, test=data.test[1:2])  # unreadable, and the only record: the second process has none
try:
    pw.evaluate(run, one_record, device="cpu", skip_unreadable=True)
    error = None
except pw.DataError as caught:
    error = str(caught)
content = {
    "confusion": result.metrics.confusion,
    "images": result.metrics.image_count,
    "extra": result.extra,
    "skipped": [str(error) for error in result.skipped],
    "written": result.path is not None,
    "error": error,
}
(out / f"rank{os.environ['RANK']}.json").write_text(json.dumps(content))
"""


@pytest.fixture(scope="module")
def damaged_pets(pets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the data set and truncate the masks of the test images 1, 2 and 5, which different processes read."""
    folder = Path(shutil.copytree(pets_folder, tmp_path_factory.mktemp("damaged") / "oxford-iiit-pet"))
    for index in (1, 2, 5):
        mask = pw.load_dataset(folder).test[index].mask
        assert isinstance(mask, Path)
        mask.write_bytes(mask.read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def results(tiny_run: pw.Run, damaged_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Evaluate in two processes. Return what each of them got."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    completed = subprocess.run(
        [*command, tiny_run.path, damaged_pets, folder],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_both_processes_return_the_result_of_one(
    results: list[dict[str, Any]], tiny_run: pw.Run, damaged_pets: Path
) -> None:
    first, second = results
    assert first | {"written": None} == second | {"written": None}
    assert (first["written"], second["written"]) == (True, False)
    data = pw.load_dataset(damaged_pets)
    metrics = ("boundary_iou", "image_iou")
    expected = pw.evaluate(tiny_run, data, device="cpu", skip_unreadable=True, metrics=metrics)
    assert first["images"] == expected.metrics.image_count == len(data.test) - 3
    assert first["skipped"] == [str(error) for error in expected.skipped]
    assert np.array(first["confusion"]).sum(1).tolist() == np.array(expected.metrics.confusion).sum(1).tolist()
    # Batches of other images may round differently: one pixel in thousands.
    assert first["extra"] == pytest.approx(expected.extra, abs=2e-3)


def test_split_without_readable_images_raises_in_both_processes(
    results: list[dict[str, Any]], damaged_pets: Path
) -> None:
    bad = pw.load_dataset(damaged_pets).test[1].mask
    for result in results:
        assert "no image of the test split can be used" in result["error"]
        assert str(bad) in result["error"]
