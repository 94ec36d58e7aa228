"""The steps of the architecture image: shapes as the model gives them, parameters that add up."""

import pytest
import torch

from pixelwise.config import Config
from pixelwise.models.decoders import DECODERS
from pixelwise.models.model import SegmentationModel
from pixelwise.reporting.model_summary import summarize_model

ENCODERS = {
    "efficientnet": {"encoder": "tf_efficientnet_lite0"},
    "resnet": {"encoder": "resnet18"},
    "convnext": {"encoder": "convnext_atto"},
    "vit": {"encoder": "vit_tiny_patch16_224"},
    "swin": {"encoder": "swin_tiny_patch4_window7_224"},
    "layers": {
        "encoder": "mobilenetv2_100",
        "layers": ("blocks.1.0.bn1", "blocks.3.0.bn1", "blocks.6.0.conv_pwl"),
    },
    "convnext layers": {"encoder": "convnext_atto", "layers": ("stages.0", "stages.2", "stages.3")},
}


def build(decoder: str = "light", **settings: object) -> SegmentationModel:
    torch.manual_seed(0)
    asked = {"encoder_weights": "none", "size": 64, "decoder": decoder} | settings
    return Config.from_preset(**asked).create_model(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 9, 9)))  # type: ignore[arg-type]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_shapes_are_the_models_and_parameters_add_up(encoder: str, decoder: str) -> None:
    model = build(decoder, **ENCODERS[encoder])
    steps = summarize_model(model)
    assert sum(step.parameters for step in steps) == sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        features = model.encoder(torch.zeros(1, 3, 64, 64))
    encoded = [step for step in steps if step.kind == "encoder"]
    assert [step.shape for step in encoded] == [tuple(feature.shape[1:]) for feature in features]
    assert [step.name for step in encoded] == list(model.encoder.feature_names)
    assert all(step.parameters > 0 for step in encoded[:1])
    assert steps[0].shape == steps[1].shape == (3, 64, 64)
    assert steps[-1].shape == (3, 64, 64)
    decoded = [step for step in steps if step.kind == "decoder"]
    assert len(decoded) == len(model.decoder.stages)
    # The skips that are drawn are those that the logits depend on, each once; the deepest feature is no skip.
    leaves = [feature.clone().requires_grad_() for feature in features]
    model.decoder(leaves, (64, 64)).square().sum().backward()
    used = [name for name, leaf in zip(model.encoder.feature_names, leaves, strict=True) if leaf.grad is not None]
    drawn = [step.skip_from for step in decoded if step.skip_from is not None]
    assert used[-1] == model.encoder.feature_names[-1]
    assert sorted(drawn) == sorted(used[:-1])


def test_the_tutorials_steps() -> None:
    model = build("pix2pix", preset="tutorial", encoder="mobilenetv2_100", size=128, freeze_encoder=True)
    steps = summarize_model(model)
    assert [step.shape for step in steps if step.kind == "encoder"] == [
        (96, 64, 64), (144, 32, 32), (192, 16, 16), (576, 8, 8), (320, 4, 4)
    ]  # fmt: skip
    assert [step.shape for step in steps if step.kind == "decoder"] == [
        (512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64)
    ]  # fmt: skip
    assert all(step.frozen for step in steps if step.kind == "encoder")
    assert sum(step.parameters for step in steps if step.kind in ("decoder", "logits")) == 4_660_323


def test_looking_leaves_the_model_as_it_was() -> None:
    model = build(**ENCODERS["efficientnet"]).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summarize_model(model)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_normalization_is_said_where_it_is_one_for_all_channels() -> None:
    model = build(pixels="unit", encoder="test_efficientnet")

    def detail() -> str:
        return next(step.detail for step in summarize_model(model) if step.name == "normalize")

    assert detail() == "(x − 0) / 255"
    model.set_normalization([1.0, 2.0, 3.0], [9.0] * 3)
    assert detail() == "each channel by its own mean and spread"
