"""Changes to the convolutions of a built model: TensorFlow's padding, and float32 if bfloat16 is slow."""

import torch
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


class _Float32Gradients:
    """A base class for convolutions that compute in float32 on a CPU if their input needs gradients."""

    def forward(self, x: Tensor) -> Tensor:
        if not (x.requires_grad and x.device.type == "cpu"):
            return super().forward(x)  # type: ignore[misc]
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())  # type: ignore[misc]


def use_float32_gradients(conv: nn.Conv2d) -> None:
    """Make a convolution compute in float32 on a CPU if its input needs gradients, in place.

    This is for strided depthwise convolutions. On a CPU, the gradient of their input takes tens of times longer in
    bfloat16 than in float32 (docs/decisions.md).
    """
    # Changing the class keeps the module's position in the model, its hooks and the names of its tensors. torch's
    # parametrizations do the same.
    kind = type(conv)
    if not issubclass(kind, _Float32Gradients):
        conv.__class__ = type(f"Float32{kind.__name__}", (_Float32Gradients, kind), {})
