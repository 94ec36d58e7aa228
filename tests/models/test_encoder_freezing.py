"""Encoders of which all or a part is frozen, and encoders that are paused."""

import pytest
import torch
from torch import Tensor, nn

from pixelwise.models.encoder import Encoder, FreezeMode
from tests.models.helpers import TUTORIAL_LAYERS, pixels, random_weights, tensors_of


def changed(before: dict[str, Tensor], module: nn.Module) -> list[str]:
    return [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]


def train_a_step(encoder: Encoder, side: int = 64) -> None:
    """Take an optimizer step that changes every weight and statistic that is not frozen."""
    head = nn.Conv2d(encoder.out_channels[-1], 1, 1)
    parameters = [p for p in [*encoder.parameters(), *head.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1)
    encoder.train()
    head(encoder(pixels(side))[-1]).square().mean().backward()
    optimizer.step()


class TestFreezing:
    @pytest.mark.parametrize("layers", [None, TUTORIAL_LAYERS], ids=["stages", "layers"])
    def test_a_frozen_encoder_does_not_change(self, layers: tuple[str, ...] | None) -> None:
        encoder = Encoder("mobilenetv2_100", layers, image_size=64, weights=random_weights("mobilenetv2_100"))
        encoder.freeze(FreezeMode.FROZEN)
        before = tensors_of(encoder)
        train_a_step(encoder)
        assert changed(before, encoder) == []
        assert all(parameter.grad is None for parameter in encoder.parameters())
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert not any(feature.requires_grad for feature in encoder(pixels(64)))
        assert not any(module.training for module in encoder.modules())

    def test_frozen_depthwise_weights_and_statistics_do_not_change_and_all_others_do(self) -> None:
        encoder = Encoder("mobilenetv3_small_100", image_size=64, weights=random_weights("mobilenetv3_small_100"))
        encoder.freeze(FreezeMode.DECODER_FIRST, depthwise=True, batchnorm=True)
        before = tensors_of(encoder)
        train_a_step(encoder)
        moved = set(changed(before, encoder))
        statistics = {name for name in before if "running_" in name or "num_batches" in name}
        depthwise = {
            f"{name}.weight"
            for name, module in encoder.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups > 1
        }
        assert statistics and depthwise
        assert moved == before.keys() - statistics - depthwise
        assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))

    @pytest.mark.parametrize(
        ("name", "stride", "frozen"),
        [
            ("resnet18", 4, ("conv1", "bn1", "layer1")),
            ("resnet18", 7, ("conv1", "bn1", "layer1")),
            ("resnet18", 8, ("conv1", "bn1", "layer1", "layer2")),
            ("convnext_atto", 4, ("stem_0", "stem_1", "stages_0")),
            ("tf_efficientnet_lite0", 2, ("conv_stem", "bn1", "blocks.0")),
            ("vit_tiny_patch16_224", 8, ()),
        ],
    )
    @pytest.mark.parametrize("batchnorm", [False, True])
    def test_layers_up_to_a_stride_do_not_change_and_all_others_do(
        self, name: str, stride: int, frozen: tuple[str, ...], batchnorm: bool
    ) -> None:
        side = 224 if name.startswith("vit") else 64
        encoder = Encoder(name, image_size=side, weights=random_weights(name))
        encoder.freeze(FreezeMode.TRAINABLE, batchnorm=batchnorm, stride=stride)
        before = tensors_of(encoder)
        train_a_step(encoder, side)
        kept = {key for key in before if key.removeprefix("backbone.").startswith(tuple(f"{part}." for part in frozen))}
        statistics = {key for key in before if "running_" in key or "num_batches" in key}
        assert set(changed(before, encoder)) == before.keys() - kept - (statistics if batchnorm else set())
        encoder.freeze(FreezeMode.TRAINABLE)
        assert all(parameter.requires_grad for parameter in encoder.parameters()), "a later call replaces it"

    def test_gradients_of_the_other_layers_are_those_of_an_encoder_that_trains_wholly(self) -> None:
        weights, gradients = random_weights("mobilenetv2_100"), []
        for stride in (0, 4):
            encoder = Encoder("mobilenetv2_100", image_size=64, weights=weights)
            encoder.freeze(FreezeMode.TRAINABLE, batchnorm=True, stride=stride)
            encoder.train()(pixels(64))[-1].square().mean().backward()
            gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
        assert 0 < len(gradients[1]) < len(gradients[0])
        for name, gradient in gradients[1].items():
            torch.testing.assert_close(gradient, gradients[0][name], rtol=1e-4, atol=1e-6)

    def test_a_new_encoder_trains_wholly(self) -> None:
        encoder = Encoder("mobilenetv3_small_100", image_size=64)
        before = tensors_of(encoder)
        train_a_step(encoder)
        assert set(changed(before, encoder)) == before.keys()

    def test_freezing_does_not_change_the_features(self) -> None:
        # Frozen strided convolutions compute in float32, also with odd sizes.
        weights = random_weights("mobilenetv2_100")
        for padding in ("native", "same"):
            default = Encoder("mobilenetv2_100", None, padding, 64, weights).eval()
            tuned = Encoder("mobilenetv2_100", None, padding, 64, weights).eval()
            tuned.freeze(FreezeMode.DECODER_FIRST, depthwise=True, batchnorm=True)
            x = pixels((65, 64))
            for one, other in zip(default(x), tuned(x), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)  # merged batch norms round differently
            with torch.autocast("cpu", torch.bfloat16):
                for one, other in zip(default(x), tuned(x), strict=True):
                    assert one.shape == other.shape
                    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99

    def test_a_frozen_encoder_returns_the_same_in_training_mode(self) -> None:
        encoder = Encoder("mobilenetv3_small_100", image_size=64)
        encoder.freeze(FreezeMode.FROZEN)
        evaluated = [feature.clone() for feature in encoder.eval()(pixels(64))]
        for one, other in zip(encoder.train()(pixels(64)), evaluated, strict=True):
            assert torch.equal(one, other)


def test_a_paused_encoder_gets_no_gradient() -> None:
    encoder = Encoder("mobilenetv3_small_050", image_size=32)
    encoder.freeze(FreezeMode.DECODER_FIRST, depthwise=True, batchnorm=True)
    images = torch.rand(2, 3, 32, 32)
    encoder.pause_gradients(True)
    assert not encoder.computes_gradients
    assert not any(feature.requires_grad for feature in encoder(images))
    encoder.pause_gradients(False)
    encoder(images)[-1].sum().backward()
    grad = encoder.backbone.get_parameter("conv_stem.weight").grad
    assert grad is not None and grad.abs().sum() > 0


@pytest.mark.parametrize("mode", ["all", FreezeMode.TRAINABLE])
def test_an_encoder_that_trains_from_the_start_is_never_paused(mode: str) -> None:
    encoder = Encoder("mobilenetv3_small_050", image_size=32)
    encoder.freeze(mode)
    encoder.pause_gradients(True)
    assert all(feature.requires_grad for feature in encoder(torch.rand(2, 3, 32, 32)))


def test_a_later_freeze_replaces_an_earlier_one() -> None:
    encoder = Encoder("mobilenetv3_small_050", image_size=64)
    encoder.freeze("none")
    encoder.freeze("decoder-first", depthwise=True, batchnorm=True)
    encoder.freeze("all")
    before = tensors_of(encoder)
    train_a_step(encoder)
    assert set(changed(before, encoder)) == before.keys()


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("batchnorm", [False, True])
def test_each_part_is_frozen_by_its_own_argument(depthwise: bool, batchnorm: bool) -> None:
    encoder = Encoder("mobilenetv3_small_050", image_size=64)
    encoder.freeze("all", depthwise=depthwise, batchnorm=batchnorm)
    before = tensors_of(encoder)
    train_a_step(encoder)
    moved = set(changed(before, encoder))
    assert any(name.endswith("running_mean") for name in moved) == (not batchnorm)
    assert any("conv_dw" in name for name in moved) == (not depthwise)
    assert "backbone.conv_stem.weight" in moved
