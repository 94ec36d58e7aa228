"""The contract of every registered metric, and the registry's functions."""

import math

import pytest
import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS, TASKS, Task
from pixelwise.errors import ConfigError
from pixelwise.metrics import METRICS, Metric, build_metric, list_metrics, register_metric

CLASSES = ("cat", "dog", "rest")

every_metric = pytest.mark.parametrize(
    ("name", "task"),
    [(name, task) for name in METRICS for task in TASKS.values()],
    ids=[f"{name}-{task.name}" for name in METRICS for task in TASKS.values()],
)


def make_images(task: Task, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Return masks with ignored pixels, and predictions that agree with them in most pixels; each of another size."""
    generator = torch.Generator().manual_seed(0)
    values = 3 if task is MULTICLASS else 2
    pairs = []
    for index in range(count):
        shape = task.mask_shape(3, 40 + index, 50)
        blocks = torch.randint(values, (*shape[:-2], 4, 5), generator=generator, dtype=torch.uint8)
        mask = blocks.repeat_interleave(12, -2).repeat_interleave(10, -1)[..., : shape[-2], :]
        prediction = mask.roll(2, -1)
        mask[..., :3, :] = 255
        pairs.append((mask.contiguous(), prediction.contiguous()))
    return pairs


def results(metric: Metric, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, float | None]:
    for mask, prediction in pairs:
        metric.update(mask, prediction)
    return metric.compute()


@every_metric
def test_results_of_two_processes_are_those_of_one(name: str, task: Task) -> None:
    pairs = make_images(task)
    one, other = (build_metric(name, CLASSES, task) for _ in range(2))
    results(one, pairs[:1]), results(other, pairs[1:])
    total = one.state() + other.state()
    one.load(total)
    assert one.compute() == pytest.approx(results(build_metric(name, CLASSES, task), pairs))
    assert torch.equal(one.state(), total)


@every_metric
def test_a_state_is_a_copy(name: str, task: Task) -> None:
    pairs = make_images(task)
    metric = build_metric(name, CLASSES, task)
    results(metric, pairs[:1])
    state = metric.state()
    before = state.clone()
    results(metric, pairs[1:])
    assert torch.equal(state, before) and not torch.equal(metric.state(), before)


@every_metric
def test_a_correct_prediction_has_the_best_value(name: str, task: Task) -> None:
    pairs = [(mask, torch.where(mask == 255, prediction, mask)) for mask, prediction in make_images(task)]
    best = results(build_metric(name, CLASSES, task), pairs)
    worse = results(build_metric(name, CLASSES, task), make_images(task))
    assert best.keys() == worse.keys()
    assert best[name] == 1.0
    value = worse[name]
    assert value is not None and 0 < value < 1


@every_metric
def test_values_are_finite_or_none_without_images(name: str, task: Task) -> None:
    assert set(build_metric(name, CLASSES, task).compute().values()) == {None}
    for value in results(build_metric(name, CLASSES, task), make_images(task)).values():
        assert value is None or math.isfinite(value)


@every_metric
def test_ignored_pixels_have_no_influence(name: str, task: Task) -> None:
    pairs = make_images(task)
    other = [(mask, torch.where(mask == 255, 1 - prediction.clamp(max=1), prediction)) for mask, prediction in pairs]
    assert results(build_metric(name, CLASSES, task), pairs) == results(build_metric(name, CLASSES, task), other)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in METRICS for field in METRICS[name].params.model_fields]
)
def test_every_parameter_has_an_effect(name: str, field: str) -> None:
    pairs = make_images(MULTICLASS)
    default = METRICS[name].params.model_fields[field].default
    plain, changed = (
        build_metric(name, CLASSES, MULTICLASS),
        build_metric({"name": name, field: default * 3}, CLASSES, MULTICLASS),
    )
    assert results(plain, pairs) != results(changed, pairs)


def test_a_registered_metric_is_listed_and_built() -> None:
    @register_metric("image_count")
    class ImageCount:
        def __init__(self, classes: tuple[str, ...], task: Task) -> None:
            self.count = torch.zeros(())

        def update(self, mask: Tensor, prediction: Tensor) -> None:
            self.count += 1

        def compute(self) -> dict[str, float | None]:
            return {"image_count": float(self.count)}

        def state(self) -> Tensor:
            return self.count.clone()

        def load(self, state: Tensor) -> None:
            self.count = state

    try:
        assert "image_count" in list_metrics()
        assert results(build_metric("image_count", CLASSES, MULTICLASS), make_images(MULTICLASS)) == {"image_count": 4}
    finally:
        METRICS.unregister("image_count")


def test_an_unknown_metric_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"unknown metric 'boundary_iuo' \(did you mean 'boundary_iou'\?\)"):
        build_metric("boundary_iuo", CLASSES, MULTICLASS)
