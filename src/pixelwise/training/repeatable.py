"""Trainings that compute the same weights each time, for the setting `deterministic`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pixelwise.errors import ConfigError
from pixelwise.runtime.cpu import constant_threads

_CUBLAS, _CUBLAS_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""Environment variable of cuBLAS, and its value for repeatable sums, from the documentation of cuBLAS."""

_NOT_DETERMINISTIC = " does not have a deterministic implementation"
"""Text of torch's error, after the name of the operation."""


@contextmanager
def repeatable(enabled: bool, device: torch.device) -> Iterator[None]:
    """Use deterministic operations and a constant number of threads in the block, and restore both afterwards.

    Random numbers are not changed. On another machine, or with another version of torch, results can differ.

    Args:
        enabled: if False, do nothing.
        device: the device of the computation.

    Raises:
        ConfigError: An operation has no deterministic implementation on the device.
    """
    if not enabled:
        yield
        return
    algorithms, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark, workspaces = torch.backends.cudnn.benchmark, os.environ.get(_CUBLAS)
    with constant_threads():
        os.environ.setdefault(_CUBLAS, _CUBLAS_WORKSPACES)
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        try:
            yield
        except RuntimeError as error:
            name, text, _ = str(error).partition(_NOT_DETERMINISTIC)
            if not text:
                raise
            raise ConfigError(
                f"`deterministic`: torch has no deterministic implementation of {name} on {device.type}; choose "
                "another `loss`, `decoder` or `device`, or train without it"
            ) from None
        finally:
            torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            if workspaces is None:
                os.environ.pop(_CUBLAS, None)
