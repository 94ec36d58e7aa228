"""Metrics: those of the confusion matrix (`Metrics`), and others by name.

To add a metric, write a class with the methods of `Metric` in a file here, register it, and import the file below.
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
