"""Damaged files of a run directory."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.errors import PixelwiseError
from pixelwise.inference.predictor import Predictor
from pixelwise.runs.run_dir import Run
from tests.chaos.damage import BYTES, damage_structure, damage_text
from tests.chaos.forks import check_in_forks
from tests.chaos.verdicts import Try, Verdict, judge_error

PART = "run files"

_IMAGE = np.zeros((20, 30, 3), np.uint8)


def _predict(folder: Path) -> object:
    return Predictor.load(folder, "cpu")(_IMAGE).mask.tobytes()


READERS: dict[str, Callable[[Path], object]] = {
    "model.json": _predict,
    "model.safetensors": _predict,
    "config.yaml": lambda folder: Run.open(folder).config,
    "data.yaml": lambda folder: Run.open(folder).read_dataset_spec(),
    "metrics.csv": lambda folder: Run.open(folder).read_metrics(),
    "last/progress.json": lambda folder: _checkpoint(folder),
    "last/model.safetensors": lambda folder: _checkpoint(folder),
    "last/optimizer.safetensors": lambda folder: _checkpoint(folder),
}
"""File of a run directory → a function of the directory that reads it."""


def _checkpoint(folder: Path) -> object:
    state = Run.open(folder).load_checkpoint()
    assert state is not None
    return state.epoch, state.step, {name: tensor.numpy().tobytes() for name, tensor in state.model.items()}


def damage_runs(root: Path, run: Path, tries: int, seed: int) -> Iterator[Try]:
    """Damage a file of a run directory and read it.

    Args:
        root: an empty folder.
        run: a finished run.
        tries: number of files.
        seed: random seed.
    """
    rng = random.Random(seed)
    names = [name for name in READERS for _ in range(1 if name.endswith(".safetensors") else 3)]
    expected = {name: read(run) for name, read in READERS.items()}
    kinds, checks = [], []
    for index in range(tries):
        name = rng.choice(names)
        path = run / name
        content, action = path.read_bytes(), rng.random()
        if path.suffix == ".safetensors" or action < 0.3:
            content = BYTES[rng.choice(list(BYTES))](rng, content)
        else:
            content = damage_text(rng, content) if action < 0.5 else damage_structure(rng, content, path.suffix)
        file = root / f"{index}.damaged"
        file.write_bytes(content)
        checks.append(partial(_check, root / f"{index}", run, name, file, expected[name]))
        kinds.append((name, f"{name}, try {index}"))
    for index, verdict, detail in check_in_forks(checks):
        yield Try(PART, kinds[index][0], verdict, f"{kinds[index][1]}: {detail}")


def _check(folder: Path, run: Path, name: str, damaged: Path, expected: object) -> tuple[Verdict, str]:
    for file in READERS:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(damaged if file == name else run / file, target)
    damaged.unlink()
    try:
        return (Verdict.READ, "") if READERS[name](folder) == expected else (Verdict.CHANGED, "")
    except PixelwiseError as error:
        return judge_error(error, str(folder))
    finally:
        shutil.rmtree(folder)
