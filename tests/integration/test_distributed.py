"""Two processes that torchrun starts, with gloo on the CPU: one run, one set of figures."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import pixelwise as pw
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import ConfigError
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.confusion import Metrics
from pixelwise.training.trainer import make_train_val_split


def torchrun(
    arguments: Sequence[str | Path], folder: Path, program: Sequence[str | Path] = ("-m", "pixelwise")
) -> subprocess.CompletedProcess[str]:
    """Two processes of the command line, or of another program; --standalone finds a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, program), *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def odd_pets(pets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training images, of which 5 are held back and 7 are not, and 9 test images: no number is even."""
    folder = tmp_path_factory.mktemp("odd") / "oxford-iiit-pet"
    shutil.copytree(pets_folder, folder)
    file = folder / "annotations" / "test.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    return folder


@pytest.fixture(scope="module")
def trained(
    odd_pets: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pw.Run, subprocess.CompletedProcess[str]]:
    """Trained by two processes, with batches of 2, so that one process validates more batches than the other."""
    folder = tmp_path_factory.mktemp("together")
    settings = {
        "encoder": "test_efficientnet", "encoder-weights": "none", "size": 64, "epochs": 2, "batch-size": 2,
        "precision": "float32", "device": "cpu", "validation-fraction": 0.3, "lr": 0.01,
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    done = torchrun(["train", odd_pets, "--out", folder / "run", *flags], folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return pw.Run.open(folder / "run"), done


def test_one_run_is_written(trained: tuple[pw.Run, subprocess.CompletedProcess[str]], odd_pets: Path) -> None:
    run, done = trained
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    assert len(list(run.tensorboard_folder.iterdir())) == 1
    assert len(list((run.path / "samples").iterdir())) == 3
    kept, held = make_train_val_split(pw.load_dataset(odd_pets), run.config)
    assert (len(kept), len(held)) == (7, 5), "one process validates two batches, the other one, or this shows little"
    # The global batch is that of one process: so many steps an epoch.
    steps = len(EpochSampler(len(kept), 2, run.config.seed, 0, 2))
    assert [row["step"] for row in run.read_metrics()] == [steps, 2 * steps]
    # Each thing is said once, not once a process.
    assert done.stdout.count("best: epoch") == 1
    assert done.stdout.count("epoch 1/2") == 1


def test_validation_is_that_of_one_process(
    trained: tuple[pw.Run, subprocess.CompletedProcess[str]], odd_pets: Path
) -> None:
    run, _ = trained
    data = pw.load_dataset(odd_pets)
    _, held = make_train_val_split(data, run.config)
    predictor = Predictor.load(run.path)
    confusion = compute_confusion_matrix(predictor, held, data.read_spec, resolution="model")
    alone = Metrics.from_confusion(confusion, data.classes, MULTICLASS, len(held), "64x64")
    card = predictor.model.config.metrics
    # Half a batch may round otherwise: a pixel or two in thousands.
    assert card["val_accuracy"] == pytest.approx(alone.accuracy, abs=1e-3)
    assert card["val_miou"] == pytest.approx(alone.mean_iou, abs=1e-3)


def test_evaluation_is_that_of_one_process(
    trained: tuple[pw.Run, subprocess.CompletedProcess[str]], odd_pets: Path, tmp_path: Path
) -> None:
    run, _ = trained
    data = pw.load_dataset(odd_pets)
    done = torchrun(["evaluate", run.path, odd_pets, "--out", tmp_path / "two.json", "--device", "cpu"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    together = json.loads((tmp_path / "two.json").read_text())
    alone = pw.evaluate(run, data, device="cpu").metrics
    assert together["images"] == alone.image_count == 9
    rows = [sum(row) for row in alone.confusion]
    assert [sum(row) for row in together["confusion"]] == rows
    difference = sum(
        abs(a - b)
        for ours, theirs in zip(together["confusion"], alone.confusion, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )
    assert difference <= sum(rows) / 5000
    assert together["miou"] == pytest.approx(alone.mean_iou, abs=1e-4)
    assert done.stdout.count("mean IoU") == 1


LEAVES = """
import atexit
import os
from pathlib import Path

import torch
import torch.distributed as together

def tell(text):
    with Path(f"told-{os.environ['RANK']}.txt").open("a") as file:
        file.write(f"{text}\\n")

# What is registered first runs last.
atexit.register(lambda: tell(f"at the end: {together.is_initialized()}"))

from pixelwise.runtime.distributed import launch_fabric, all_reduce_sum

fabric = launch_fabric("cpu")
total = int(all_reduce_sum(fabric, torch.tensor(fabric.global_rank + 1)))
tell(f"sum: {total}, {together.is_initialized()}")
"""


def test_a_process_leaves_the_group_before_it_ends(tmp_path: Path) -> None:
    # Else gloo's threads are still at work when Python ends, which aborts the process now and then.
    program = tmp_path / "leaves.py"
    program.write_text(LEAVES)
    done = torchrun([], tmp_path, [program])
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        assert (tmp_path / f"told-{rank}.txt").read_text() == "sum: 3, True\nat the end: False\n"


@pytest.mark.parametrize(("length", "batch"), [(7, 4), (11, 4), (9, 3), (16, 16), (5, 16), (301, 64)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_image_once_an_epoch_and_the_same_global_batches(length: int, batch: int, processes: int) -> None:
    samplers = [EpochSampler(length, batch, seed=3, rank=rank, world_size=processes) for rank in range(processes)]
    orders = []
    for epoch in (0, 1):
        for sampler in samplers:
            sampler.epoch = epoch
        parts = [list(sampler) for sampler in samplers]
        assert len({len(part) for part in parts}) == 1, "a process with fewer steps would leave the others waiting"
        assert all(len(own) >= (2 if min(length, batch) >= 2 * processes else 0) for part in parts for own in part)
        shown = [index for part in parts for own in part for index, _ in own]
        assert sorted(shown) == list(range(length))
        orders.append(shown)
        # Together they are the batches of one process, images and augmentation alike.
        for number, whole in enumerate(samplers[0].global_batches()):
            assert sorted(draw for part in parts for draw in part[number]) == sorted(whole)
        assert all(len(sampler) == len(parts[0]) for sampler in samplers)
    assert length < 6 or orders[0] != orders[1]


def test_more_processes_than_images_are_told(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = importlib.import_module("pixelwise.training.trainer")  # `pw.train` is the function
    monkeypatch.setattr(loop, "launch_fabric", lambda *_: SimpleNamespace(world_size=4, is_global_zero=True))
    with pytest.raises(ConfigError, match=r"4 processes need an image each, but a batch has 3.*start fewer"):
        pw.train(pets, tmp_path / "run", batch_size=3, validation_fraction=0.5)
