"""Two processes started by torchrun, with gloo on the CPU: one run, and the metrics and gradients of one process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

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
from pixelwise.training.data import make_train_val_split
from tests.integration import ddp_training

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


class Trained(NamedTuple):
    """A run, and the output of the command that made it."""

    run: pw.Run
    output: subprocess.CompletedProcess[str]


def torchrun(
    arguments: Sequence[str | Path], folder: Path, program: Sequence[str | Path] = ("-m", "pixelwise")
) -> subprocess.CompletedProcess[str]:
    """Run the command line, or another program, in two processes. --standalone finds a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    return subprocess.run(
        [*command, *map(str, program), *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def odd_pets(pets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the data set with odd numbers of images: 7 for training, 5 for validation, and 9 test images."""
    folder = tmp_path_factory.mktemp("odd") / "oxford-iiit-pet"
    shutil.copytree(pets_folder, folder)
    file = folder / "annotations" / "test.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    return folder


@pytest.fixture(scope="module")
def trained(odd_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train with two processes and batches of 2, so that one process validates more batches than the other."""
    folder = tmp_path_factory.mktemp("together")
    settings = {
        "preset": "default", "encoder": "test_efficientnet", "encoder-weights": "none", "size": 64, "epochs": 2,
        "batch-size": 2, "precision": "32-true", "device": "cpu", "val-fraction": 0.3, "lr": 0.01,
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    output = torchrun(["train", odd_pets, "--out", folder / "run", *flags], folder)
    assert output.returncode == 0, output.stderr[-3000:]
    return Trained(pw.Run.open(folder / "run"), output)


def test_one_run_is_written(trained: Trained, odd_pets: Path) -> None:
    run, output = trained
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    assert len(list(run.tensorboard_folder.iterdir())) == 1
    assert len(list((run.path / "samples").iterdir())) == 3
    train_records, val_records = make_train_val_split(pw.load_dataset(odd_pets), run.config)
    # One process validates two batches, the other one.
    assert (len(train_records), len(val_records)) == (7, 5)
    # The global batch is that of one process, so an epoch has as many steps.
    steps = len(EpochSampler(len(train_records), 2, run.config.seed, 0, 2))
    assert [row["step"] for row in run.read_metrics()] == [steps, 2 * steps]
    # Only one process prints.
    assert output.stdout.count("best: epoch") == 1
    assert output.stdout.count("epoch 1/2") == 1
    assert output.stderr.count("weights train, from epoch") == 1


@pytest.fixture(scope="module")
def two_process_runs(odd_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run ddp_training.py in two processes, and return the directory of its output."""
    folder = tmp_path_factory.mktemp("two")
    output = torchrun([odd_pets, folder], folder, [Path(ddp_training.__file__)])
    assert output.returncode == 0, output.stderr[-3000:]
    return folder


def test_gradients_are_those_of_one_process(two_process_runs: Path, odd_pets: Path, tmp_path: Path) -> None:
    for run in ddp_training.train_each_batch_size(odd_pets, tmp_path):
        other = two_process_runs / run.path.name
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


def test_validation_is_that_of_one_process(trained: Trained, odd_pets: Path) -> None:
    data = pw.load_dataset(odd_pets)
    _, val_records = make_train_val_split(data, trained.run.config)
    predictor = Predictor.load(trained.run.path)
    confusion = compute_confusion_matrix(predictor, val_records, data.read_spec, resolution="model")
    single = Metrics.from_confusion(confusion, data.classes, data.read_spec.task, len(val_records), "64x64")
    metrics = predictor.model.config.metrics
    # Half a batch can round differently: a pixel or two in thousands.
    assert metrics["val_accuracy"] == pytest.approx(single.accuracy, abs=1e-3)
    assert metrics["val_miou"] == pytest.approx(single.mean_iou, abs=1e-3)


def test_evaluation_is_that_of_one_process(trained: Trained, odd_pets: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.json"
    output = torchrun(["evaluate", trained.run.path, odd_pets, "--out", out, "--device", "cpu"], tmp_path)
    assert output.returncode == 0, output.stderr[-3000:]
    two = json.loads(out.read_text())
    single = pw.evaluate(trained.run, pw.load_dataset(odd_pets), device="cpu").metrics
    assert two["images"] == single.image_count == 9
    expected, actual = torch.tensor(single.confusion), torch.tensor(two["confusion"])
    assert torch.equal(actual.sum(1), expected.sum(1))
    assert (actual - expected).abs().sum() <= expected.sum() / 5000
    assert two["miou"] == pytest.approx(single.mean_iou, abs=1e-4)
    assert output.stdout.count("mean IoU") == 1


def test_processes_leave_the_group_before_they_end(two_process_runs: Path) -> None:
    # Otherwise gloo's threads are still active when Python ends, which sometimes aborts the process.
    for rank in (0, 1):
        text = (two_process_runs / f"rank-{rank}.txt").read_text()
        assert text == "sum: 3, in a group: True\nat the end, in a group: False\n"


def test_more_processes_than_images_are_an_error(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = SimpleNamespace(world_size=4, is_global_zero=True, device=torch.device("cpu"))
    monkeypatch.setattr(trainer, "launch_fabric", lambda *_: fabric)
    with pytest.raises(ConfigError, match=r"4 processes need at least one image each, but a batch has 3.*start fewer"):
        pw.train(pets, tmp_path / "run", batch_size=3, val_fraction=0.5)
