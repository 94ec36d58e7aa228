"""What every decoder in DECODERS promises, and the tutorial's decoder number by number."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.models.decoders import DECODERS
from pixelwise.models.decoders.pix2pix import Pix2PixBlock, Pix2PixDecoder

# (channels, sizes of the features), shallow to deep, and the size that is asked for.
PYRAMIDS = {
    "two levels": ([8, 16], [(16, 16), (8, 8)], (32, 32)),
    "tutorial": ([96, 144, 192, 576, 320], [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)], (128, 128)),
    "odd and not square": ([8, 12, 20, 24], [(29, 46), (15, 23), (8, 12), (4, 6)], (57, 91)),
    "from a quarter on": ([10, 20, 40, 80], [(16, 16), (8, 8), (4, 4), (2, 2)], (64, 64)),
    "transformer": ([24, 24, 24], [(4, 4), (4, 4), (4, 4)], (64, 64)),
    "six levels, the first at full size": (
        [4, 8, 12, 16, 20, 24],
        [(33, 35), (17, 18), (9, 9), (5, 5), (3, 3), (2, 2)],
        (33, 35),
    ),
    "one pixel at the bottom": ([8, 16, 32], [(3, 5), (2, 3), (1, 1)], (6, 10)),
}


def make_features(channels: Sequence[int], sizes: Sequence[tuple[int, int]], count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(count, channel, *size, generator=generator) for channel, size in zip(channels, sizes, strict=True)
    ]


@pytest.mark.parametrize("name", DECODERS)
class TestEveryDecoder:
    @pytest.mark.parametrize("pyramid", PYRAMIDS)
    @pytest.mark.parametrize("classes", [1, 5])
    def test_logits_of_exactly_the_asked_size(self, name: str, pyramid: str, classes: int) -> None:
        channels, sizes, size = PYRAMIDS[pyramid]
        logits = DECODERS[name](channels, classes)(make_features(channels, sizes), size)
        assert logits.shape == (2, classes, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()

    @pytest.mark.parametrize("pyramid", ["two levels", "odd and not square", "transformer"])
    def test_every_parameter_and_every_feature_counts(self, name: str, pyramid: str) -> None:
        torch.manual_seed(0)
        channels, sizes, size = PYRAMIDS[pyramid]
        decoder = DECODERS[name](channels, 3)
        features = [feature.requires_grad_() for feature in make_features(channels, sizes)]
        logits = decoder(features, size)
        (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        for parameter_name, parameter in decoder.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name
        for level, feature in enumerate(features):
            assert feature.grad is not None and feature.grad.abs().sum() > 0, f"feature {level}"

    def test_overfits_one_batch(self, name: str) -> None:
        torch.manual_seed(0)
        channels, sizes, size = [8, 16, 24], [(12, 16), (6, 8), (3, 4)], (24, 32)
        decoder = DECODERS[name](channels, 3)
        features = make_features(channels, sizes, count=3)
        # Blobs as large as the coarsest feature can tell apart, with smooth edges.
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
        # As it is used, with the batch-norm statistics that it gathered.
        accuracy = (decoder.eval()(features, size).argmax(1) == target).float().mean()
        assert accuracy > 0.95

    def test_a_batch_of_one_trains(self, name: str) -> None:
        channels, sizes, size = PYRAMIDS["two levels"]
        decoder = DECODERS[name](channels, 3)
        decoder(make_features(channels, sizes, count=1), size).sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in decoder.parameters())

    def test_images_of_a_batch_do_not_see_each_other(self, name: str) -> None:
        channels, sizes, size = PYRAMIDS["odd and not square"]
        decoder = DECODERS[name](channels, 3).eval()
        features = make_features(channels, sizes, count=3)
        with torch.no_grad():
            together = decoder(features, size)
            alone = decoder([feature[1:2] for feature in features], size)
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)

    def test_channels_last_gives_the_same(self, name: str) -> None:
        channels, sizes, size = PYRAMIDS["from a quarter on"]
        decoder = DECODERS[name](channels, 3).eval()
        features = make_features(channels, sizes)
        with torch.no_grad():
            plain = decoder(features, size)
            decoder.to(memory_format=torch.channels_last)
            last = decoder([f.contiguous(memory_format=torch.channels_last) for f in features], size)
        torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)

    def test_features_are_not_changed(self, name: str) -> None:
        # An in-place ReLU on an encoder's output would spoil it for the next level.
        channels, sizes, size = PYRAMIDS["transformer"]
        features = make_features(channels, sizes)
        before = [feature.clone() for feature in features]
        DECODERS[name](channels, 3)(features, size)
        assert all(torch.equal(one, other) for one, other in zip(features, before, strict=True))


class TestPix2Pix:
    CHANNELS = (96, 144, 192, 576, 320)

    def test_as_many_parameters_as_the_tutorials(self) -> None:
        decoder = Pix2PixDecoder(self.CHANNELS, classes=3)
        assert sum(p.numel() for p in decoder.parameters() if p.requires_grad) == 4_660_323

    def test_filters_kernels_and_strides(self) -> None:
        decoder = Pix2PixDecoder(self.CHANNELS, classes=3)
        convolutions = [block.conv for block in decoder.stages]
        assert [each.out_channels for each in convolutions] == [512, 256, 128, 64]
        assert [each.in_channels for each in convolutions] == [320, 512 + 576, 256 + 192, 128 + 144]
        assert all(isinstance(each, nn.ConvTranspose2d) for each in [*convolutions, decoder.logits])
        assert all(each.kernel_size == (3, 3) for each in [*convolutions, decoder.logits])
        assert all(each.stride == (2, 2) for each in [*convolutions, decoder.logits])
        assert all(each.bias is None for each in convolutions)
        assert (decoder.logits.in_channels, decoder.logits.out_channels) == (64 + 96, 3)

    def test_starts_at_normal_0_02(self) -> None:
        torch.manual_seed(0)
        for block in Pix2PixDecoder(self.CHANNELS, classes=3).stages:
            assert block.conv.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert abs(block.conv.weight.mean().item()) < 5e-4
            # Normal, not uniform: values beyond any uniform of that spread.
            assert block.conv.weight.abs().max() > 0.07
            assert torch.equal(block.norm.weight, torch.ones_like(block.norm.weight))

    @pytest.mark.parametrize("size", [(8, 12), (7, 11), (7, 12)], ids=str)
    def test_a_block_is_transposed_convolution_batch_norm_relu(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        block = Pix2PixBlock(6, 4).eval()
        block.norm.running_mean.normal_()
        block.norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(block.norm.weight)
        nn.init.normal_(block.norm.bias)
        x = torch.randn(2, 6, 4, 6)
        # A full transposed convolution, of which padding 1 takes a row and a column off the top and left.
        full = F.conv_transpose2d(x, block.conv.weight, stride=2)
        raw = F.pad(full, (0, 1, 0, 1))[..., 1 : 1 + size[0], 1 : 1 + size[1]]
        scale = block.norm.weight / torch.sqrt(block.norm.running_var + 1e-3)
        normed = (raw - block.norm.running_mean[:, None, None]) * scale[:, None, None]
        expected = (normed + block.norm.bias[:, None, None]).clamp(min=0)
        with torch.no_grad():
            torch.testing.assert_close(block([x], size), expected)
            # Tensors to be concatenated come as they are: the skip last.
            torch.testing.assert_close(block([x[:, :4], x[:, 4:]], size), expected)

    def test_skips_are_concatenated_not_added(self) -> None:
        # With the blocks switched off, what is left is the last convolution over the first skip.
        decoder = Pix2PixDecoder([5, 7], classes=2).eval()
        nn.init.zeros_(decoder.stages[0].conv.weight)
        skip, deep = torch.randn(1, 5, 8, 8), torch.randn(1, 7, 4, 4)
        with torch.no_grad():
            expected = F.conv_transpose2d(
                skip, decoder.logits.weight[64:], decoder.logits.bias, stride=2, padding=1, output_padding=1
            )
            torch.testing.assert_close(decoder([skip, deep], (16, 16)), expected)
