"""Stages of a model: their shapes are the model's, their parameters add up."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelwise.config import Config
from pixelwise.models.decoders import DECODERS
from pixelwise.models.decoders.fpn import FPNDecoder
from pixelwise.models.decoders.pix2pix import Pix2PixDecoder
from pixelwise.models.model import SegmentationModel
from pixelwise.reporting.model_summary import summarize_model

ENCODERS: dict[str, dict[str, Any]] = {
    "efficientnet": {"encoder": "tf_efficientnet_lite0"},
    "resnet": {"encoder": "resnet18"},
    "convnext": {"encoder": "convnext_atto"},
    "vit": {"encoder": "vit_tiny_patch16_224"},
    "swin": {"encoder": "swin_tiny_patch4_window7_224"},
    "layers": {
        "encoder": "mobilenetv2_100",
        "encoder_layers": ("blocks.1.0.bn1", "blocks.3.0.bn1", "blocks.6.0.conv_pwl"),
    },
    "convnext layers": {"encoder": "convnext_atto", "encoder_layers": ("stages.0", "stages.2", "stages.3")},
}


def build(decoder: str = "fpn", preset: str = "default", **settings: Any) -> SegmentationModel:
    torch.manual_seed(0)
    merged: dict[str, Any] = {"encoder_weights": "none", "image_size": 64, "decoder": decoder} | settings
    return Config.from_preset(preset, **merged).create_model(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 9, 9)))


@pytest.mark.parametrize("decoder", ["fpn", "pix2pix"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_shapes_are_those_of_the_model_and_parameters_add_up(encoder: str, decoder: str) -> None:
    model = build(decoder, **ENCODERS[encoder])
    stages = summarize_model(model)
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        features = model.encoder(torch.zeros(1, 3, 64, 64))
    encoded = [stage for stage in stages if stage.kind == "encoder"]
    assert [stage.shape for stage in encoded] == [tuple(feature.shape[1:]) for feature in features]
    assert [stage.name for stage in encoded] == list(model.encoder.feature_names)
    assert all(stage.parameters > 0 for stage in encoded[:1])
    assert stages[0].shape == stages[1].shape == (3, 64, 64)
    assert stages[-1].shape == (3, 64, 64)
    decoded = [stage for stage in stages if stage.kind == "decoder"]
    assert isinstance(model.decoder, FPNDecoder | Pix2PixDecoder)
    assert len(decoded) == len(model.decoder.stages)
    # Each feature that the logits depend on is a skip connection once, except the deepest.
    leaves = [feature.clone().requires_grad_() for feature in features]
    model.decoder(leaves, (64, 64)).square().sum().backward()
    used = [name for name, leaf in zip(model.encoder.feature_names, leaves, strict=True) if leaf.grad is not None]
    drawn = [stage.skip_from for stage in decoded if stage.skip_from is not None]
    assert used[-1] == model.encoder.feature_names[-1]
    assert sorted(drawn) == sorted(used[:-1])


def test_the_stages_of_the_tutorial() -> None:
    model = build("pix2pix", "tutorial", encoder="mobilenetv2_100", image_size=128, freeze_encoder=True)
    stages = summarize_model(model)
    assert [stage.shape for stage in stages if stage.kind == "encoder"] == [
        (96, 64, 64), (144, 32, 32), (192, 16, 16), (576, 8, 8), (320, 4, 4)
    ]  # fmt: skip
    assert [stage.shape for stage in stages if stage.kind == "decoder"] == [
        (512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64)
    ]  # fmt: skip
    assert all(stage.frozen for stage in stages if stage.kind == "encoder")
    assert sum(stage.parameters for stage in stages if stage.kind in ("decoder", "logits")) == 4_660_323


def test_the_model_is_not_changed() -> None:
    model = build(**ENCODERS["efficientnet"]).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summarize_model(model)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_normalization_is_described() -> None:
    model = build(normalization="unit", encoder="test_efficientnet")

    def detail() -> str:
        return next(stage.detail for stage in summarize_model(model) if stage.name == "normalize")

    assert detail() == "(x − 0) / 255"
    model.set_normalization([1.0, 2.0, 3.0], [9.0] * 3)
    assert detail() == "(x − mean) / std of each channel"


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in ("fpn", "pix2pix")])
def test_a_decoder_of_another_package_is_one_stage(name: str) -> None:
    check_single_stage(build(name, **ENCODERS["efficientnet"]))


def test_a_decoder_without_stages_is_one_stage() -> None:
    class Linear(nn.Module):
        def __init__(self, in_channels: Sequence[int], classes: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(in_channels[-1], classes, 1)

        def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
            return nn.functional.interpolate(self.conv(features[-1]), size)

    DECODERS.register("linear", Linear)
    try:
        check_single_stage(build("linear", **ENCODERS["resnet"]))
    finally:
        DECODERS.unregister("linear")


def check_single_stage(model: SegmentationModel) -> None:
    stages = summarize_model(model)
    (decoder,) = [stage for stage in stages if stage.kind == "decoder"]
    assert decoder.shape == stages[-1].shape == (3, 64, 64)
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())
