"""Fixtures that many tests share: a tiny data set on disk, a finished run on it, files of version 0.1, an S3 server."""

import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

import pixelwise as pw
from pixelwise.data.demo.synthetic import draw_dataset

if sys.platform == "win32":
    # Windows has no named pipes, users with numbers, or file locks by fcntl. Tests that need them are skipped.
    def _skip(*_: object) -> None:
        pytest.skip("not on Windows")

    os.mkfifo = os.geteuid = _skip
    collect_ignore = ["chaos"]

# The image cache of this test run. It is removed at the end.
_CACHE = tempfile.TemporaryDirectory(prefix="pixelwise-tests-")
os.environ["PIXELWISE_CACHE"] = _CACHE.name

# Some tests import onnxruntime, which would send data about its use.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Tensors in tests are tiny: with several threads they wait for each other. The processes that tests start inherit this.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

TINY: dict[str, Any] = {
    "image_size": 64,
    "epochs": 2,
    "batch_size": 4,
    "encoder_weights": "none",
    "encoder_training": "none",
    "optimizer": "adamw",
    "sample_predictions": 2,
}
"""Settings of a training of a few seconds. The encoder is random and frozen: only the decoder learns.

After so few steps, many pixels are between two classes. Tests that compare the masks of two programs depend on their
number, which is smaller with AdamW than with Muon.
"""


@pytest.fixture(scope="session")
def pets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 12 training and 10 test images of about 96x72 pixels, with at least two kinds of animal in each split."""
    return draw_dataset(tmp_path_factory.mktemp("data") / "oxford-iiit-pet", train=12, test=10, size=(96, 72))


@pytest.fixture(scope="session")
def pets(pets_folder: Path) -> pw.DatasetIndex:
    """Load `pets_folder`."""
    return pw.load_dataset(pets_folder)


@pytest.fixture(scope="session")
def tiny_run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    """Train with `TINY` on `pets` once. Tests that change the run copy it first."""
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "tiny", **TINY)


@pytest.fixture(scope="session")
def real_pets() -> pw.DatasetIndex:
    """Load the real Oxford-IIIT Pet images from the folder that PIXELWISE_DATA names; skip without it."""
    root = os.environ.get("PIXELWISE_DATA")
    if not root or not (Path(root) / "oxford-iiit-pet").is_dir():
        pytest.skip("needs PIXELWISE_DATA, a folder that holds oxford-iiit-pet/")
    return pw.load_dataset(Path(root) / "oxford-iiit-pet")


@pytest.fixture
def version_0_1(tmp_path: Path) -> Path:
    """Unpack files that version 0.1 wrote: dataset/, plan.yaml, run/, cache/, and its predictions in expected/."""
    with tarfile.open(Path(__file__).parent / "fixtures" / "version-0.1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "version-0.1"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start a local S3 server and return its URL."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def s3_variables(server: str) -> dict[str, str]:
    """Return the variables of the environment with the address of the local S3 server and keys."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a URL in an empty bucket of the local S3 server. The environment has its address and keys."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in s3_variables(s3_server).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield "s3://bucket/pets"
    system.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[str]:
    """Return a URL in an empty in-memory file system of fsspec."""
    system = fsspec.filesystem("memory")

    def clear() -> None:
        system.store.clear()
        system.pseudo_dirs[:] = [""]  # its folders, which exist without files

    clear()
    yield "memory://bucket/pets"
    clear()
