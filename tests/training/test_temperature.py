"""The temperature that a training stores with its best model."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import pixelwise as pw
from pixelwise.models.model import SegmentationModel
from pixelwise.training.temperature import store_temperature


class DrawnMasks:
    """Images whose labels are drawn with the model's probabilities at a known temperature."""

    def __init__(self, run: pw.Run, pets: pw.DatasetIndex, temperature: float) -> None:
        self.read_spec = pets.read_spec
        predictor = pw.Predictor.load_run(run.path, "cpu", "32-true")
        generator = torch.Generator().manual_seed(0)
        self.items: list[tuple[Tensor, Tensor]] = []
        for record in pets.test[:4]:
            image = torch.nn.functional.interpolate(
                torch.from_numpy(pets.read(record)[0]).permute(2, 0, 1)[None], predictor.size
            )
            probabilities = (predictor.forward(image)[0] / temperature).softmax(0).flatten(1).T
            labels = torch.multinomial(probabilities, 1, generator=generator).view(predictor.size).byte()
            self.items.append((image[0], labels))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.items[index]


def test_it_is_fitted_and_stored_and_the_rest_of_the_model_is_kept(
    tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path
) -> None:
    run = pw.Run.open(shutil.copytree(tiny_run.path, tmp_path / "run"))
    before = SegmentationModel.load(run.path)
    images = DrawnMasks(run, pets, temperature=0.4)
    setup: Any = SimpleNamespace(
        datasets=((), images),
        fabric=SimpleNamespace(device=torch.device("cpu")),
        config=pw.Config(batch_size=3, precision="32-true"),
        pass_size=None,
    )
    store_temperature(run, setup)
    after = SegmentationModel.load(run.path)
    assert after.config.temperature == pytest.approx(0.4, rel=0.1)
    assert after.config.model_copy(update={"temperature": before.config.temperature}) == before.config
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])


def test_a_fit_within_a_time_uses_images_of_the_whole_split(
    tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path
) -> None:
    run = pw.Run.open(shutil.copytree(tiny_run.path, tmp_path / "run"))
    read: list[int] = []

    class Recorded(DrawnMasks):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            read.append(index)
            return super().__getitem__(index % 4)

        def __len__(self) -> int:
            return 40

    setup: Any = SimpleNamespace(
        datasets=((), Recorded(run, pets, temperature=0.4)),
        fabric=SimpleNamespace(device=torch.device("cpu")),
        config=pw.Config(batch_size=8, precision="32-true"),
        pass_size=None,
    )
    store_temperature(run, setup, max_seconds=0.0)
    assert len(read) == 8 and min(read) < 14 and max(read) > 26, "one batch, not the first files"
    assert SegmentationModel.load(run.path).config.temperature == pytest.approx(0.4, rel=0.15)


def test_it_is_fitted_in_parts_if_memory_runs_out(
    tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pw.Run.open(shutil.copytree(tiny_run.path, tmp_path / "run"))
    setup: Any = SimpleNamespace(
        datasets=((), DrawnMasks(run, pets, temperature=0.4)),
        fabric=SimpleNamespace(device=torch.device("cpu"), world_size=1),
        config=pw.Config(batch_size=4, precision="32-true"),
        model=SegmentationModel.load(run.path),
        optimizer=SimpleNamespace(zero_grad=lambda: None),
        graphs=None,
        pass_size=None,
    )
    forward = pw.Predictor.forward

    def limited(predictor: pw.Predictor, batch: Tensor) -> Tensor:
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(predictor, batch)

    monkeypatch.setattr(pw.Predictor, "forward", limited)
    store_temperature(run, setup)
    assert setup.pass_size == 2
    assert SegmentationModel.load(run.path).config.temperature == pytest.approx(0.4, rel=0.1)


def test_a_training_stores_it(tiny_run: pw.Run) -> None:
    config = SegmentationModel.load(tiny_run.path).config
    assert config.temperature != 1.0
    row = max(tiny_run.read_metrics(), key=lambda row: row["val_miou"] or 0)
    assert config.metrics == row


def test_it_scales_probabilities_and_keeps_masks(tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
    model = SegmentationModel.load(tiny_run.path)
    image, _ = pets.read(pets.test[0])
    predictions = []
    for temperature in (1.0, 5.0):
        model.set_temperature(temperature)
        predictions.append(pw.Predictor(model, "cpu")(image, probabilities=True))
    plain, hot = predictions
    assert (plain.mask == hot.mask).all()
    assert plain.probabilities is not None and hot.probabilities is not None
    expected = torch.from_numpy(plain.probabilities).log().div(5).softmax(0).numpy()
    assert hot.probabilities == pytest.approx(expected, abs=1e-5)
    assert hot.confidence.mean() < plain.confidence.mean()
