"""Tests of batch norms folded into convolutions: equal outputs, and models in which nothing can be folded."""

from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.fold_batchnorm import FoldedModel, _make_images, fold_batchnorms
from pixelwise.models.model import SegmentationModel, create_model

Model = TypeVar("Model", bound=nn.Module)


def randomize(model: Model) -> Model:
    """Set random statistics and weights of the batch norms, as a training does."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model.eval()


def make_model(encoder: str = "mobilenetv3_small_050", **options: Any) -> SegmentationModel:
    torch.manual_seed(0)
    return create_model(encoder, encoder_weights="none", image_size=32, **options)


def make_images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)


def count_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("tf_mobilenetv3_small_minimal_100", {}),
        ("mobilenetv2_100", {"encoder_padding": "same", "decoder": "pix2pix"}),
        ("mobilenetv2_100", {"encoder_layers": ["blocks.0.0.bn1", "blocks.3.0.conv_pwl"]}),
        ("resnet18", {"decoder": {"name": "fpn", "widths": [16, 8]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_outputs_are_equal_and_the_model_is_unchanged(encoder: str, options: dict[str, Any]) -> None:
    model = randomize(make_model(encoder, **options))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batchnorms(model, make_images()[:1])
    assert count_norms(folded) < 0.2 * count_norms(model)
    with torch.no_grad():
        expected = model(make_images())
        torch.testing.assert_close(folded(make_images()), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_weights_that_are_not_folded_are_shared() -> None:
    model = randomize(make_model())
    folded = fold_batchnorms(model, make_images()[:1])
    assert folded.get_parameter("decoder.logits.weight") is model.get_parameter("decoder.logits.weight")


def test_an_ensemble_is_folded() -> None:
    ensemble = SegmentationEnsemble([randomize(make_model()), randomize(make_model())])
    folded = fold_batchnorms(ensemble, make_images()[:1])
    assert count_norms(folded) == 0
    with torch.no_grad():
        torch.testing.assert_close(folded(make_images()), ensemble(make_images()), rtol=1e-4, atol=1e-4)


class Block(nn.Module):
    """A convolution whose output is used with and without its batch norm, if `uses_both`."""

    def __init__(self, uses_both: bool, calls: int = 1) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.uses_both, self.calls = uses_both, calls

    def forward(self, x: Tensor) -> Tensor:
        results = [self.conv(x) for _ in range(self.calls)]
        return sum(self.norm(result) + (result if self.uses_both else 0) for result in results)


@pytest.mark.parametrize("block", [Block(uses_both=True), Block(False, calls=2), nn.Conv2d(3, 4, 3)], ids=str)
def test_a_model_that_cannot_be_folded_is_returned_itself(block: nn.Module) -> None:
    model = randomize(block)
    assert fold_batchnorms(model, torch.rand(1, 3, 8, 8)) is model


def test_statistics_of_the_batch_are_not_folded() -> None:
    model = randomize(Block(False))
    model.norm.train()
    assert fold_batchnorms(model, torch.rand(1, 3, 8, 8)) is model
    assert fold_batchnorms(randomize(Block(False)), torch.rand(1, 3, 8, 8)) is not model


def test_a_changed_weight_changes_the_output_of_a_folded_model() -> None:
    model = randomize(make_model())
    folded = FoldedModel(model)
    assert count_norms(folded._folded) == 0
    with torch.no_grad():
        torch.testing.assert_close(folded(make_images()), model(make_images()), rtol=1e-4, atol=1e-4)
        model.get_buffer("encoder.backbone.bn1.running_mean").add_(1)
        assert torch.equal(folded(make_images()), model(make_images()))


def test_tensors_without_versions_are_not_folded() -> None:
    with torch.inference_mode():
        model = randomize(make_model())
        folded = FoldedModel(model)
        assert folded._folded is model and torch.equal(folded(make_images()), model(make_images()))


@pytest.mark.parametrize(("encoder", "side"), [("resnet18", 128), ("eva02_tiny_patch14_336", 336)])
def test_the_image_of_the_check_is_small_if_the_encoder_allows_it(encoder: str, side: int) -> None:
    model = make_model()
    model.config = model.config.model_copy(update={"encoder": encoder, "size": 336})
    assert _make_images(model).shape == (1, 3, side, side)
