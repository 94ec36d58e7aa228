"""The rules for the encoder: its size follows from the time budget."""

from typing import Any

import pytest

import pixelwise as pw
from pixelwise.planning import encoder_rules
from pixelwise.planning.encoder_rules import (
    MIN_BUDGET,
    MIN_IMAGE_BUDGET,
    MIN_SEEN,
    describe_sizes,
    fit_encoder,
)
from pixelwise.planning.rule import Decision
from pixelwise.planning.rules import make_plan
from tests.planning.helpers import make_report

COUNT, TARGET = 255, 12_000


def fit(budget: float | None, seconds_per_epoch: float, **options: Any) -> dict[str, Decision]:
    """Return the decisions if the smallest encoder takes this long per epoch."""
    config = pw.Config(image_size=256, time_budget=budget)
    return fit_encoder(config, COUNT, TARGET, lambda timed: timed.epochs * seconds_per_epoch, **options)


def test_the_largest_encoder_that_sees_enough_images() -> None:
    sizes = [fit(600, seconds)["encoder"].value for seconds in (20.0, 11.5, 11.1, 5.0)]
    assert sizes == [f"tf_efficientnet_lite{number}" for number in (0, 0, 1, 2)]
    reason = fit(600, 11.1)["encoder"].reason
    assert reason.startswith("size m: in 10 min it sees about 12,") and "size l would see 11," in reason
    assert fit(600, 60.0)["encoder"].value == "tf_efficientnet_lite0", "even the smallest does not see enough"


LARGER = {"image_size": Decision(320, "larger"), "start_size": Decision(224, "larger")}
"""They have 1.5625 times as many pixels as images of 256 px."""


@pytest.mark.parametrize("budget", [600, 240])
def test_the_images_are_larger_if_enough_of_them_are_seen(budget: float) -> None:
    limit = budget * COUNT / 1.5625 / (MIN_SEEN * TARGET)
    chosen = [fit(budget, seconds, larger=LARGER) for seconds in (limit + 0.01, limit - 0.01)]
    assert ["image_size" in decisions for decisions in chosen] == [False, True]
    encoders = {decisions["encoder"].value for decisions in chosen if "encoder" in decisions}
    assert encoders == ({"tf_efficientnet_lite0"} if budget > MIN_BUDGET else set()), "a short budget keeps it"
    assert fit(budget, 1.0, larger=LARGER).items() >= LARGER.items()


def test_short_budgets_and_missing_packages_keep_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit(None, 1.0, larger=LARGER) == fit(MIN_BUDGET, 1.0) == fit(MIN_IMAGE_BUDGET, 1.0, larger=LARGER) == {}
    monkeypatch.setattr(encoder_rules, "has_bundled_weights", lambda name: False)
    assert fit(600, 1.0) == {}
    assert fit(600, 1.0, larger=LARGER) == LARGER


def test_the_plan_measures_only_if_the_encoder_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float | None] = []

    def estimate(data: Any, config: pw.Config, train_count: int, progress: Any) -> float:
        calls.append(config.time_budget)
        return 10.0

    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", estimate)
    plan = make_plan(make_report(images=300), {"time_budget": 600})
    assert plan.settings["encoder"] == "tf_efficientnet_lite2" and "size l" in plan.reasons["encoder"]
    assert pw.Config.from_preset(base=plan.settings).encoder_weights == "bundled"
    assert calls == [None]
    for given in ({"encoder": "resnet18"}, {"model_size": "s"}, {"encoder_weights": "none"}):
        make_plan(make_report(images=300), {"time_budget": 600, **given})
    make_plan(make_report(images=300), {"time_budget": 600}, timed=False)
    assert calls == [None]


def test_the_plan_states_the_time_of_larger_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **options: 600.0)
    assert "model size m about 11 min and l about 12 min" in make_plan(make_report()).reasons["encoder"]
    assert describe_sizes("tf_efficientnet_lite2", 600) == describe_sizes("resnet18", 600) == ""
