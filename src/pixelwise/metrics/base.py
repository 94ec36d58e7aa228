"""The registry of metrics and their common interface."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.registry import ComponentSpec, Registry


class Metric(Protocol):
    """A metric that is accumulated over images.

    It is built with `classes`, the names in index order, and `task`. Its parameters are keyword arguments. Several
    processes each update a metric of their own with different images. The sum of their states, loaded into any of
    them, gives the result over all images.
    """

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add one image.

        Args:
            mask: the true mask of the metric's task, uint8 on the CPU with 255 = ignore.
            prediction: the predicted mask of the same shape, uint8 on the CPU, without 255.
        """
        ...

    def compute(self) -> dict[str, float | None]:
        """Return the results over all images by name; None if there is nothing to measure."""
        ...

    def state(self) -> Tensor:
        """Return the sums over images, a tensor of a fixed shape on the CPU."""
        ...

    def load(self, state: Tensor) -> None:
        """Replace the sums over images.

        Args:
            state: a sum of `state()` of metrics with the same settings.
        """
        ...


METRICS: Registry[Callable[..., Metric]] = Registry("metric")
"""Metrics that are computed on request, beside those of the confusion matrix (`Metrics`)."""

register_metric = METRICS.register
"""Add a metric; see `Registry.register`.

```python
@register_metric("mine")
class MyMetric:
    def __init__(self, classes, task): ...
    def update(self, mask, prediction): ...
    def compute(self): ...
    def state(self): ...
    def load(self, state): ...
```
"""


def list_metrics() -> list[str]:
    """Return the names of all registered metrics."""
    return list(METRICS)


def build_metric(spec: ComponentSpec, classes: Sequence[str], task: Task) -> Metric:
    """Return a new metric.

    Args:
        spec: a name in METRICS, or {"name": name, parameter: value, …}.
        classes: C names, in index order.
        task: the task of the masks.

    Raises:
        ConfigError: The metric or a parameter is unknown, or a value is out of range.

    >>> from pixelwise.data.task import MULTICLASS
    >>> metric = build_metric({"name": "boundary_iou", "width": 0.01}, ["cat", "rest"], MULTICLASS)
    """
    return METRICS.build(spec)(classes, task)


def mean_of_present(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None, or None if there are none.

    >>> mean_of_present([0.5, None, 1.0])
    0.75
    """
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def ratio(part: float, total: float) -> float | None:
    """Return part / total, or None if the total is 0."""
    return part / total if total else None
