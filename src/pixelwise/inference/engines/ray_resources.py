"""The free CPU cores and GPUs of a Ray cluster, one for each worker."""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pixelwise.errors import ConfigError

SECONDS_VARIABLE = "PIXELWISE_RAY_SECONDS"
"""Environment variable with the maximum time until the cluster has a free CPU core."""

_SECONDS = 120.0
"""This time if the variable is not set. An autoscaler can start a node in it."""

_PAUSE = 0.5
"""Seconds between two requests for the free resources."""


class Workers(NamedTuple):
    """The workers that a cluster has room for.

    Attributes:
        number: 1 or more.
        resources: what each of them needs: arguments of Ray.
    """

    number: int
    resources: dict[str, Any]


def wait_for_workers(use_gpu: bool) -> Workers:
    """Return the workers that the free resources of the cluster allow. Wait until one is possible.

    An autoscaler gets a request for a CPU core, so that it starts a node. Without this function, Ray would wait for
    ever, and print nothing.

    Args:
        use_gpu: True to have one worker per free GPU, if there is any.

    Raises:
        ConfigError: No CPU core is free after the time of `SECONDS_VARIABLE`, or the variable is not a number.
    """
    import ray

    workers = _free_workers(use_gpu)
    if workers is not None:
        return workers
    seconds = _max_seconds()
    end = time.monotonic() + seconds
    with _requested_core():
        while time.monotonic() < end:
            time.sleep(_PAUSE)
            workers = _free_workers(use_gpu)
            if workers is not None:
                return workers
    raise ConfigError(_no_resources(seconds, len(ray.nodes()), ray.cluster_resources()))


def _free_workers(use_gpu: bool) -> Workers | None:
    import ray

    free = ray.available_resources()
    if use_gpu and free.get("GPU", 0) >= 1:
        return Workers(int(free["GPU"]), {"num_gpus": 1})
    return Workers(int(free["CPU"]), {"num_cpus": 1}) if free.get("CPU", 0) >= 1 else None


@contextmanager
def _requested_core() -> Iterator[None]:
    """Request a CPU core from the autoscaler in the block. A request that is kept would keep a node forever."""
    try:
        with suppress(Exception):  # a cluster without an autoscaler
            from ray.autoscaler.sdk import request_resources

            request_resources(num_cpus=1)
        yield
    finally:
        with suppress(Exception):
            request_resources(num_cpus=0)


def _max_seconds() -> float:
    text = os.environ.get(SECONDS_VARIABLE, str(_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ConfigError(f"the environment variable {SECONDS_VARIABLE} is '{text}'; set it to a number of seconds")
    return seconds


def _no_resources(seconds: float, nodes: int, total: Mapping[str, float]) -> str:
    """Return the message about a cluster that has no free CPU core.

    >>> _no_resources(120, 1, {"memory": 1e9}).partition(";")[0]
    'the Ray cluster has no free CPU core after 120 s (nodes: 1, CPU cores: 0)'
    """
    cores = int(total.get("CPU", 0))
    fix = "end other jobs on it (ray status)" if cores else "add a node with CPU cores (ray start --address HEAD:6379)"
    return (
        f"the Ray cluster has no free CPU core after {seconds:g} s (nodes: {nodes}, CPU cores: {cores}); {fix}, "
        f"set {SECONDS_VARIABLE} to wait longer, or set `engine` to local"
    )
