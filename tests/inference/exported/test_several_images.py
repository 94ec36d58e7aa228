"""Several images at a time: each has the mask that it has alone, computed by as many threads as there are CPUs."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pixelwise.errors import RunError
from pixelwise.inference.exported import exported_file
from pixelwise.inference.exported.onnx_file import OnnxFile
from pixelwise.inference.exported.predictor import ExportedPredictor
from tests.export.helpers import make_config, write_file
from tests.inference.helpers import make_image


@pytest.fixture(params=["model.onnx", "model.xml"])
def predictor(request: pytest.FixtureRequest, tmp_path: Path) -> ExportedPredictor:
    """Open a file of each kind."""
    return ExportedPredictor.load(write_file(tmp_path / request.param, make_config(), probabilities=True))


@pytest.mark.parametrize("cpus", [1, 2])
def test_they_are_those_of_single_images(
    predictor: ExportedPredictor, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_file, "available_cpus", lambda: cpus)
    images = [make_image(20 + index, 30 + 3 * index) for index in range(5)]
    used: list[tuple[str, bool]] = []
    compute = predictor.file.compute

    def recorded(image: Any, names: Any, one_thread: bool) -> Any:
        used.append((threading.current_thread().name, one_thread))
        return compute(image, names, one_thread)

    monkeypatch.setattr(predictor.file, "compute", recorded)
    results = predictor.predict_batch(images, probabilities=True)
    assert len(used) == 5 and all(one_thread == (cpus > 1) for _, one_thread in used)
    assert all((name == threading.current_thread().name) == (cpus == 1) for name, _ in used)
    for image, result in zip(images, results, strict=True):
        alone = predictor(image, probabilities=True)
        assert_array_equal(result.mask, alone.mask)
        assert result.probabilities is not None and alone.probabilities is not None
        assert_allclose(result.probabilities, alone.probabilities, atol=1e-6)


def test_those_of_a_program_of_torch_are_computed_by_the_calling_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_file, "available_cpus", lambda: 2)
    predictor = ExportedPredictor.load(write_file(tmp_path / "model.pt2", make_config()))
    images = [make_image(20 + index, 30 + 3 * index) for index in range(3)]
    threads = torch.get_num_threads()
    results = predictor.predict_batch(images)
    assert torch.get_num_threads() == threads
    for image, result in zip(images, results, strict=True):
        assert_array_equal(result.mask, predictor(image).mask)


def test_a_file_that_was_replaced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_file, "available_cpus", lambda: 2)
    path = write_file(tmp_path / "model.onnx", make_config())
    file = OnnxFile(path)
    images = [np.zeros((4, 4, 3), np.uint8)] * 2
    write_file(tmp_path / "other.onnx", make_config(classes=2)).replace(path)
    with pytest.raises(RunError, match=r"model\.onnx: was replaced while it was in use"):
        file.run_all(images)
    assert len(OnnxFile(path).run_all(images)) == 2
