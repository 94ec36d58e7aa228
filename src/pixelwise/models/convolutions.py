"""Changes to the convolutions of a built model: padding like TensorFlow's, and float32 if bfloat16 is slow."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def use_same_padding(model: nn.Module) -> None:
    """Replace the strided convolutions in a model by convolutions with TensorFlow's padding "same", in place.

    The weights are kept. Convolutions with stride 1 or a 1x1 kernel are not replaced, because "same" padding is
    symmetric for stride 1 with an odd kernel, and zero for a 1x1 kernel.
    """
    from timm.layers.conv2d_same import Conv2dSame

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and max(child.stride) > 1 and max(child.kernel_size) > 1:
                same = Conv2dSame(
                    child.in_channels,
                    child.out_channels,
                    (child.kernel_size[0], child.kernel_size[1]),
                    (child.stride[0], child.stride[1]),
                    dilation=(child.dilation[0], child.dilation[1]),
                    groups=child.groups,
                    bias=child.bias is not None,
                )
                same.load_state_dict(child.state_dict())
                setattr(parent, name, same)


class Convolution:
    """A base class for convolutions that compute with any weights, which `forward` of torch's and timm's does not.

    Subclasses override `_conv_forward`, to which `nn.Conv2d` too gives the weights.
    """

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, self.bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight, bias)  # type: ignore[misc]


class _SamePadding(Convolution):
    """A base class for timm's Conv2dSame. On a CPU, a depthwise convolution pads the kernel and not the input.

    TensorFlow's padding "same" adds one row more at the bottom than at the top if the total is odd, which no
    convolution of torch offers. timm copies the input to pad it. This class adds a row of zeros at the top of the
    kernel, and pads the input by the larger number of rows on both sides, which the convolution does without a copy.
    Columns are padded likewise. Each output is the same sum with additional products of 0. For depthwise convolutions
    these cost less than the copy.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.groups == 1 or x.device.type != "cpu" or max(self.dilation) > 1:
            from timm.layers.conv2d_same import conv2d_same

            return conv2d_same(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        totals = [
            max((-(-side // stride) - 1) * stride + kernel - side, 0)
            for side, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        ]
        # The last entry is that of the columns, and F.pad takes the columns first.
        weight = F.pad(weight, (totals[1] % 2, 0, totals[0] % 2, 0)) if any(n % 2 for n in totals) else weight
        padding = [(total + 1) // 2 for total in totals]
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


def avoid_padding_copies(model: nn.Module) -> None:
    """Make timm's depthwise convolutions with TensorFlow's padding compute without a copy of their input on a CPU.

    The model is changed in place. Its weights are not changed, and its outputs are equal (docs/decisions.md).

    Args:
        model: the model.
    """
    from timm.layers.conv2d_same import Conv2dSame

    for module in model.modules():
        if type(module) is Conv2dSame:
            module.__class__ = mixed_with(_SamePadding, Conv2dSame)


class _Float32Gradients(Convolution):
    """A base class for convolutions that compute in float32 on a CPU if their input needs gradients."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (x.requires_grad and x.device.type == "cpu"):
            return super()._conv_forward(x, weight, bias)
        with torch.autocast("cpu", enabled=False):
            return super()._conv_forward(x.float(), weight, bias)


def use_float32_gradients(conv: nn.Conv2d) -> None:
    """Make a convolution compute in float32 on a CPU if its input needs gradients, in place.

    This is for strided depthwise convolutions. On a CPU, the gradient of their input takes tens of times longer in
    bfloat16 than in float32 (docs/decisions.md).
    """
    kind: Any = type(conv)
    if not issubclass(kind, _Float32Gradients):
        conv.__class__ = mixed_with(_Float32Gradients, kind)


@cache
def mixed_with(base: type, kind: type) -> Any:
    """Return a subclass of `kind` with the methods of `base`.

    Changing the class of a module keeps its position in the model, its hooks and the names of its tensors. torch's
    parametrizations do the same.
    """
    return type(f"{base.__name__.strip('_')}{kind.__name__}", (base, kind), {})
