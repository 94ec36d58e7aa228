"""Tests of batch norms computed in the convolutions before them: equal outputs and gradients, and what is left out."""

import copy
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.models.encoder import Encoder, FreezeMode
from pixelwise.models.fold_batchnorm import fold_batchnorms
from pixelwise.models.merged_norm import _Pair, merge_norms, split_norms
from tests.models.helpers import pixels
from tests.models.test_fold_batchnorm import count_norms, randomize


def count_merged(model: nn.Module) -> int:
    return sum("pair" in module.__dict__ for module in model.modules()) // 2


def compute_gradients(encoder: Encoder, x: Tensor) -> dict[str, Tensor | None]:
    """Return the gradient of each weight for a loss that weighs all values of all features differently."""
    generator = torch.Generator().manual_seed(0)
    encoder.zero_grad()
    features = encoder.train()(x)
    weights = [torch.randn(feature.shape, generator=generator).to(feature) for feature in features]
    torch.stack([(f * w).sum() for f, w in zip(features, weights, strict=True)]).sum().backward()
    return {name: weight.grad for name, weight in encoder.named_parameters()}


@pytest.mark.parametrize("depthwise", [True, False], ids=["depthwise frozen", "all train"])
@pytest.mark.parametrize(
    ("name", "padding", "fraction"),
    [
        ("mobilenetv2_050", "native", 1.0),
        ("mobilenetv2_050", "same", 1.0),
        ("tf_efficientnet_lite0", "native", 1.0),
        ("mobilenetv3_small_050", "native", 0.5),  # hard swish after depthwise convolutions
        ("resnet18", "native", 1.0),  # activations outside of the batch norms
    ],
)
def test_the_gradients_are_equal(
    name: str, padding: str, fraction: float, depthwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.models.encoder.use_float32_gradients", lambda conv: None)
    torch.manual_seed(0)
    merged = randomize(Encoder(name, None, padding, 32)).double()  # type: ignore[arg-type]
    merged.freeze(FreezeMode.TRAINABLE, depthwise=depthwise, batchnorm=True)
    separate = copy.deepcopy(merged)
    split_norms(separate)
    assert count_merged(merged) >= (fraction if depthwise else 1.0) * count_norms(merged)
    assert count_merged(separate) == 0

    x = pixels((33, 32)).double()
    expected = compute_gradients(separate, x)
    for key, gradient in compute_gradients(merged, x).items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-6, atol=1e-8, msg=key)


def test_no_batch_norm_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder("mobilenetv2_050", image_size=32)
    encoder.freeze(FreezeMode.DECODER_FIRST, depthwise=True, batchnorm=True)
    calls: list[object] = []
    monkeypatch.setattr(F, "batch_norm", lambda *args, **options: calls.append(args))
    encoder.train()(pixels(32))
    assert calls == []


def test_a_frozen_encoder_has_equal_features() -> None:
    torch.manual_seed(0)
    merged = randomize(Encoder("mobilenetv3_small_050", image_size=32)).double()
    separate = copy.deepcopy(merged)
    merged.freeze(FreezeMode.FROZEN)
    assert count_merged(merged) == count_norms(merged)
    for one, other in zip(merged(pixels(32).double()), separate(pixels(32).double()), strict=True):
        torch.testing.assert_close(one, other)


def test_the_weights_of_a_frozen_encoder_are_computed_once_and_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def outputs(encoder: Encoder, is_mixed: bool = False) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            return encoder(x)[-1]

    torch.manual_seed(0)
    encoder = randomize(Encoder("mobilenetv2_050", image_size=32))
    encoder.freeze(FreezeMode.FROZEN)
    computed = Mock(side_effect=_Pair._compute_weights, autospec=True)
    monkeypatch.setattr(_Pair, "_compute_weights", lambda pair: computed(pair))
    x, count = pixels(32), count_merged(encoder)
    for is_mixed, expected in ((False, 0), (True, count)):  # `freeze` has computed them in float32
        first, second = outputs(encoder, is_mixed), outputs(encoder, is_mixed)
        assert torch.equal(first, second)
        assert computed.call_count == expected
        computed.reset_mock()

    other = randomize(Encoder("mobilenetv2_050", image_size=32))
    encoder.load_state_dict(other.state_dict())
    torch.testing.assert_close(outputs(encoder), outputs(other.eval()), rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        outputs(encoder)
    moved = copy.deepcopy(encoder).double()
    assert moved(x.double())[-1].dtype == torch.float64
    # Tensors that were computed in inference mode cannot be used for gradients.
    encoder.backbone(x.requires_grad_())[-1].sum().backward()


def test_an_encoder_that_is_frozen_twice_is_merged() -> None:
    encoder = randomize(Encoder("mobilenetv2_050", image_size=32))
    encoder.freeze(FreezeMode.FROZEN)
    count = count_merged(encoder)
    encoder.freeze(FreezeMode.FROZEN)
    assert count_merged(encoder) == count > 0


def test_batch_norms_that_train_are_not_merged() -> None:
    encoder = Encoder("mobilenetv2_050", image_size=32)
    encoder.freeze(FreezeMode.TRAINABLE, batchnorm=True)
    assert count_merged(encoder) > 0
    encoder.freeze(FreezeMode.TRAINABLE)
    assert count_merged(encoder) == 0
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers() if name.endswith("running_mean")}
    encoder.train()(pixels(32))
    assert before and not any(torch.equal(dict(encoder.named_buffers())[name], value) for name, value in before.items())


def test_a_model_without_batch_norms_is_not_run() -> None:
    def run() -> list[Tensor]:
        raise AssertionError("there is nothing to find")

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    merge_norms(model, run)
    assert count_merged(model) == 0


def test_a_merged_batch_norm_in_training_mode_computes_as_before() -> None:
    torch.manual_seed(0)
    model = randomize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    x = torch.rand(2, 3, 8, 8)
    merge_norms(model, lambda: [model(x)])
    plain = copy.deepcopy(model)
    split_norms(plain)
    assert count_merged(model) == 1
    assert torch.equal(model.train()(x), plain.train()(x))
    assert torch.equal(model.state_dict()["1.running_var"], plain.state_dict()["1.running_var"])


class TwoUses(nn.Module):
    """A convolution whose output is also a feature."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.conv(x)
        return [y, self.norm(y)]


def test_a_convolution_whose_output_has_another_use_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    model = randomize(TwoUses())
    x = torch.rand(2, 3, 8, 8)
    expected = model(x)
    merge_norms(model, lambda: model(x))
    assert count_merged(model) == 0
    for one, other in zip(model(x), expected, strict=True):
        assert torch.equal(one, other)


def test_the_gradient_of_a_scale_of_zero_is_zero() -> None:
    torch.manual_seed(0)
    encoder = randomize(Encoder("mobilenetv2_050", image_size=32))
    norm = encoder.backbone.get_submodule("blocks.1.0.bn2")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data[0] = 0.0
    encoder.freeze(FreezeMode.TRAINABLE, depthwise=True, batchnorm=True)
    compute_gradients(encoder, pixels(32))
    assert norm.weight.grad is not None and norm.weight.grad[0] == 0 and bool(norm.weight.grad[1:].any())


def test_gradients_in_bfloat16_are_as_exact_as_before() -> None:
    torch.manual_seed(0)
    merged = randomize(Encoder("mobilenetv2_050", image_size=64))
    merged.freeze(FreezeMode.TRAINABLE, depthwise=True, batchnorm=True)
    separate = copy.deepcopy(merged)
    split_norms(separate)
    expected = compute_gradients(separate, pixels(64))
    similarities = {}
    for name, encoder in (("merged", merged), ("separate", separate)):
        with torch.autocast("cpu", torch.bfloat16):
            gradients = compute_gradients(encoder, pixels(64))
        pairs = [(gradient, expected[key]) for key, gradient in gradients.items() if gradient is not None]
        assert all(gradient.dtype == torch.float32 for gradient, _ in pairs)
        values = [
            F.cosine_similarity(one.flatten(), other.flatten(), dim=0) for one, other in pairs if other is not None
        ]
        similarities[name] = torch.stack(values).mean()
    assert similarities["merged"] > similarities["separate"] - 0.02


def test_predictions_fold_the_batch_norms_of_a_model_that_trains() -> None:
    torch.manual_seed(0)
    encoder = randomize(Encoder("mobilenetv2_050", image_size=32))
    expected = encoder(pixels(32))[-1]
    encoder.freeze(FreezeMode.TRAINABLE, depthwise=True, batchnorm=True)
    encoder.eval()
    model = nn.Sequential(*(encoder.backbone.get_submodule(name) for name in ("conv_stem", "bn1")))
    folded = fold_batchnorms(model, pixels(32))
    assert folded is not model and count_norms(folded) == 0
    with torch.no_grad():
        torch.testing.assert_close(folded(pixels(32)), model(pixels(32)))
        torch.testing.assert_close(encoder(pixels(32))[-1], expected, rtol=1e-3, atol=1e-4)
