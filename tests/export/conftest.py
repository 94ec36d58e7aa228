"""One export of a run, which several tests read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelwise.export import export, parity
from pixelwise.export.export import ExportResult, export_model
from pixelwise.inference.predictor import Predictor
from tests.inference.conftest import make_model

SMALL_SIZES = {"one pixel": (1, 1), "one row": (1, 300), "large": (300, 400)}


@pytest.fixture(scope="package")
def small_sizes() -> Iterator[None]:
    """Measure small images only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "ODD_SIZES", SMALL_SIZES)
        patch.setattr(export, "SIZES", ((24, 32), (30, 20)))
        yield


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a model of random weights."""
    path = tmp_path_factory.mktemp("run")
    make_model(("pet", "background", "border")).save(path, {"val_miou": 0.75})
    return path


@pytest.fixture(scope="package")
def exported(small_sizes: None, run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Return an export of the run, with probabilities."""
    return export_model(run, tmp_path_factory.mktemp("exported") / "model.onnx", probabilities=True)


@pytest.fixture(scope="package")
def predictor(run: Path) -> Predictor:
    """Predict with the run, on the CPU in float32."""
    return Predictor.load_run(run, "cpu", "32-true")
