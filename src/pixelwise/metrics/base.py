"""The registry of metrics and their common interface."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.registry import ComponentSpec, Registry


class Metric(Protocol):
    """A metric that is accumulated over images.

    The constructor takes `classes` (the names in index order) and `task`, and the metric's parameters as keyword
    arguments. If several processes evaluate together, each one has its own metric object and updates it with different
    images. The sum of all states is then loaded into one of the objects, which computes the result over all images.
    """

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add the mask and the prediction of one image.

        Args:
            mask: the true mask of the metric's task, uint8 on the CPU with 255 = ignore.
            prediction: the predicted mask of the same shape, uint8 on the CPU, without 255.
        """
        ...

    def compute(self) -> dict[str, float | None]:
        """Return result name → value over all images. A value is None if there is nothing to measure."""
        ...

    def state(self) -> Tensor:
        """Return the sums over images as a tensor on the CPU. Its shape does not depend on the images."""
        ...

    def load(self, state: Tensor) -> None:
        """Replace the sums over images.

        Args:
            state: the sum of the `state()` tensors of metrics with the same settings.
        """
        ...


METRICS: Registry[Callable[..., Metric]] = Registry("metric")
"""Metrics that are computed only if the user sets them, in addition to those of the confusion matrix (`Metrics`)."""

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
    """Return a ratio, or None if it is undefined.

    Args:
        part: the numerator.
        total: the denominator.

    Returns:
        part / total, or None if the total is 0.
    """
    return part / total if total else None
