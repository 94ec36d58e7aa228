"""A tiny real data set on disk, in Oxford-IIIT Pet's own layout, drawn once for all tests."""

import os
import tempfile
from pathlib import Path

import pytest
import torch

import pixelwise as pw
from pixelwise.data.drawn import draw_dataset

# Prepared photos go to a folder of this test run's own, which goes with it.
_CACHE = tempfile.TemporaryDirectory(prefix="pixelwise-tests-")
os.environ["PIXELWISE_CACHE"] = _CACHE.name

# Two test runs or a busy machine must not make tiny tensors wait for each other's threads.
torch.set_num_threads(1)

TINY = {"size": 64, "epochs": 2, "batch_size": 4, "encoder_weights": "none", "freeze_encoder": True, "samples": 2}
"""Settings of a training of a few seconds; the encoder is frozen at random, so that only the decoder learns."""


@pytest.fixture(scope="session")
def pets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 10 test scenes of about 96x72 pixels, two kinds of animal a split at least."""
    return draw_dataset(tmp_path_factory.mktemp("data") / "oxford-iiit-pet", train=12, test=10, size=(96, 72))


@pytest.fixture(scope="session")
def pets(pets_folder: Path) -> pw.Dataset:
    """`pets_folder` as a data set."""
    return pw.load_dataset(pets_folder)


@pytest.fixture(scope="session")
def tiny_run(pets: pw.Dataset, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    """A finished training of `TINY` on `pets`. Read it only: copy it to change it."""
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "tiny", **TINY)


@pytest.fixture(scope="session")
def real_pets() -> pw.Dataset:
    """The real photos, where PIXELWISE_DATA says that they are on this machine."""
    root = os.environ.get("PIXELWISE_DATA")
    if not root or not (Path(root) / "oxford-iiit-pet").is_dir():
        pytest.skip("needs PIXELWISE_DATA, a folder that holds oxford-iiit-pet/")
    return pw.load_dataset(Path(root) / "oxford-iiit-pet")
