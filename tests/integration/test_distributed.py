"""Two processes started by torchrun, with gloo on the CPU: one run, and the metrics and gradients of one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pixelwise as pw
from pixelwise.data.samplers import EpochSampler
from pixelwise.errors import ConfigError
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.confusion import Metrics
from pixelwise.training import trainer
from pixelwise.training.splits import make_train_val_split
from tests.integration import two_processes

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def odd_pets(pets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the data set with odd numbers of images: 7 for training, 5 for validation, and 9 test images."""
    folder = tmp_path_factory.mktemp("odd") / "oxford-iiit-pet"
    shutil.copytree(pets_folder, folder)
    file = folder / "annotations" / "test.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    return folder


@pytest.fixture(scope="module")
def damaged_pets(pets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the data set and truncate the masks of the test images 1, 2 and 5, which different processes read."""
    folder = Path(shutil.copytree(pets_folder, tmp_path_factory.mktemp("damaged") / "oxford-iiit-pet"))
    records = pw.load_dataset(folder).test
    for index in (1, 2, 5):
        mask = records[index].mask
        assert isinstance(mask, Path)
        mask.write_bytes(mask.read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def out(odd_pets: Path, damaged_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two_processes.py in two processes, and return the directory of its output.

    It trains with batches of 2, so that one process validates more batches than the other. --standalone finds a free
    port.
    """
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    done = subprocess.run(
        [*command, two_processes.__file__, odd_pets, damaged_pets, folder],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def run(out: Path) -> pw.Run:
    """Open the run that the train command wrote."""
    return pw.Run.open(out / "runs" / "run")


def test_one_run_is_written(out: Path, run: pw.Run, odd_pets: Path) -> None:
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    assert len(list(run.tensorboard_folder.iterdir())) == 1
    assert len(list((run.path / "samples").iterdir())) == 3
    train_records, val_records = make_train_val_split(pw.load_dataset(odd_pets), run.config)
    # One process validates two batches, the other one.
    assert (len(train_records), len(val_records)) == (7, 5)
    # The global batch is that of one process, so an epoch has as many steps.
    steps = len(EpochSampler(len(train_records), 2, run.config.seed, 0, 2))
    assert [row["step"] for row in run.read_metrics()] == [steps, 2 * steps]


def test_only_the_first_process_prints(out: Path) -> None:
    printed = (out / "train-0.out").read_text()
    assert printed.count("best: epoch") == printed.count("epoch 1/2") == 1
    assert (out / "train-0.err").read_text().count("weights train, from epoch") == 1
    assert (out / "evaluate-0.out").read_text().count("mean IoU") == 1
    for command in ("train", "evaluate"):
        assert [(out / f"{command}-1.{stream}").read_text() for stream in ("out", "err")] == ["", ""]


def test_gradients_are_those_of_one_process(out: Path, odd_pets: Path, tmp_path: Path) -> None:
    for run in two_processes.train_each_batch_size(odd_pets, tmp_path):
        other = out / run.path.name
        steps = [json.loads((path / "last" / "progress.json").read_text())["step"] for path in (run.path, other)]
        assert steps[0] == steps[1] == {7: 1, 3: 2}[run.config.batch_size]
        # Weights after a step of Adam hardly depend on the size of a gradient. Its state does: the running mean is a
        # tenth of the first gradient.
        expected, actual = (load_file(path / "last" / "optimizer.safetensors") for path in (run.path, other))
        names = [name for name in expected if name.endswith(("exp_avg", "exp_avg_sq"))]
        assert len(names) == 4, "weight and bias of the decoder"
        for name in names:
            scale = float(expected[name].abs().max())
            assert scale > 0
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-4 * scale)
        weights = [load_file(path / "last" / "model.safetensors") for path in (run.path, other)]
        for name, tensor in weights[0].items():
            torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_both_processes_end_when_the_time_is_over(out: Path) -> None:
    rows = pw.Run.open(out / "budget").read_metrics()
    assert rows and rows[-1]["val_miou"] is not None


def test_validation_is_that_of_one_process(run: pw.Run, odd_pets: Path) -> None:
    data = pw.load_dataset(odd_pets)
    _, val_records = make_train_val_split(data, run.config)
    predictor = Predictor.load_run(run.path)
    confusion = compute_confusion_matrix(predictor, val_records, data.read_spec, resolution="model")
    single = Metrics.from_confusion(confusion, data.classes, data.read_spec.task, len(val_records), "64x64")
    metrics = predictor.model.config.metrics
    # Half a batch can round differently: a pixel or two in thousands.
    assert metrics["val_accuracy"] == pytest.approx(single.accuracy, abs=1e-3)
    assert metrics["val_miou"] == pytest.approx(single.mean_iou, abs=1e-3)


def test_evaluation_is_that_of_one_process(out: Path, run: pw.Run, odd_pets: Path) -> None:
    two = json.loads((out / "two.json").read_text())
    evaluation = pw.evaluate(run, pw.load_dataset(odd_pets), device="cpu")
    single = evaluation.metrics
    assert two["images"] == single.image_count == 9
    expected, actual = torch.tensor(single.confusion), torch.tensor(two["confusion"])
    assert torch.equal(actual.sum(1), expected.sum(1))
    assert (actual - expected).abs().sum() <= expected.sum() / 5000
    assert two["miou"] == pytest.approx(single.mean_iou, abs=1e-4)
    assert two["intervals"]["miou"] == pytest.approx(evaluation.intervals.mean_iou, abs=1e-3)
    assert two["boundary"] == pytest.approx(evaluation.boundary, abs=2e-3)
    assert two["calibration"]["ece"] == pytest.approx(evaluation.calibration.error, abs=1e-3)
    rows = (out / "two.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [image.file for image in evaluation.images]
    files = {each["file"]: each["score"] for each in two["lowest_label_quality"]}
    assert files == pytest.approx({image.file: image.label_quality for image in evaluation.images}, abs=1e-3)
    assert (out / "two.html").exists()


@pytest.fixture(scope="module")
def damaged_results(out: Path) -> list[dict[str, Any]]:
    """Return what each process got from the evaluation of `damaged_pets`."""
    return [json.loads((out / f"damaged-{rank}.json").read_text()) for rank in (0, 1)]


def test_both_processes_return_the_result_of_one(
    damaged_results: list[dict[str, Any]], run: pw.Run, damaged_pets: Path
) -> None:
    first, second = damaged_results
    assert first | {"written": None} == second | {"written": None}
    assert (first["written"], second["written"]) == (True, False)
    data = pw.load_dataset(damaged_pets)
    expected = pw.evaluate(run, data, device="cpu", skip_unreadable=True, metrics=two_processes.METRICS)
    assert first["images"] == expected.metrics.image_count == len(data.test) - 3
    assert first["skipped"] == [str(error) for error in expected.skipped]
    assert np.array(first["confusion"]).sum(1).tolist() == np.array(expected.metrics.confusion).sum(1).tolist()
    # Batches of other images may round differently: one pixel in thousands.
    assert first["extra"] == pytest.approx(expected.extra, abs=2e-3)


def test_split_without_readable_images_raises_in_both_processes(
    damaged_results: list[dict[str, Any]], damaged_pets: Path
) -> None:
    bad = pw.load_dataset(damaged_pets).test[1].mask
    for result in damaged_results:
        assert "no image of the test split can be used" in result["error"]
        assert str(bad) in result["error"]


def test_processes_leave_the_group_before_they_end(out: Path) -> None:
    # Otherwise gloo's threads are still active when Python ends, which sometimes aborts the process.
    for rank in (0, 1):
        text = (out / f"group-{rank}.txt").read_text()
        assert text == "sum: 3, in a group: True\nat the end, in a group: False\n"


def test_more_processes_than_images_are_an_error(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = SimpleNamespace(world_size=4, is_global_zero=True, device=torch.device("cpu"))
    monkeypatch.setattr(trainer, "launch_fabric", lambda *_, **__: fabric)
    with pytest.raises(ConfigError, match=r"4 processes need at least one image each, but a batch has 3.*start fewer"):
        pw.train(pets, tmp_path / "run", batch_size=3, val_fraction=0.5)
