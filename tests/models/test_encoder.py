"""Encoders: timm's own features, the five layers of the tutorial, TensorFlow's padding, errors."""

import logging
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.errors import ConfigError, WeightsError
from pixelwise.models.encoder import Encoder
from pixelwise.models.timm_models import check_encoder, list_encoders, list_layers
from tests.models.helpers import TUTORIAL_LAYERS, pixels, random_weights, tensors_of

TUTORIAL_SHAPES = [(96, 64, 64), (144, 32, 32), (192, 16, 16), (576, 8, 8), (320, 4, 4)]

# Pyramids, a transformer with features of one size, and a transformer with channels last.
ENCODERS = [
    ("resnet18", 64),
    ("convnext_atto", 64),
    ("mobilenetv3_small_100", 64),
    ("tf_efficientnet_lite0", 64),
    ("vit_tiny_patch16_224", 64),
    ("swin_tiny_patch4_window7_224", 224),
]


@pytest.fixture(scope="module")
def tutorial() -> tuple[Encoder, dict[str, Tensor]]:
    weights = random_weights("mobilenetv2_100")
    return Encoder("mobilenetv2_100", TUTORIAL_LAYERS, "same", 128, weights).eval(), weights


class TestTutorialLayers:
    def test_shapes_at_128(self, tutorial: tuple[Encoder, dict[str, Tensor]]) -> None:
        encoder, _ = tutorial
        with torch.no_grad():
            features = encoder(pixels(128))
        assert [tuple(feature.shape[1:]) for feature in features] == TUTORIAL_SHAPES
        assert encoder.out_channels == tuple(shape[0] for shape in TUTORIAL_SHAPES)
        assert encoder.reductions == (2, 4, 8, 16, 32)
        assert encoder.feature_names == TUTORIAL_LAYERS

    def test_outputs_are_those_of_the_layers_of_timm(self, tutorial: tuple[Encoder, dict[str, Tensor]]) -> None:
        _, weights = tutorial
        encoder = Encoder("mobilenetv2_100", TUTORIAL_LAYERS, "native", 128, weights).eval()
        model = timm.create_model("mobilenetv2_100").eval()
        model.load_state_dict(weights)
        outputs: dict[str, Tensor] = {}
        for name in TUTORIAL_LAYERS:
            model.get_submodule(name).register_forward_hook(
                lambda module, _, output, name=name: outputs.__setitem__(name, output.clone())
            )
        with torch.no_grad():
            features = encoder(pixels(128))
            model(pixels(128))
        for name, feature in zip(TUTORIAL_LAYERS, features, strict=True):
            torch.testing.assert_close(feature, outputs[name], rtol=0, atol=0)

    def test_expansions_come_after_their_activation(self, tutorial: tuple[Encoder, dict[str, Tensor]]) -> None:
        *expanded, projection = tutorial[0](pixels(128))
        for feature in expanded:  # ReLU6
            assert feature.min() >= 0 and feature.max() <= 6
            assert (feature == 0).float().mean() > 0.1
        assert projection.min() < 0

    def test_the_last_is_the_projection_before_its_batch_norm(
        self, tutorial: tuple[Encoder, dict[str, Tensor]]
    ) -> None:
        encoder, weights = tutorial
        block = encoder.backbone.get_submodule("blocks.6.0")
        recorded: list[Tensor] = []
        handle = block.get_submodule("conv_pwl").register_forward_hook(
            lambda module, inputs, _: recorded.append(inputs[0])
        )
        with torch.no_grad():
            last = encoder(pixels(128))[-1]
            handle.remove()
            expected = F.conv2d(recorded[0], weights["blocks.6.0.conv_pwl.weight"])
        torch.testing.assert_close(last, expected)


def same_by_hand(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """Convolve with TensorFlow's SAME padding: out = ceil(in / stride), an odd pixel is at the right and bottom."""
    kernel = weight.shape[-1]
    sums = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
    (high, wide) = sums
    padded = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
    return F.conv2d(padded, weight, stride=stride, groups=groups)


class TestSamePadding:
    @pytest.mark.parametrize("size", [64, 65, (66, 71)], ids=str)
    def test_strided_convolutions_pad_like_tensorflow(
        self, tutorial: tuple[Encoder, dict[str, Tensor]], size: int | tuple[int, int]
    ) -> None:
        encoder, weights = tutorial
        x = pixels(size)
        with torch.no_grad():
            stem = encoder.backbone.get_submodule("conv_stem")(x)
            deep = encoder.backbone.get_submodule("blocks.1.0.conv_dw")
            y = torch.randn(1, 96, *stem.shape[-2:], generator=torch.Generator().manual_seed(1))
            torch.testing.assert_close(stem, same_by_hand(x, weights["conv_stem.weight"], 2))
            torch.testing.assert_close(deep(y), same_by_hand(y, weights["blocks.1.0.conv_dw.weight"], 2, groups=96))

    def test_even_sizes_are_padded_at_the_right_and_bottom_only(
        self, tutorial: tuple[Encoder, dict[str, Tensor]]
    ) -> None:
        encoder, weights = tutorial
        x = pixels(64)
        expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), weights["conv_stem.weight"], stride=2)
        with torch.no_grad():
            torch.testing.assert_close(encoder.backbone.get_submodule("conv_stem")(x), expected)

    def test_native_padding_is_that_of_timm_and_differs(self, tutorial: tuple[Encoder, dict[str, Tensor]]) -> None:
        same, weights = tutorial
        native = Encoder("mobilenetv2_100", TUTORIAL_LAYERS, "native", 128, weights).eval()
        with torch.no_grad():
            ours, theirs = same(pixels(128)), native(pixels(128))
            stem = native.backbone.get_submodule("conv_stem")(pixels(64))
        for one, other in zip(ours, theirs, strict=True):
            assert one.shape == other.shape
            assert not torch.allclose(one, other, atol=1e-3)
        torch.testing.assert_close(stem, F.conv2d(pixels(64), weights["conv_stem.weight"], stride=2, padding=1))


class TestStages:
    @pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_100", "resnet18"])
    def test_features_equal_those_of_timm_with_the_same_weights(self, name: str) -> None:
        weights = random_weights(name)
        encoder = Encoder(name, image_size=64, weights=weights).eval()
        own = timm.create_model(name, features_only=True).eval()
        missing, _ = own.load_state_dict(weights, strict=False)
        assert missing == []
        with torch.no_grad():
            for ours, theirs in zip(encoder(pixels(64)), own(pixels(64)), strict=True):
                assert torch.equal(ours, theirs)

    def test_weights_of_another_shape_are_refused(self) -> None:
        weights = random_weights("resnet18")
        weights["conv1.weight"] = weights["conv1.weight"][:, :1]
        with pytest.raises(WeightsError, match=r"0 tensors missing, 0 unknown, 1 of another shape.*conv1\.weight"):
            Encoder("resnet18", image_size=64, weights=weights)

    @pytest.mark.parametrize(("name", "size"), ENCODERS, ids=[name for name, _ in ENCODERS])
    def test_channels_and_reductions_match_the_features(self, name: str, size: int) -> None:
        encoder = Encoder(name, image_size=size).eval()
        with torch.no_grad():
            features = encoder(pixels(size, count=1))
        assert tuple(feature.shape[1] for feature in features) == encoder.out_channels
        assert [feature.shape[-2:] for feature in features] == [(size // r, size // r) for r in encoder.reductions]
        info: Any = encoder.backbone.feature_info
        assert tuple(info.channels()) == encoder.out_channels
        assert tuple(info.reduction()) == encoder.reductions
        assert len(encoder.feature_names) == len(features)
        assert list(encoder.reductions) == sorted(encoder.reductions)

    def test_channels_last_features_are_permuted(self) -> None:
        encoder = Encoder("swin_tiny_patch4_window7_224", image_size=64).eval()
        x = pixels(64, count=1)
        with torch.no_grad():
            for raw, feature in zip(encoder.backbone(x), encoder(x), strict=True):
                _, height, width, channels = raw.shape
                assert feature.shape == (1, channels, height, width)
                assert feature[0, 5, 0, width - 1] == raw[0, 0, width - 1, 5]
                assert feature[0, 7, height - 1, 0] == raw[0, height - 1, 0, 7]

    @pytest.mark.parametrize(
        ("name", "size"),
        [("resnet18", (64, 160)), ("mobilenetv3_small_100", (96, 64)), ("vit_tiny_patch16_224", (64, 96)),
         ("swin_tiny_patch4_window7_224", (224, 448)), ("swin_tiny_patch4_window7_224", (96, 64))],
    )  # fmt: skip
    def test_a_height_and_a_width(self, name: str, size: tuple[int, int]) -> None:
        square, encoder = Encoder(name, image_size=64), Encoder(name, image_size=size).eval()
        with torch.no_grad():
            features = encoder(pixels(size, count=1))
        assert encoder.out_channels == square.out_channels and encoder.reductions == square.reductions
        expected = [tuple(-(-side // reduction) for side in size) for reduction in encoder.reductions]
        assert [tuple(feature.shape[-2:]) for feature in features] == expected

    @pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_100"])
    @pytest.mark.parametrize("size", [(57, 91), 33], ids=str)
    def test_odd_sizes(self, name: str, size: int | tuple[int, int]) -> None:
        encoder = Encoder(name, image_size=size if isinstance(size, int) else 64).eval()
        with torch.no_grad():
            features = encoder(pixels(size, count=1))
        assert tuple(feature.shape[1] for feature in features) == encoder.out_channels
        assert all(torch.isfinite(feature).all() for feature in features)
        sides = [feature.shape[-1] for feature in features]
        assert sides == sorted(sides, reverse=True)

    def test_the_same_seed_gives_the_same_random_weights(self) -> None:
        first, second, third = (tensors_of(_seeded(seed)) for seed in (3, 3, 4))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not all(torch.equal(first[name], third[name]) for name in first)


def _seeded(seed: int) -> Encoder:
    torch.manual_seed(seed)
    return Encoder("mobilenetv3_small_100", image_size=64)


class TestErrors:
    def test_an_unknown_encoder_lists_similar_names(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown encoder 'resnet19'.*resnet18") as caught:
            check_encoder("resnet19")
        assert "\n" not in str(caught.value)

    def test_a_name_without_similar_names_lists_some(self) -> None:
        with pytest.raises(ConfigError, match=r"mobilenetv2_100"):
            check_encoder("zzzzzz")

    def test_an_unknown_layer_lists_the_names(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown layer 'blocks\.1\.0\.bn9'") as caught:
            Encoder("mobilenetv2_100", ["blocks.1.0.bn9"], image_size=64)
        for name in list_layers("mobilenetv2_100", 64):
            assert name in str(caught.value)

    def test_every_listed_layer_is_a_module_in_the_order_of_execution(self) -> None:
        names = list_layers("mobilenetv2_100", 64)
        modules = dict(timm.create_model("mobilenetv2_100").named_modules())
        assert set(names) <= modules.keys()
        assert [name for name in names if name in TUTORIAL_LAYERS] == list(TUTORIAL_LAYERS)

    def test_layers_from_deep_to_shallow_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"from shallow to deep.*blocks\.6\.0\.conv_pwl 2x2.*bn1 32x32"):
            Encoder("mobilenetv2_100", TUTORIAL_LAYERS[::-1], image_size=64)

    @pytest.mark.parametrize("layer", ["classifier", "global_pool"])
    def test_a_layer_without_feature_map_is_refused(self, layer: str) -> None:
        with pytest.raises(ConfigError, match=f"layer '{layer}' returns a tensor of shape .* not a .* feature map"):
            Encoder("mobilenetv2_100", ["blocks.1.0.bn1", layer], image_size=64)

    def test_a_layer_that_is_named_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"blocks\.1\.0\.bn1.*twice"):
            Encoder("mobilenetv2_100", ["blocks.1.0.bn1", "blocks.1.0.bn1"], image_size=64)

    def test_an_empty_list_of_layers_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"at least one layer"):
            Encoder("mobilenetv2_100", [], image_size=64)

    def test_a_model_without_features_at_this_size_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"cannot return features at 64 px") as caught:
            Encoder("crossvit_9_240", image_size=64)
        assert "\n" not in str(caught.value)


def test_encoders_are_listed_by_pattern() -> None:
    names = list_encoders("resnet1*")
    assert "resnet18" in names and all(name.startswith("resnet1") for name in names)
    assert "mobilenetv2_035" in list_encoders("mobilenetv2*")
    assert "mobilenetv2_035" not in list_encoders("mobilenetv2*", pretrained=True)
    assert "mobilenetv2_100" in list_encoders("mobilenetv2*", pretrained=True)
    assert len(list_encoders()) > 500


def test_building_leaves_the_loggers_of_timm_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("timm.models._builder")
    before = logger.level, list(logger.filters)
    Encoder("resnet18", image_size=64, weights=random_weights("resnet18"))
    assert (logger.level, list(logger.filters)) == before
    assert "Unexpected keys" not in caplog.text, "the unused classifier is no news"
