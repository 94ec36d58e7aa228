"""Compute batch norms with constant statistics in the convolutions before them, while the weights of both train."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.models.convolutions import Convolution, mixed_with
from pixelwise.models.norm_pairs import MAX_DIFFERENCE, find_pairs

_BOUNDS = {nn.ReLU: (0.0, math.inf), nn.ReLU6: (0.0, 6.0)}
"""Activation → its smallest and largest output. An input between them is its own output."""

_MIN_SCALE = 1e-6
"""Scale of a batch norm, as an absolute value, below which the gradient of the scale is 0: it divides by the scale."""


def merge_norms(model: nn.Module, run: Callable[[], list[Tensor]]) -> None:
    """Compute each batch norm in evaluation mode in the convolution before it, in place.

    Such a batch norm is a linear function of each channel. Its scale multiplies the weights of the convolution, and its
    shift is a bias. This saves two passes over the largest tensors, forward and backward. The weights keep their names
    and values, and all get the same gradients as before, up to rounding. A batch norm that is in training mode later
    computes as before.

    If the weights of a convolution do not train, they get no gradient, which is slow for a depthwise convolution. The
    gradients of the batch norm's scale and shift are then computed from the outputs of its ReLU or ReLU6. Without
    one, the batch norm is not merged.

    Args:
        model: a model in evaluation mode. The changes of an earlier call are removed first.
        run: computes outputs of the model for an example. If they change by more than rounding, because the output
            of a convolution has another use too, the model is left as it is.
    """
    split_norms(model)
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return
    with torch.no_grad():
        names, expected = find_pairs(model, run)
        for conv_name, norm_name in names:
            conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm)
            if _can_merge(conv, norm):
                _merge(conv, norm)
        outputs = run()
    pairs = zip(outputs, expected, strict=True)
    if any((output - value).abs().max() > MAX_DIFFERENCE * value.abs().max() for output, value in pairs):
        split_norms(model)


def split_norms(model: nn.Module) -> None:
    """Compute each batch norm separately again, in place.

    Args:
        model: a model that `merge_norms` may have changed.
    """
    for module in model.modules():
        module.__dict__.pop("pair", None)


def _can_merge(conv: nn.Conv2d, norm: _BatchNorm) -> bool:
    """Return True if the batch norm that takes the output of a convolution can be computed in it."""
    # A convolution of an earlier call, which was split since, has the third one.
    takes_weights = type(conv).forward in (nn.Conv2d.forward, Convolution.forward, _ConvWithNorm.forward)
    is_linear = norm.affine and isinstance(getattr(norm, "drop", None), nn.Identity | None)
    is_trained = not conv.weight.requires_grad and norm.weight.requires_grad
    return takes_weights and is_linear and (not is_trained or type(getattr(norm, "act", None)) in _BOUNDS)


def _merge(conv: nn.Conv2d, norm: _BatchNorm) -> None:
    pair = _Pair(conv, norm)
    bases: dict[nn.Module, type] = {conv: _ConvWithNorm, norm: _NormInConv}
    for module, base in bases.items():
        kind: Any = type(module)
        if not issubclass(kind, base):
            module.__class__ = mixed_with(base, kind)
        module.__dict__["pair"] = pair


@dataclass(eq=False)
class _Pair:
    """A convolution and the batch norm that is computed in it.

    Attributes:
        conv: the convolution.
        norm: the batch norm.
    """

    conv: nn.Conv2d
    norm: _BatchNorm

    def __post_init__(self) -> None:
        self._stored: tuple[object, tuple[Tensor, Tensor]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_stored": None}

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights and the bias of a convolution that computes both, see `_compute_weights`.

        If none of the weights train, the result is computed once, and again after one of them has changed. Under
        autocast, it then has the type of the computation, so that it is not converted in each pass.
        """
        conv, norm = self.conv, self.norm
        sources = [conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        given = [tensor for tensor in sources if tensor is not None]
        is_constant = not any(tensor.requires_grad or tensor.is_inference() for tensor in given)
        if not is_constant or torch.compiler.is_compiling():
            return self._compute_weights()
        kind = conv.weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else conv.weight.dtype
        state = dtype, torch.is_inference_mode_enabled(), [(tensor.data_ptr(), tensor._version) for tensor in given]
        if self._stored is None or self._stored[0] != state:
            weight, bias = self._compute_weights()
            self._stored = state, (weight.to(dtype), bias.to(dtype))
        return self._stored[1]

    def _compute_weights(self) -> tuple[Tensor, Tensor]:
        """Compute the weights and the bias. They have no gradients if those of the convolution have none."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.conv.weight.requires_grad):
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            mean = norm.running_mean if self.conv.bias is None else norm.running_mean - self.conv.bias
            return self.conv.weight * scale.view(-1, 1, 1, 1), norm.bias - mean * scale

    def activate(self, x: Tensor) -> Tensor:
        """Return the outputs of the activation that the batch norm contains, for the output of the convolution."""
        act = getattr(self.norm, "act", None)
        if act is None:
            return x
        bounds = _BOUNDS.get(type(act))
        if bounds is None or not torch.is_grad_enabled():
            output: Tensor = act(x)
            return output
        trained = (None, None) if self.conv.weight.requires_grad else (self.norm.weight, self.norm.bias)
        clamped: Tensor = _Clamp.apply(x, *trained, *bounds)
        return clamped


class _ConvWithNorm:
    """A base class for convolutions that compute the batch norm after them, if it is in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        pair: _Pair | None = self.__dict__.get("pair")
        if pair is None or pair.norm.training:
            return super().forward(x)  # type: ignore[misc]
        return self._conv_forward(x, *pair.weights())  # type: ignore[attr-defined]


class _NormInConv:
    """A base class for batch norms that the convolutions before them compute, if they are in evaluation mode."""

    training: bool

    def forward(self, x: Tensor) -> Tensor:
        pair: _Pair | None = self.__dict__.get("pair")
        if pair is None or self.training:
            return super().forward(x)  # type: ignore[misc]
        return pair.activate(x)


class _Clamp(torch.autograd.Function):
    """Clamp a tensor in place. The gradients are computed from the result, so that no copy of the input is needed.

    The input is scale * u + shift for a u that is not known, one scale and shift for each channel. Each element with
    a gradient is in the result as it was in the input. So the gradient of the scale, the sum of gradients times u, is
    computed from the result, the scale and the shift.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None, low: float, high: float) -> Tensor:
        x.clamp_(low, high)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, scale, shift)
        ctx.bounds = low, high
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        output, scale, shift = ctx.saved_tensors
        grad = torch.ops.aten.hardtanh_backward(grad, output, *ctx.bounds)
        if scale is None or not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return grad, None, None, None, None
        product_sum, shift_grad = _channel_sums(grad, output)
        scale_grad = (product_sum - shift * shift_grad) / scale
        scale_grad = scale_grad.where(scale.abs() >= _MIN_SCALE, 0.0)
        return grad, scale_grad, shift_grad, None, None


def _channel_sums(grad: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of grad * output and of grad for each channel.

    Args:
        grad: (N, C, H, W) float.
        output: (N, C, H, W), of the same type.

    Returns:
        Two tensors of shape (C,), in float32 or float64.
    """
    dtype = torch.promote_types(grad.dtype, torch.float32)
    if grad.device.type != "cpu":
        return (grad.to(dtype) * output.to(dtype)).sum((0, 2, 3)), grad.sum((0, 2, 3), dtype=dtype)
    # With a mean of 0 and a variance of 1, these are the gradients of a batch norm, which a CPU computes in one pass.
    zeros, ones = (torch.full((grad.shape[1],), value, dtype=dtype) for value in (0.0, 1.0))
    _, product_sum, grad_sum = torch.ops.aten.native_batch_norm_backward(
        grad, output, None, zeros, ones, None, None, False, 0.0, [False, True, True]
    )
    return product_sum, grad_sum
