"""The contract of every registered decoder, and each layer of the tutorial's decoder."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.decoders import DECODERS, build_decoder, list_decoders, register_decoder
from pixelwise.models.decoders.base import DecoderRegistry
from pixelwise.models.decoders.fpn import FPNDecoder
from pixelwise.models.decoders.pix2pix import Pix2PixBlock, Pix2PixDecoder
from pixelwise.models.decoders.smp import PooledBatchNorm, _allow_batches_of_one

Pyramid = tuple[list[int], list[tuple[int, int]], tuple[int, int]]

# Channels and sizes of the features from shallow to deep, and the size of the image.
PYRAMIDS: dict[str, Pyramid] = {
    "two stages": ([8, 16], [(16, 16), (8, 8)], (32, 32)),
    "five stages": ([24, 36, 48, 72, 40], [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)], (64, 64)),
    "odd and not square": ([8, 12, 20, 24], [(29, 46), (15, 23), (8, 12), (4, 6)], (57, 91)),
    "from stride 4": ([10, 20, 40, 80], [(16, 16), (8, 8), (4, 4), (2, 2)], (64, 64)),
    "transformer": ([24, 24, 24, 24], [(4, 4), (4, 4), (4, 4), (4, 4)], (64, 64)),
    "six stages, the first at full size": (
        [4, 8, 12, 16, 20, 24],
        [(33, 35), (17, 18), (9, 9), (5, 5), (3, 3), (2, 2)],
        (33, 35),
    ),
    "one pixel in the deepest": ([8, 16, 32], [(3, 5), (2, 3), (1, 1)], (6, 10)),
}


def fits(name: str, pyramid: str) -> bool:
    """Return True if a decoder accepts the number of features."""
    return not name.startswith("smp/") or 4 <= len(PYRAMIDS[pyramid][0]) <= 5


def cases(*pyramids: str) -> pytest.MarkDecorator:
    pairs = [(name, pyramid) for name in DECODERS for pyramid in pyramids or PYRAMIDS if fits(name, pyramid)]
    return pytest.mark.parametrize(("name", "pyramid"), pairs)


def make_features(channels: Sequence[int], sizes: Sequence[tuple[int, int]], count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(count, channel, *size, generator=generator) for channel, size in zip(channels, sizes, strict=True)
    ]


def build(name: str, channels: Sequence[int], classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return build_decoder(name, channels, classes)


# --- the contract


@cases()
def test_logits_have_the_size_of_the_image(name: str, pyramid: str) -> None:
    channels, sizes, size = PYRAMIDS[pyramid]
    for classes in (1, 5):
        with torch.no_grad():
            logits = build(name, channels, classes)(make_features(channels, sizes), size)
        assert logits.shape == (2, classes, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()


@cases("two stages", "odd and not square", "from stride 4", "transformer")
def test_every_parameter_and_every_feature_has_an_influence(name: str, pyramid: str) -> None:
    channels, sizes, size = PYRAMIDS[pyramid]
    decoder = build(name, channels)
    features = [feature.requires_grad_() for feature in make_features(channels, sizes)]
    logits = decoder(features, size)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for parameter_name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        # All of MAnet's few squeezed channels can be negative before their ReLU.
        assert parameter.grad.abs().sum() > 0 or "SE_" in parameter_name, parameter_name
    for index, feature in enumerate(features):
        # DeepLabV3+ takes the deepest feature and the one at a quarter of the image's size.
        if name != "smp/deeplabv3plus" or index in (0, 3):
            assert feature.grad is not None and feature.grad.abs().sum() > 0, f"feature {index}"


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.startswith("smp/")])
def test_it_overfits_one_batch(name: str) -> None:
    assert overfit(build(name, [8, 16, 24]), [8, 16, 24], [(12, 16), (6, 8), (3, 4)], (24, 32)) > 0.95


def test_a_decoder_of_smp_overfits_one_batch() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    channels = [8, 16, 24, 24, 24]
    decoder = build_decoder({"name": "smp/unet", "channels": (32, 32, 32, 16, 16)}, channels, 3)
    assert overfit(decoder, channels, [(12, 16), (6, 8), (3, 4), (2, 2), (1, 1)], (24, 32)) > 0.95


def overfit(decoder: nn.Module, channels: list[int], sizes: list[tuple[int, int]], size: tuple[int, int]) -> float:
    """Train a decoder on one batch. Return the accuracy of its prediction of that batch, in [0, 1]."""
    features = make_features(channels, sizes, count=3)
    # Regions that the second feature resolves, with smooth edges.
    target = F.interpolate(features[1][:, :3], size, mode="bilinear").argmax(1)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(80):
        loss = F.cross_entropy(decoder(features, size), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 8
    # In evaluation mode, with the batch norm statistics that it gathered.
    return (decoder.eval()(features, size).argmax(1) == target).float().mean().item()


@cases("two stages", "from stride 4")
def test_a_batch_of_one_trains(name: str, pyramid: str) -> None:
    channels, sizes, size = PYRAMIDS[pyramid]
    decoder = build(name, channels)
    decoder(make_features(channels, sizes, count=1), size).sum().backward()
    for parameter in decoder.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()


@cases("odd and not square")
def test_images_of_a_batch_are_independent(name: str, pyramid: str) -> None:
    channels, sizes, size = PYRAMIDS[pyramid]
    decoder = build(name, channels).eval()
    features = make_features(channels, sizes, count=3)
    with torch.no_grad():
        together = decoder(features, size)
        alone = decoder([feature[1:2] for feature in features], size)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@cases("from stride 4")
def test_channels_last_gives_the_same_logits(name: str, pyramid: str) -> None:
    channels, sizes, size = PYRAMIDS[pyramid]
    decoder = build(name, channels).eval()
    features = make_features(channels, sizes)
    with torch.no_grad():
        contiguous = decoder(features, size)
        decoder.to(memory_format=torch.channels_last)
        last = decoder([f.contiguous(memory_format=torch.channels_last) for f in features], size)
    torch.testing.assert_close(contiguous, last, rtol=1e-4, atol=1e-5)


@cases("transformer")
def test_features_are_not_changed(name: str, pyramid: str) -> None:
    """An in-place ReLU on an encoder's output would change it for the next stage."""
    channels, sizes, size = PYRAMIDS[pyramid]
    features = make_features(channels, sizes)
    before = [feature.clone() for feature in features]
    build(name, channels)(features, size)
    assert all(torch.equal(one, other) for one, other in zip(features, before, strict=True))


CHANGED: dict[str, object] = {"channels": 32, "attention": "scse", "dropout": 0.4, "stages": 5}
"""A value other than the default for each parameter; half of the default for those that are not listed."""


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in DECODERS for field in DECODERS[name].params.model_fields]
)
def test_every_parameter_of_a_setting_has_an_effect(name: str, field: str) -> None:
    default = DECODERS[name].params.model_fields[field].default
    value = CHANGED.get(field)
    if isinstance(default, tuple):
        value = tuple(width // 2 for width in default)
    elif value is None:
        value = default // 2
    channels, sizes, size = PYRAMIDS["five stages"]
    features = make_features(channels, sizes)
    torch.manual_seed(0)
    changed = build_decoder({"name": name, field: value}, channels, 3)
    torch.manual_seed(1)
    logits = changed(features, size)
    plain = build(name, channels)
    torch.manual_seed(1)
    assert not torch.equal(plain(features, size), logits)


# --- the registry


def test_a_registered_decoder_is_listed_and_built() -> None:
    @register_decoder("linear")
    class Linear(nn.Module):
        def __init__(self, in_channels: Sequence[int], classes: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(in_channels[-1], classes, 1)

        def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
            return F.interpolate(self.conv(features[-1]), size)

    try:
        assert "linear" in list_decoders()
        assert isinstance(build_decoder("linear", [8], 2), Linear)
    finally:
        DECODERS.unregister("linear")


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(ConfigError, match=r"unknown decoder 'pix2px' \(did you mean 'pix2pix'\?\)"):
        build_decoder("pix2px", [8], 2)
    with pytest.raises(ConfigError, match="decoder 'fpn' has no parameter 'width'; it has widths"):
        build_decoder({"name": "fpn", "width": 3}, [8], 2)
    with pytest.raises(ConfigError, match="decoder 'fpn': widths"):
        build_decoder({"name": "fpn", "widths": []}, [8], 2)


def test_a_decoder_of_a_missing_package_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.models.decoders.base.find_spec", lambda name: None)
    registry = DecoderRegistry("decoder")
    with pytest.raises(ConfigError, match=r"'smp/unet' needs the package .*; run pip install 'pixelwise\[smp\]'$"):
        registry.parse({"name": "smp/unet", "attention": "scse"})
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"^unknown decoder 'smp/unett' \(did you mean 'smp/unet'"):
        DECODERS.parse("smp/unett")


def test_decoders_of_smp_need_four_or_five_features() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    assert "smp/unetplusplus" in list_decoders()
    with pytest.raises(ConfigError, match=r"needs 4 or 5 features, but the encoder has 3; set another"):
        build_decoder("smp/unet", [8, 16, 24], 2)


def test_an_empty_part_of_a_decoder_of_smp_is_kept() -> None:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    decoder = nn.Sequential(nn.Sequential(), pooled)
    _allow_batches_of_one(decoder)
    assert len(decoder) == 2 and isinstance(pooled[1], PooledBatchNorm)


class TestFPN:
    CHANNELS = (16, 24, 40, 112, 320)

    def test_a_fifth_stage_takes_the_feature_at_half_the_image_size(self) -> None:
        channels, sizes, size = PYRAMIDS["five stages"]
        decoder = FPNDecoder(channels, classes=2, stages=5)
        assert decoder.skips == (4, 3, 2, 1, 0) and decoder.logits.in_channels == 16
        shapes = []
        decoder.stages[-1].register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
        assert decoder(make_features(channels, sizes), size).shape == (2, 2, 64, 64)
        assert shapes == [(2, 16, 32, 32)]

    def test_a_fifth_stage_resolves_lines_that_four_stages_blur(self) -> None:
        """The first feature has lines of one pixel, which the other features do not show."""
        lines = torch.zeros(1, 1, 32, 32)
        lines[:, :, :, ::4] = 1
        features = [lines, *(torch.ones(1, 1, 32 >> index, 32 >> index) for index in range(1, 5))]
        target = F.interpolate(lines, (64, 64))[:, 0].long()

        def train(**parameters: int) -> float:
            torch.manual_seed(0)
            decoder = FPNDecoder([1] * 5, 2, widths=(8, 8, 8, 8), **parameters)
            optimizer = torch.optim.Adam(decoder.parameters(), lr=0.03)
            for _ in range(60):
                optimizer.zero_grad()
                F.cross_entropy(decoder(features, (64, 64)), target).backward()
                optimizer.step()
            return (decoder(features, (64, 64)).argmax(1) == target).float().mean().item()

        assert train(stages=5) > 0.95 > 0.8 > train()

    @pytest.mark.parametrize(
        ("widths", "stages", "expected"),
        [
            ((128, 96, 64, 32), None, [128, 96, 64, 32]),
            ((128, 96, 64, 32), 5, [128, 96, 64, 32, 16]),
            ((128, 96, 64, 32), 2, [128, 96]),
            ((12,), 3, [12, 8, 8]),
        ],
    )
    def test_the_number_of_stages_sets_the_widths(
        self, widths: tuple[int, ...], stages: int | None, expected: list[int]
    ) -> None:
        decoder = FPNDecoder(self.CHANNELS, 2, widths, stages)
        assert [block.mix[0].out_channels for block in decoder.stages] == expected  # type: ignore[index, union-attr]

    def test_more_stages_than_features_are_refused_with_the_fix(self) -> None:
        with pytest.raises(ConfigError, match=r"`stages` 5 needs 5 features, but the encoder has 4; set `stages` to 4"):
            build_decoder({"name": "fpn", "stages": 5}, [96, 192, 384, 768], 2)
        with pytest.raises(ConfigError, match=r"decoder 'fpn': stages: .*less than or equal to 16"):
            build_decoder({"name": "fpn", "stages": 17}, [8] * 5, 2)


class TestPix2Pix:
    CHANNELS = (96, 144, 192, 576, 320)

    def test_the_number_of_parameters_is_that_of_the_tutorial(self) -> None:
        decoder = Pix2PixDecoder(self.CHANNELS, classes=3)
        assert sum(p.numel() for p in decoder.parameters() if p.requires_grad) == 4_660_323

    def test_filters_kernels_and_strides(self) -> None:
        decoder = Pix2PixDecoder(self.CHANNELS, classes=3)
        convolutions = [block.conv for block in decoder.stages if isinstance(block, Pix2PixBlock)]
        layers = [*convolutions, decoder.logits]
        assert [each.out_channels for each in convolutions] == [512, 256, 128, 64]
        assert [each.in_channels for each in convolutions] == [320, 512 + 576, 256 + 192, 128 + 144]
        assert all(isinstance(each, nn.ConvTranspose2d) for each in layers)
        assert all(each.kernel_size == (3, 3) for each in layers)
        assert all(each.stride == (2, 2) for each in layers)
        assert all(each.bias is None for each in convolutions)
        assert (decoder.logits.in_channels, decoder.logits.out_channels) == (64 + 96, 3)

    def test_weights_start_with_a_normal_distribution(self) -> None:
        torch.manual_seed(0)
        for block in Pix2PixDecoder(self.CHANNELS, classes=3).stages:
            assert isinstance(block, Pix2PixBlock)
            assert block.conv.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert abs(block.conv.weight.mean().item()) < 5e-4
            # No uniform distribution with this standard deviation has such values.
            assert block.conv.weight.abs().max() > 0.07
            assert torch.equal(block.norm.weight, torch.ones_like(block.norm.weight))

    @pytest.mark.parametrize("size", [(8, 12), (7, 11), (7, 12)], ids=str)
    def test_a_block_is_transposed_convolution_batch_norm_relu(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        block = Pix2PixBlock(6, 4).eval()
        mean, var = block.norm.running_mean, block.norm.running_var
        assert mean is not None and var is not None
        mean.normal_()
        var.uniform_(0.5, 2)
        nn.init.normal_(block.norm.weight)
        nn.init.normal_(block.norm.bias)
        x = torch.randn(2, 6, 4, 6)
        # The full transposed convolution. A padding of 1 removes a row and a column at the top and left.
        full = F.conv_transpose2d(x, block.conv.weight, stride=2)
        raw = F.pad(full, (0, 1, 0, 1))[..., 1 : 1 + size[0], 1 : 1 + size[1]]
        scale = block.norm.weight / torch.sqrt(var + 1e-3)
        normed = (raw - mean[:, None, None]) * scale[:, None, None]
        expected = (normed + block.norm.bias[:, None, None]).clamp(min=0)
        with torch.no_grad():
            torch.testing.assert_close(block([x], size), expected)
            # The inputs are concatenated in their order.
            torch.testing.assert_close(block([x[:, :4], x[:, 4:]], size), expected)

    def test_skips_are_concatenated_not_added(self) -> None:
        # Without the blocks' output, the logits are the last convolution of the first skip.
        decoder = Pix2PixDecoder([5, 7], classes=2).eval()
        block = decoder.stages[0]
        assert isinstance(block, Pix2PixBlock)
        nn.init.zeros_(block.conv.weight)
        skip, deep = torch.randn(1, 5, 8, 8), torch.randn(1, 7, 4, 4)
        with torch.no_grad():
            expected = F.conv_transpose2d(
                skip, decoder.logits.weight[64:], decoder.logits.bias, stride=2, padding=1, output_padding=1
            )
            torch.testing.assert_close(decoder([skip, deep], (16, 16)), expected)
