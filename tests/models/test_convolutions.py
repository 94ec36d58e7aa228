"""Convolutions with TensorFlow's padding compute the same with and without a copy of their input."""

import copy
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from pixelwise.models.convolutions import avoid_padding_copies, use_float32_gradients
from pixelwise.models.encoder import Encoder


def pair(**options: Any) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return timm's convolution and one with the same weights that pads its kernel."""
    torch.manual_seed(0)
    theirs = nn.Sequential(Conv2dSame(6, 6, **options))
    ours = copy.deepcopy(theirs)
    avoid_padding_copies(ours)
    assert type(theirs[0]) is Conv2dSame and type(ours[0]) is not Conv2dSame
    assert isinstance(theirs[0], nn.Conv2d) and isinstance(ours[0], nn.Conv2d)
    return theirs[0], ours[0]


def image(height: int, width: int, seed: int = 0) -> Tensor:
    pixels = torch.randn(2, 6, height, width, generator=torch.Generator().manual_seed(seed))
    return pixels.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", [2, 3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("groups", [2, 6])
def test_outputs_and_gradients_are_those_of_timm(kernel: int, stride: int, groups: int) -> None:
    theirs, ours = pair(kernel_size=kernel, stride=stride, groups=groups, bias=True)
    for height, width in product((16, 17, 18, 19), (20, 21, 22)):
        inputs = [image(height, width).requires_grad_() for _ in range(2)]
        expected, output = theirs(inputs[0]), ours(inputs[1])
        torch.testing.assert_close(output, expected, rtol=0, atol=2e-6)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
        for conv, result in ((theirs, expected), (ours, output)):
            conv.zero_grad()
            (result * weights).sum().backward()
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-5, atol=1e-5)
        for name in ("weight", "bias"):
            torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad, rtol=1e-5, atol=1e-4)


def test_unequal_strides_and_dilation() -> None:
    for options in ({"kernel_size": (3, 5), "stride": (2, 1)}, {"kernel_size": 3, "stride": 2, "dilation": 2}):
        theirs, ours = pair(**options, groups=6)
        for height, width in product((16, 17), (18, 19)):
            x = image(height, width)
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=2e-6)


def test_the_kernel_is_padded_and_not_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    padded: list[tuple[int, ...]] = []
    pad = F.pad

    def record(x: Tensor, *args: Any, **options: Any) -> Tensor:
        padded.append(tuple(x.shape))
        return pad(x, *args, **options)

    monkeypatch.setattr(F, "pad", record)
    theirs, ours = pair(kernel_size=3, stride=2, groups=6)
    theirs(image(64, 65))
    ours(image(64, 64))
    ours(image(65, 65))
    assert padded == [(2, 6, 64, 65), (6, 1, 3, 3)], "odd sides need no padding of the kernel"


def test_float32_gradients_can_be_added() -> None:
    theirs, ours = pair(kernel_size=3, stride=2, groups=6)
    use_float32_gradients(ours)
    x = image(16, 16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = ours(x)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, theirs(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "padding"), [("tf_efficientnet_lite0", "native"), ("mobilenetv2_100", "same"), ("tf_mixnet_s", "native")]
)
def test_whole_encoders(name: str, padding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = Encoder(name, padding=padding, image_size=64).eval()
    assert all(module.groups == 1 for module in encoder.modules() if type(module) is Conv2dSame)
    monkeypatch.setattr("pixelwise.models.encoder.avoid_padding_copies", lambda model: None)
    other = Encoder(name, padding=padding, image_size=64).eval()
    assert [module for module in other.modules() if type(module) is Conv2dSame and module.groups > 1]
    assert list(encoder.state_dict()) == list(other.state_dict())
    other.load_state_dict(encoder.state_dict())
    for side in (64, 95):
        pixels = torch.randn(1, 3, side, side + 1)
        with torch.no_grad():
            for ours, theirs in zip(encoder(pixels), other(pixels), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
