"""Training, evaluation and prediction on a CUDA device. Skipped without one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.training.callbacks import Callback
from pixelwise.training.state import TrainState

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.integration,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SETTINGS: dict[str, Any] = {
    "encoder": "test_efficientnet", "encoder_weights": "none", "image_size": 64, "batch_size": 4, "epochs": 2,
    "lr": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    return pw.train(pets, tmp_path_factory.mktemp("cuda") / "run", device="cuda", **SETTINGS)


def test_auto_is_cuda() -> None:
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:0").index == 0


@pytest.mark.parametrize("precision", ["auto", "bf16-mixed", "32-true"])
def test_bfloat16_is_chosen_by_the_hardware(precision: str) -> None:
    device = torch.device("cuda")
    supported = torch.cuda.get_device_capability() >= (8, 0)
    expected = {"auto": supported, "bf16-mixed": True, "32-true": False}[precision]
    assert use_bfloat16(device, precision) is expected
    fabric = launch_fabric("cuda", precision)
    layer = torch.nn.Linear(8, 8).to(fabric.device)
    with fabric.autocast():
        output = layer(torch.zeros(1, 8, device=fabric.device))
    assert output.dtype == (torch.bfloat16 if expected else torch.float32)


def test_the_encoder_trains_from_the_start(run: pw.Run) -> None:
    config = pw.Run.open(run.path).config
    assert (config.encoder_training, config.freeze_depthwise, config.freeze_batchnorm) == ("all", False, False)


def test_training_is_on_the_device_and_all_drawings_are_made(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Devices(Callback):
        def on_step_end(self, state: TrainState) -> None:
            assert state.loss is not None
            devices.add(state.loss.device.type)
            devices.add(next(state.model.parameters()).device.type)

    devices: set[str] = set()
    run = pw.train(pets, tmp_path / "run", callbacks=[Devices()], device="cuda", **SETTINGS | {"epochs": 1})
    assert devices == {"cuda"}
    assert (run.path / "samples.gif").is_file() and (run.path / "architecture.png").is_file()
    assert not any("not drawn" in message for message in caplog.messages)


def test_evaluation_equals_that_on_the_cpu(run: pw.Run, pets: pw.DatasetIndex) -> None:
    cuda, cpu = (pw.evaluate(run, pets, device=device).metrics for device in ("cuda", "cpu"))
    assert cuda.image_count == cpu.image_count
    difference = np.abs(np.array(cuda.confusion) - np.array(cpu.confusion)).sum()
    assert difference <= 0.005 * np.sum(cpu.confusion)


def test_a_prediction_equals_that_on_the_cpu(run: pw.Run, pets: pw.DatasetIndex) -> None:
    image = Path(str(pets.test[0].image))
    cuda, cpu = (pw.Predictor.load(run.path, device)(image).mask for device in ("cuda", "cpu"))
    assert cuda.shape == cpu.shape and (cuda != cpu).mean() < 0.01


@pytest.mark.parametrize(("first", "second"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_resume_on_another_device(pets: pw.DatasetIndex, tmp_path: Path, first: str, second: str) -> None:
    settings = SETTINGS | {"encoder_weights": None, "encoder": "tf_efficientnet_lite0", "defaults": False}
    started = pw.train(pets, tmp_path / "run", device=first, **settings)
    run = pw.train(pets, tmp_path / "run", device=second, resume=True, epochs=4, defaults=False)
    assert len(run.read_metrics()) == 4
    assert run.config.encoder_training == started.config.encoder_training
    assert run.config.freeze_depthwise == (first == "cpu")


def test_a_repeated_training_gives_nearly_the_same_metrics(pets: pw.DatasetIndex, tmp_path: Path, run: pw.Run) -> None:
    again = pw.train(pets, tmp_path / "run", device="cuda", defaults=False, **SETTINGS)
    for row, other in zip(run.read_metrics(), again.read_metrics(), strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.02)
