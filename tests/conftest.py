"""What many tests share: a tiny real data set on disk, drawn once; a finished run on it; an S3 server."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch

import pixelwise as pw
from pixelwise.data.demo.synthetic import draw_dataset

# Prepared images go to a folder of this test run's own, which goes with it.
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
def pets(pets_folder: Path) -> pw.DatasetIndex:
    """`pets_folder` as a data set."""
    return pw.load_dataset(pets_folder)


@pytest.fixture(scope="session")
def tiny_run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    """A finished training of `TINY` on `pets`. Read it only: copy it to change it."""
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "tiny", **TINY)


@pytest.fixture(scope="session")
def real_pets() -> pw.DatasetIndex:
    """The real images, where PIXELWISE_DATA says that they are on this machine."""
    root = os.environ.get("PIXELWISE_DATA")
    if not root or not (Path(root) / "oxford-iiit-pet").is_dir():
        pytest.skip("needs PIXELWISE_DATA, a folder that holds oxford-iiit-pet/")
    return pw.load_dataset(Path(root) / "oxford-iiit-pet")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server on this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL in an empty bucket of a local S3 server, found by the environment alone."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield "s3://bucket/pets"
    system.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL in fsspec's memory, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://bucket/pets"
    system.store.clear()
