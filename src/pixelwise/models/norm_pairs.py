"""Find the convolution whose output each batch norm takes."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MAX_DIFFERENCE = 1e-3
"""Maximum difference of the outputs if a batch norm becomes a part of a convolution, divided by the largest output.

Rounding in float32 causes about 1e-6. If the output of a convolution is also used without its batch norm, the outputs
change, and the difference is many times as large.
"""

_Output = TypeVar("_Output")


def find_pairs(model: nn.Module, run: Callable[[], _Output]) -> tuple[list[tuple[str, str]], _Output]:
    """Return the names of each convolution and of the batch norm that takes its output.

    The pairs are found by the identity of tensors during a forward pass. Batch norms in training mode and modules that
    run several times are left out.

    Args:
        model: the model.
        run: computes an output of the model.

    Returns:
        The pairs (name of the convolution, name of the batch norm), and the output.
    """
    outputs: dict[int, tuple[str, Tensor]] = {}  # keeps the tensors, so that no id is used twice
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_conv(name: str, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        outputs[id(output)] = name, output

    def before_norm(name: str, value: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if id(value) in outputs:
            pairs.append((outputs[id(value)][0], name))

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: after_conv(name, output)))
        elif isinstance(module, _BatchNorm) and not module.training and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: before_norm(name, inputs[0])))
    try:
        output = run()
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1], output
