"""The script that trains the model in the package."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import pixelwise as pw
from pixelwise.training.state import TrainState

SCRIPT = Path(__file__).parents[1] / "tools" / "pets_model.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pets_model", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_batch_norms_of_the_encoder_train(script: ModuleType, tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
    config = pw.Config(**script.SETTINGS)
    model = config.create_model(("pet", "background", "border"))
    script.TrainNorms().on_train_start(TrainState(tiny_run, pets, model, ()))
    model.train()
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).square().mean().backward()
    trained = {name for name, value in model.encoder.named_parameters() if value.grad is not None}
    norms = {name for name, module in model.encoder.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(norms) == 48
    assert trained == {f"{name}.{part}" for name in norms for part in ("weight", "bias")}


def test_the_settings_are_valid(script: ModuleType) -> None:
    assert pw.Config(**script.SETTINGS).eval_size == 320
