"""The optimizer Muon for weights that are matrices, with AdamW for all others."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_MOMENTUM = 0.9
"""Momentum of Muon. 0.8 is as good, and 0.95 is worse in trainings of some hundred steps (docs/decisions.md)."""

_ITERATIONS, _COEFFICIENTS = 5, (3.4445, -4.775, 2.0315)
"""The Newton-Schulz iteration of Jordan et al. 2024. Singular values from 0.003 to 1 become about 0.7 to 1.2."""

_ADAMW_RMS = 0.2
"""Root mean square of an update of AdamW with a learning rate of 1, measured by Liu et al. 2025."""

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""The parameters of AdamW, as in `torch.optim.AdamW`."""


class Muon(torch.optim.Optimizer):
    """Muon for weights that are matrices, and AdamW for all others.

    The momentum of a matrix has few large singular values, so most of an update of AdamW is in few directions. Muon
    replaces the momentum M = U S V^T by U V^T, so that all directions change by the same amount. Newton-Schulz
    iterations compute it approximately. The update has the root mean square of an update of AdamW, so both have the
    same learning rate and weight decay.

    The weight of a convolution, (out, in, h, w), is a matrix with `out` rows. torch's and timm's Muon compute in
    bfloat16, for which many CPUs have no instructions, and torch's accepts no convolutions. This one computes in
    float32.

    References: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, "Muon is Scalable for LLM Training".

    Args:
        groups: the parameter groups. The weights of a group with `muon` True have two dimensions or more.
        weight_decay: the decoupled weight decay of groups without their own.
        fused: True to use torch's fused implementation of AdamW.

    >>> weight = torch.nn.Parameter(torch.zeros(2, 3))
    >>> weight.grad = torch.tensor([[100.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> Muon([{"params": [weight], "lr": 1.0, "muon": True}], weight_decay=0.0, fused=False).step()
    >>> bool((weight.diagonal() < -0.2).all())
    True
    """

    def __init__(self, groups: Iterable[dict[str, Any]], weight_decay: float, fused: bool) -> None:
        super().__init__(groups, {"weight_decay": weight_decay, "muon": False, "fused": fused})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights that have a gradient.

        Args:
            closure: always None. It is a parameter of all optimizers of torch.
        """
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if group["muon"]:
                for weight in weights:
                    self._update_matrix(weight, group["lr"], group["weight_decay"])
            elif weights:
                self._update_others(weights, group)

    def _update_matrix(self, weight: Tensor, rate: float, weight_decay: float) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        direction = gradient.lerp(momentum, _MOMENTUM)  # Nesterov's momentum
        matrix = orthogonalize(direction.flatten(1))
        weight.mul_(1 - rate * weight_decay)
        weight.sub_(matrix.reshape(weight.shape), alpha=rate * _ADAMW_RMS * max(matrix.shape) ** 0.5)

    def _update_others(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {
                    "step": torch.zeros((), device=weight.device if group["fused"] else "cpu"),
                    "exp_avg": torch.zeros_like(weight),
                    "exp_avg_sq": torch.zeros_like(weight),
                }
        averages, squares, steps = (
            [self.state[weight][name] for weight in weights] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            averages,
            squares,
            [],
            steps,
            fused=group["fused"],
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=_EPSILON,
            maximize=False,
        )


def is_matrix(weight: Tensor) -> bool:
    """Return whether Muon can update a weight. The kernels of depthwise convolutions and biases are no matrices.

    Args:
        weight: a weight of any shape.

    >>> is_matrix(torch.empty(8, 4, 3, 3)), is_matrix(torch.empty(8, 1, 3, 3)), is_matrix(torch.empty(8))
    (True, False, False)
    """
    return weight.ndim >= 2 and min(weight.shape[:2]) > 1


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about U V^T for a matrix U S V^T, by Newton-Schulz iterations.

    Args:
        matrix: (rows, columns) float.

    Returns:
        (rows, columns) float. Singular values of 0 stay 0.

    >>> orthogonalize(torch.diag(torch.tensor([5.0, 0.5]))).round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix) / matrix.norm().clamp(min=1e-30)
    first, second, third = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = first * x + torch.addmm(square, square, square, beta=second, alpha=third) @ x
    return x.T if is_tall else x
