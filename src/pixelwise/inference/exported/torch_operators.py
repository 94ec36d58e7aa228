"""The operators that a torch.export program of someone else may use: functions of tensors and numbers.

Operators that read files, take random numbers, return memory that was not written, or view memory beyond a tensor are
not among them. Those that are not listed but safe can be added.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import torch

_NAMES = """
    abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d add addcdiv addcmul addmm
    alias all amax amin any arange argmax argmin atan2 avg_pool1d avg_pool2d baddbmm batch_norm bitwise_and
    bitwise_not bitwise_or bitwise_xor bmm broadcast_tensors cat ceil celu chunk clamp clamp_max clamp_min clone
    concat constant_pad_nd contiguous conv1d conv2d conv_transpose1d conv_transpose2d convolution copy cos cosh
    cumprod cumsum detach diagonal diff div divide dropout einsum elu eq erf exp exp2 expand expand_as expm1
    feature_dropout fill flatten flip floor floor_divide fmod full full_like gather ge gelu glu greater group_norm gt
    hardshrink hardsigmoid hardswish hardtanh im2col index index_select instance_norm isfinite isinf isnan layer_norm
    le leaky_relu lerp less lift_fresh lift_fresh_copy linalg_vector_norm linear linspace log log10 log1p log2
    log_sigmoid log_softmax logical_and logical_not logical_or logical_xor logsumexp lt masked_fill matmul max
    max_pool1d max_pool2d maximum mean meshgrid min minimum mish mm moveaxis movedim mul multiply narrow
    native_group_norm native_layer_norm ne neg negative new_full new_ones new_zeros norm ones ones_like outer pad
    permute pixel_shuffle pixel_unshuffle positive pow prelu prod reciprocal reflection_pad1d reflection_pad2d relu
    relu6 remainder repeat repeat_interleave replication_pad1d replication_pad2d reshape reshape_as rms_norm roll
    rot90 round rsqrt rsub scalar_tensor scaled_dot_product_attention select selu sigmoid sign silu sin sinh slice
    softmax softmin softplus softshrink softsign split split_with_sizes sqrt square squeeze stack std std_mean sub
    subtract sum swapaxes swapdims sym_numel sym_size t tan tanh tensor_split threshold tile to transpose tril triu
    true_divide trunc type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze upsample_bicubic2d
    upsample_bilinear2d upsample_nearest1d upsample_nearest2d var var_mean view view_as where xlogy zero zeros
    zeros_like __and__ __or__ __xor__ _assert_scalar _assert_tensor_metadata _log_softmax _safe_softmax _softmax
    _to_copy _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
"""
_ALLOWED = frozenset(_NAMES.split())

_NUMBERS: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "eq", "floordiv", "ge", "gt", "le", "lt", "mod", "mul", "ne", "neg", "sub")
}
"""Functions of heights and widths."""

_TARGET = re.compile(r"torch\.ops\.aten\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)")


def operator_name(function: Any) -> str:
    """Return the name of an operator in a program.

    >>> operator_name(torch.ops.aten.conv2d.default), operator_name(operator.add)
    ('torch.ops.aten.conv2d.default', '_operator.add')
    """
    if isinstance(function, torch._ops.OpOverload):
        return f"torch.ops.{function}"
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', function)}"


def find_operator(target: str) -> Callable[..., Any]:
    """Return an operator by its name in a program.

    Args:
        target: such as "torch.ops.aten.conv2d.default".

    Raises:
        LookupError: It is not allowed, or this torch does not have it.
    """
    if target in _NUMBERS:
        return _NUMBERS[target]
    match = _TARGET.fullmatch(target)
    # A name that ends with "_" is that of the operator in place.
    is_allowed = match is not None and not {match[1], match[1].removesuffix("_")}.isdisjoint(_ALLOWED)
    if match is None or not is_allowed or "out" in match[2]:
        raise LookupError(f"the operator {target[:80]!r} is not among those that a program may use")
    found = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    if not isinstance(found, torch._ops.OpOverload):
        raise LookupError(f"torch {torch.__version__} has no operator {target[:80]!r}")
    return found
