"""A limit on the weights of a model that is built from an untrusted configuration."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pixelwise.errors import ConfigError


@contextmanager
def limit_weights(max_bytes: int) -> Iterator[None]:
    """Limit the total size of the weights of all modules that are built in the block.

    torch calls the hook after the memory of a weight is reserved and before it is written. So at most `max_bytes` of
    memory are used. Modules that other threads build are not counted.

    Args:
        max_bytes: maximum total size of the weights in bytes.

    Raises:
        ConfigError: A module in the block exceeds the limit.
    """
    thread, total = threading.get_ident(), 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        if parameter is None or threading.get_ident() != thread:
            return
        total += parameter.nbytes
        if total > max_bytes:
            raise ConfigError(f"this model has more than {max_bytes >> 20:,} MiB of weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
