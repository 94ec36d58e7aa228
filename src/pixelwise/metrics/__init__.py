"""Metrics of the confusion matrix (`Metrics`), and a registry of further metrics that are built by name.

To add a metric, write a class with the methods of `Metric` in a new module of this package. Register the class with
`register_metric`, and import the module below.
"""

from pixelwise.metrics import boundary, per_image
from pixelwise.metrics.base import METRICS, Metric, build_metric, list_metrics, register_metric
from pixelwise.metrics.confusion import ClassMetrics, Metrics

__all__ = [
    "METRICS",
    "ClassMetrics",
    "Metric",
    "Metrics",
    "boundary",
    "build_metric",
    "list_metrics",
    "per_image",
    "register_metric",
]
