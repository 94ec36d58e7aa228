"""`predict_folder` on a local Ray cluster of two workers, of which one is killed half-way, also from and to S3."""

import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.errors import ConfigError
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import SegmentationModel
from tests.conftest import s3_variables
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves sockets and files open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[2]

COUNT = 40
"""Number of images. Two workers have three chunks of them."""

HEIGHT = 67
"""Height of the image whose worker is killed."""


class KilledOnce(Predictor):
    """A predictor whose first process with the image of `HEIGHT` is killed."""

    def __init__(self, model: SegmentationModel, marker: Path) -> None:
        super().__init__(model, "cpu", "32-true")
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return KilledOnce, (self.model, self.marker)

    def outputs(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        if any(image.shape[0] == HEIGHT for image in images) and not self.marker.exists():
            self.marker.write_text(str(os.getpid()), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().outputs(images)


@pytest.fixture(scope="module")
def two_workers(s3_server: str) -> Iterator[None]:
    """Start Ray with two CPU cores. The workers can use the local S3 server."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        for name, value in s3_variables(s3_server).items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # workers import the predictor of this module
        warnings.simplefilter("ignore")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="critical",
        )
    yield
    ray.shutdown()


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of each file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_worker_and_a_resumed_prediction_change_no_output(
    two_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images" / "b").mkdir(parents=True)
    for number in range(COUNT):
        folder = "images/b" if number % 3 else "images"
        Image.fromarray(make_image(60 + number, 80, number)).save(tmp_path / folder / f"{number:02}.png")
    (tmp_path / "images" / "05b.png").write_bytes((tmp_path / "images" / "03.png").read_bytes()[:200])
    monkeypatch.chdir(tmp_path)
    model, write = make_model(("pet", "background", "border")), ["mask", "overlay", "csv", "confidence"]
    local = Predictor(model, "cpu", "32-true")
    expected = predict_folder(local, ["images"], "local", write=write)
    predict_folder(local, ["images/06.png"], "ray", write=write)
    mask = tmp_path / "ray" / "06_mask.png"
    time = mask.stat().st_mtime_ns

    result = predict_folder(
        KilledOnce(model, tmp_path / "killed"), ["images"], "ray", write=write, engine="ray", resume=True
    )

    assert int((tmp_path / "killed").read_text(encoding="utf-8")) != os.getpid()
    assert (result.image_count, result.resumed) == (expected.image_count, 1) == (COUNT, 1)
    assert mask.stat().st_mtime_ns == time
    assert list(map(str, result.failed)) == list(map(str, expected.failed)) != []
    assert read_folder(tmp_path / "ray") == read_folder(tmp_path / "local")
    assert not list((tmp_path / "ray").rglob(".*"))  # the temporary directories of the killed worker are removed


def test_from_and_to_s3_with_a_killed_worker(two_workers: None, s3: str, tmp_path: Path) -> None:
    system, root = fsspec.core.url_to_fs(s3)

    def add(*numbers: int) -> None:
        for number in numbers:
            Image.fromarray(make_image(60 + number, 80, number)).save(tmp_path / "image.png")
            system.put_file(str(tmp_path / "image.png"), f"{root}/images/b/{number:02}.png")

    model, write = make_model(("pet", "background", "border")), ["mask", "overlay", "csv", "coco"]
    local = Predictor(model, "cpu", "32-true")
    add(3, 6)
    predict_folder(local, [f"{s3}/images/"], f"{s3}/masks", write=write)
    system.rm_file(f"{root}/masks/b/03_mask.png")
    add(*range(COUNT))
    system.pipe_file(f"{root}/images/05b.png", (tmp_path / "image.png").read_bytes()[:200])
    expected = predict_folder(local, [f"{s3}/images/"], tmp_path / "local", write=write)

    killed = KilledOnce(model, tmp_path / "killed")
    result = predict_folder(killed, [f"{s3}/images/"], f"{s3}/masks", write=write, engine="ray", resume=True)

    assert int((tmp_path / "killed").read_text(encoding="utf-8")) != os.getpid()
    assert (result.image_count, result.resumed) == (expected.image_count, 1) == (COUNT, 1)
    assert list(map(str, result.failed)) == list(map(str, expected.failed)) != []
    system.invalidate_cache()
    found = {file.removeprefix(f"{root}/masks/"): system.cat_file(file) for file in system.find(f"{root}/masks")}
    assert found == read_folder(tmp_path / "local")


def test_a_cluster_without_a_free_core_is_an_error(
    two_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(make_image()).save(tmp_path / "image.png")
    monkeypatch.setenv("PIXELWISE_RAY_SECONDS", "1")
    group = ray.util.placement_group([{"CPU": 2}])  # another job has all cores
    ray.get(group.ready(), timeout=120)
    local = Predictor(make_model(("pet", "background")), "cpu", "32-true")
    try:
        with pytest.raises(ConfigError, match=r"no free CPU core after 1 s \(nodes: 1, CPU cores: 2\); end other jobs"):
            predict_folder(local, [tmp_path / "image.png"], tmp_path / "out", engine="ray")
    finally:
        ray.util.remove_placement_group(group)
    assert not (tmp_path / "out").exists(), "nothing blocks the next call"
