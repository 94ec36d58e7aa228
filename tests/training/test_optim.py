"""The optimizer's groups and the shape of the learning-rate schedules."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch

import pixelwise as pw
from pixelwise.models.model import SegmentationModel
from pixelwise.training.optim import build_lr_schedule, build_optimizer


def build(config: pw.Config) -> tuple[SegmentationModel, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = config.create_model(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    return model, build_optimizer(model, config, fused=False)


def make_config(**settings: Any) -> pw.Config:
    defaults: dict[str, Any] = {
        "encoder": "test_efficientnet",
        "encoder_weights": "none",
        "image_size": 32,
        "optimizer": "adamw",
    }
    return pw.Config(**defaults | {"device": "cpu"} | settings)


def parameter_ids(parameters: Iterable[torch.Tensor]) -> set[int]:
    return {id(parameter) for parameter in parameters}


class TestOptimizer:
    def test_decoder_and_encoder_have_a_group_each(self) -> None:
        model, optimizer = build(make_config(lr=0.02, encoder_lr_factor=0.25, weight_decay=0.3))
        decoder, encoder = optimizer.param_groups
        assert parameter_ids(decoder["params"]) == parameter_ids(model.decoder.parameters())
        assert parameter_ids(encoder["params"]) == parameter_ids(model.encoder.parameters())
        assert (decoder["lr"], encoder["lr"]) == (0.02, 0.005)
        assert decoder["weight_decay"] == encoder["weight_decay"] == 0.3

    def test_muon_trains_the_matrices_of_the_decoder(self) -> None:
        model, optimizer = build(make_config(optimizer="muon", lr=0.02, encoder_lr_factor=0.25))
        others, matrices, encoder = optimizer.param_groups
        trained = parameter_ids(matrices["params"])
        assert trained < parameter_ids(model.decoder.parameters())
        convolutions = [module for module in model.decoder.modules() if isinstance(module, torch.nn.Conv2d)]
        assert trained == parameter_ids(module.weight for module in convolutions if module.out_channels != 2)
        assert len(trained) == len(convolutions) - 1, "the layer of the logits is trained by AdamW"
        assert parameter_ids(others["params"]) == parameter_ids(model.decoder.parameters()) - trained
        assert parameter_ids(encoder["params"]) == parameter_ids(model.encoder.parameters())
        assert (others["lr"], matrices["lr"], encoder["lr"]) == (0.02, 0.02, 0.005)
        assert [group["muon"] for group in optimizer.param_groups] == [False, True, False]

    def test_depthwise_convolutions_of_a_decoder_are_trained_by_adamw(self) -> None:
        model, optimizer = build(make_config(optimizer="muon", decoder="fpn"))
        block = torch.nn.Conv2d(8, 8, 3, groups=8)
        model.decoder.add_module("extra", block)
        optimizer = build_optimizer(model, make_config(optimizer="muon"), fused=False)
        assert id(block.weight) in parameter_ids(optimizer.param_groups[0]["params"])

    def test_a_frozen_encoder_has_no_group(self) -> None:
        model, optimizer = build(make_config(encoder_training="none"))
        (group,) = optimizer.param_groups
        assert parameter_ids(group["params"]) == parameter_ids(model.decoder.parameters())

    def test_frozen_depthwise_weights_are_left_out(self) -> None:
        model, optimizer = build(make_config(encoder_training="all", freeze_depthwise=True))
        depthwise = [
            module.weight
            for module in model.encoder.modules()
            if isinstance(module, torch.nn.Conv2d) and module.groups > 1
        ]
        assert depthwise
        assert not parameter_ids(depthwise) & parameter_ids(optimizer.param_groups[1]["params"])

    @pytest.mark.parametrize("factor", [0.01, 1.0])
    def test_the_encoder_factor_scales_the_encoders_steps(self, factor: float) -> None:
        model, optimizer = build(make_config(lr=1e-3, encoder_lr_factor=factor, weight_decay=0.0))
        moved = {}
        for name, part in (("decoder", model.decoder), ("encoder", model.encoder)):
            moved[name] = [(parameter, parameter.detach().clone()) for parameter in part.parameters()]
        torch.manual_seed(1)
        model(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)).square().mean().backward()
        optimizer.step()
        steps = {
            name: max(float((now - before).detach().abs().max()) for now, before in pairs)
            for name, pairs in moved.items()
        }
        # The first step of Adam moves every weight with a gradient by the learning rate.
        assert steps["decoder"] == pytest.approx(1e-3, rel=0.02)
        assert steps["encoder"] == pytest.approx(factor * 1e-3, rel=0.02)


def rates(config: pw.Config, steps: int) -> list[list[float]]:
    """Return the learning rate of each group before each of the steps and after the last one."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [
        {"params": [parameters[0]], "lr": config.lr},
        {"params": [parameters[1]], "lr": config.lr * config.encoder_lr_factor},
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = build_lr_schedule(optimizer, config, steps)
    result = []
    for _ in range(steps):
        result.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    result.append([group["lr"] for group in optimizer.param_groups])
    return result


class TestPretrainedDecay:
    @staticmethod
    def distance_after_steps(strength: float, steps: int = 5) -> float:
        config = make_config(encoder="tf_efficientnet_lite0", encoder_weights="bundled", pretrained_decay=strength)
        model, optimizer = build(config)
        weights = list(model.encoder.parameters())
        pretrained = [weight.detach().clone() for weight in weights]
        for _ in range(steps):
            for weight in model.parameters():
                weight.grad = torch.ones_like(weight)
            optimizer.step()
        return max(
            float((weight - target).detach().abs().max()) for weight, target in zip(weights, pretrained, strict=True)
        )

    def test_it_keeps_the_encoder_near_its_pretrained_weights(self) -> None:
        free, kept = (self.distance_after_steps(strength) for strength in (1e-9, 1e3))
        assert free == pytest.approx(5 * 3e-4, rel=0.01)
        # Each step of 3e-4 is followed by a move of 30 % of the way back.
        assert kept == pytest.approx(3e-4 * sum(0.7**k for k in range(1, 6)), rel=0.01)

    def test_it_replaces_the_weight_decay_of_the_encoder_only(self) -> None:
        config = make_config(encoder="tf_efficientnet_lite0", encoder_weights="bundled", pretrained_decay=1.0)
        _, optimizer = build(config)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]

    def test_it_is_that_of_the_encoder_with_muon_too(self) -> None:
        config = make_config(
            encoder="tf_efficientnet_lite0", encoder_weights="bundled", pretrained_decay=1.0, optimizer="muon"
        )
        _, optimizer = build(config)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0.0]

    def test_weights_without_gradients_stay(self) -> None:
        config = make_config(encoder="tf_efficientnet_lite0", encoder_weights="bundled", pretrained_decay=1.0)
        model, optimizer = build(config)
        weight = next(model.encoder.parameters())
        with torch.no_grad():
            weight.add_(1)
        moved = weight.detach().clone()
        optimizer.step()
        assert torch.equal(weight, moved)

    @pytest.mark.parametrize(
        ("settings", "fault"),
        [({}, "needs pretrained weights"), ({"encoder_training": "none"}, "does not train")],
    )
    def test_it_is_refused_if_it_has_no_effect(self, settings: dict[str, Any], fault: str) -> None:
        with pytest.raises(pw.errors.ConfigError, match=fault):
            build(make_config(pretrained_decay=1.0, **settings))


class TestSchedule:
    def test_constant(self) -> None:
        config = pw.Config(lr=0.1, encoder_lr_factor=0.5, lr_schedule="constant")
        assert rates(config, 5) == [[0.1, 0.05]] * 6

    def test_onecycle_rises_for_a_quarter_of_the_steps_and_then_falls(self) -> None:
        config = pw.Config(lr=0.1, encoder_lr_factor=0.5, lr_schedule="onecycle")
        decoder = [rate[0] for rate in rates(config, 100)]
        peak = decoder.index(max(decoder))
        assert 23 <= peak <= 26
        assert max(decoder) == pytest.approx(0.1, rel=0.01)
        assert all(a < b for a, b in pairwise(decoder[: peak + 1]))
        assert all(a > b for a, b in pairwise(decoder[peak:]))
        assert decoder[0] == pytest.approx(0.1 / 25)
        assert decoder[-1] == pytest.approx(0.1 / 25e4, rel=0.01)

    def test_onecycle_keeps_the_ratio_of_the_groups(self) -> None:
        for decoder, encoder in rates(pw.Config(lr=0.1, encoder_lr_factor=0.5, lr_schedule="onecycle"), 20):
            assert encoder == pytest.approx(decoder / 2)

    @pytest.mark.parametrize("steps", [1, 2, 3, 4])
    def test_onecycle_of_a_few_steps(self, steps: int) -> None:
        values = [rate[0] for rate in rates(pw.Config(lr=0.1), steps)]
        assert all(0 < rate <= 0.1 for rate in values)
