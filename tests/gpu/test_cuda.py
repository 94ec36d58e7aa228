"""Training, evaluation and prediction on a CUDA device. Skipped without one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.image_versions import RandomFlip
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.errors import is_out_of_memory
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.training.callbacks import Callback
from pixelwise.training.resident import ResidentImages
from pixelwise.training.state import TrainState
from pixelwise.training.step_graphs import StepGraphs

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


# --- CUDA graphs of the steps


class Network(torch.nn.Module):
    """A convolution, a batch norm and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.BatchNorm2d(8),
            torch.nn.Dropout(0.2),
            torch.nn.Conv2d(8, 2, 1),
        )

    def add_gradients(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.layers(images.float() / 255), masks.long())
        loss.backward()
        return loss.detach()


def make_step() -> tuple[Network, StepGraphs, torch.Tensor, torch.Tensor]:
    """Return a network on the device, its graphs, and four images with their masks."""
    network = Network().cuda()
    images, masks = torch.zeros(4, 3, 16, 16).cuda(), torch.zeros(4, 16, 16, dtype=torch.uint8).cuda()
    return network, StepGraphs(list(network.parameters())), images, masks


def train_network(graphs: bool, count: int = 8) -> tuple[Network, list[float], StepGraphs]:
    """Train with batches of eight images, each third one of five. Return the losses and the graphs."""
    network = Network().cuda()
    captured = StepGraphs(list(network.parameters()))
    captured.enabled = graphs
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, fused=True)
    torch.manual_seed(1)
    losses = []
    for step in range(count):
        size = 5 if step % 3 == 2 else 8
        images = torch.randint(0, 256, (size, 3, 16, 16), dtype=torch.uint8).cuda()
        masks = torch.randint(0, 2, (size, 16, 16), dtype=torch.uint8).cuda()
        losses.append(float(captured.run(network.add_gradients, images, masks)))
        optimizer.step()
        optimizer.zero_grad()
    return network, losses, captured


def test_steps_in_graphs_have_the_results_of_steps_without() -> None:
    network, losses, graphs = train_network(True, 12)
    other, expected, _ = train_network(False, 12)
    assert graphs.enabled and len(graphs._graphs) == 2
    assert losses == pytest.approx(expected, rel=1e-4)
    for one, two in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fault", ["waits", "fails"])
def test_steps_that_cannot_be_captured_are_computed_without_graphs(fault: str) -> None:
    def add_gradients(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        loss = network.add_gradients(images, masks)
        if fault == "waits":
            loss.item()
        elif torch.cuda.is_current_stream_capturing():
            raise RuntimeError("operation not permitted when stream is capturing")
        return loss

    network, graphs, images, masks = make_step()
    for step in range(4):
        graphs.run(add_gradients, images, masks)
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert graphs.enabled == (fault == "fails" and step < 2)
        network.zero_grad()


def test_memory_that_runs_out_in_a_capture_is_reported() -> None:
    def add_gradients(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        loss = network.add_gradients(images, masks)
        if torch.cuda.is_current_stream_capturing():
            torch.empty(2**45, device="cuda")
        return loss

    network, graphs, images, masks = make_step()
    for _ in range(2):
        graphs.run(add_gradients, images, masks)
        network.zero_grad()
    with pytest.raises(RuntimeError) as raised:
        graphs.run(add_gradients, images, masks)
    assert is_out_of_memory(raised.value)
    graphs.clear()
    network.add_gradients(images, masks)


def test_a_training_uses_graphs_and_a_changed_frozen_weight_makes_another(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Change(Callback):
        def on_epoch_start(self, state: TrainState) -> None:
            if state.epoch == 4:
                with torch.no_grad():
                    for weight in state.model.encoder.parameters():
                        weight.mul_(1.5)

    def run(name: str) -> list[Any]:
        settings = SETTINGS | {"epochs": 8, "encoder_training": "none", "augmentation": "flip"}
        trained = pw.train(pets, tmp_path / name, callbacks=[Change()], device="cuda", defaults=False, **settings)
        return [row["train_loss"] for row in trained.read_metrics()]

    def count_captures(*args: Any) -> bool:
        captures.append(capture(*args))
        return captures[-1]

    captures: list[bool] = []
    capture = StepGraphs._capture
    monkeypatch.setattr(StepGraphs, "_capture", count_captures)
    losses = run("graphs")
    assert captures and all(captures)
    monkeypatch.setattr("pixelwise.training.setup._make_graphs", lambda *args: None)
    assert losses == pytest.approx(run("separate"), rel=0.02)
    monkeypatch.setattr("pixelwise.training.setup.make_resident_images", lambda *args: None)
    assert losses == pytest.approx(run("without tables"), rel=0.02)


# --- images and features in the memory of the device


@pytest.mark.parametrize("encoder_training", ["none", "all"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_with_tables_has_the_losses_of_one_without(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder_training: str, accumulate: int
) -> None:
    def run(name: str) -> list[Any]:
        trained = pw.train(
            pets, tmp_path / name, preset="tutorial", encoder_weights="none", encoder_training=encoder_training,
            image_size=64, batch_size=8, accumulate=accumulate, epochs=6, device="cuda", defaults=False,
        )  # fmt: skip
        return [row["train_loss"] for row in trained.read_metrics()]

    def record(resident: ResidentImages, sampler: Any) -> Any:
        kinds.append("images" if resident.features is None else "features")
        return batches(resident, sampler)

    kinds: list[str] = []
    batches = ResidentImages.batches
    monkeypatch.setattr(ResidentImages, "batches", record)
    losses = run("tables")
    assert kinds == ["features" if encoder_training == "none" else "images"] * 6
    monkeypatch.setattr("pixelwise.training.setup.make_resident_images", lambda *args: None)
    assert losses == pytest.approx(run("loader"), rel=0.02)
    assert len(kinds) == 6


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_batches_of_row_numbers_do_not_make_the_process_wait(pets: pw.DatasetIndex) -> None:
    transform = build_transform("flip", 64)
    assert isinstance(transform, RandomFlip)
    images = SegmentationDataset(pets.train, pets.read_spec, 64, transform)
    fabric = launch_fabric("cuda", "32-true")
    config = pw.Config.from_preset("tutorial", encoder_weights="none", encoder_training="none", image_size=64)
    model = config.create_model(pets.classes).to(fabric.device)
    model.encoder.freeze("none")
    resident = ResidentImages(images, transform, model.train(), config, fabric)
    assert resident.update() and resident.features is not None
    sampler = EpochSampler(len(images), 5, 0)
    expected = [collate(images.__getitems__(draws)) for draws in sampler]
    list(resident.batches(sampler))  # the first pinned memory is allocated
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = [(resident.features(rows), masks) for rows, masks in resident.batches(sampler)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (features, masks), (other_images, other_masks) in zip(made, expected, strict=True):
        assert torch.equal(masks.cpu(), other_masks)
        with torch.no_grad():
            encoded = model.encode(other_images.to(fabric.device))
        for feature, other in zip(features, encoded, strict=True):
            # Convolutions in TF32, with another batch size and so other kernels.
            assert (feature - other).norm() < 0.01 * other.norm()
