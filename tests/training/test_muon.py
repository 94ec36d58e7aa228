"""Muon compared with a singular value decomposition, and its AdamW with torch's."""

from typing import Any

import pytest
import torch
from torch import nn

from pixelwise.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_become_about_1(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    u, _, vt = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(-1, 1, min(shape))
    result = u.T @ orthogonalize(u @ torch.diag(values) @ vt) @ vt.T
    assert 0.6 < float(result.diagonal().min()) < float(result.diagonal().max()) < 1.3
    assert float((result - torch.diag(result.diagonal())).abs().max()) < 0.01


def test_a_matrix_of_zeros_stays() -> None:
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (48, 4, 3, 3), (24, 24, 1, 1)])
def test_an_update_of_a_convolution_has_the_size_of_one_of_adamw(
    shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.zeros(shape).contiguous(memory_format=memory_format))
    weight.grad = torch.randn(shape, generator=generator).contiguous(memory_format=memory_format)
    Muon([{"params": [weight], "lr": 0.01, "muon": True}], weight_decay=0.5, fused=False).step()
    update = weight.detach()
    assert float(update.square().mean().sqrt()) == pytest.approx(0.01 * 0.2, rel=0.2)
    singular = torch.linalg.svdvals(update.flatten(1))
    assert float(singular.max() / singular.min()) < 2
    assert float((update * weight.grad).sum()) < 0, "it goes down"


def test_weights_decay() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([{"params": [weight], "lr": 0.1, "muon": True}], weight_decay=0.5, fused=False).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


def test_the_momentum_is_kept() -> None:
    """The gradient of the second step is 0, so that its update is that of the momentum."""
    weight = nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([{"params": [weight], "lr": 0.1, "muon": True}], weight_decay=0.0, fused=False)
    weight.grad = torch.eye(4)
    optimizer.step()
    first = weight.detach().clone()
    weight.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), 2 * first)


@pytest.mark.parametrize("fused", [False, True])
def test_other_weights_are_trained_as_by_adamw(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(5, generator=generator), torch.randn(3, 4, generator=generator)]
    trained: list[list[nn.Parameter]] = []
    for optimizer_class in (Muon, torch.optim.AdamW):
        weights = [nn.Parameter(value.clone()) for value in values]
        groups: list[dict[str, Any]] = [{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.02}]
        optimizer = optimizer_class(groups, weight_decay=0.3, fused=fused)
        for step in range(4):
            for weight in weights:
                weight.grad = torch.sin(weight.detach() + step)
            optimizer.step()
        trained.append(weights)
    for ours, torchs in zip(*trained, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=0)


def test_weights_without_gradients_stay() -> None:
    weights = [nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    groups = [{"params": weights[:1], "lr": 0.1, "muon": True}, {"params": weights[1:], "lr": 0.1}]
    Muon(groups, weight_decay=0.5, fused=False).step()
    assert all(torch.equal(weight.detach(), torch.ones(4, 4)) for weight in weights)
