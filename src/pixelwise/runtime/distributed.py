"""Several processes that compute together, started by `torchrun`."""

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from pixelwise.runtime.cpu import apply_thread_policy
from pixelwise.runtime.device import resolve_device, use_bfloat16

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def is_rank_zero() -> bool:
    """Return True in the process with rank 0, and in a process that `torchrun` did not start."""
    return os.environ.get("RANK", "0") == "0"


def launch_fabric(device: str, precision: str = "32-true") -> "Fabric":
    """Join the processes that `torchrun` started, if any, and return the Fabric that they share.

    `fabric.global_rank` is 0 and `fabric.world_size` is 1 for a single process.

    Args:
        device: see `pixelwise.runtime.device.resolve_device`.
        precision: "32-true", "bf16-mixed", or "auto" for the one that is faster on the device.

    Raises:
        ConfigError: The device is not available.
    """
    # Imported here because it takes two seconds, and a prediction does not need it.
    from lightning_fabric import Fabric

    torch_device = resolve_device(device)
    apply_thread_policy()
    world_size, local_size = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with _warnings_only("lightning_fabric"):
        fabric = Fabric(
            accelerator=torch_device.type,
            devices=local_size if world_size > 1 or torch_device.index is None else [torch_device.index],
            num_nodes=world_size // local_size,
            # The encoder's weights have no gradients while they are paused.
            strategy="ddp_find_unused_parameters_true" if world_size > 1 else "auto",
            precision="bf16-mixed" if use_bfloat16(torch_device, precision) else "32-true",
        )
        fabric.launch()
    if world_size > 1:
        atexit.register(_leave_process_group)
    return fabric


def all_reduce_sum(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes.

    Args:
        fabric: the result of `launch_fabric`.
        tensor: any shape, the same shape and dtype in every process.
    """
    return cast(Tensor, fabric.all_reduce(tensor, reduce_op="sum"))


def all_gather_lists(fabric: "Fabric", items: list[T]) -> list[T]:
    """Return the items of all processes in the order of their ranks.

    Args:
        fabric: the result of `launch_fabric`.
        items: objects that can be pickled. The number may differ between processes.
    """
    lists: list[list[T]] = [items] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]


@contextmanager
def _warnings_only(name: str) -> Iterator[None]:
    """Hide a logger's messages below WARNING within the block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _leave_process_group() -> None:
    """Leave the group of processes if this process is still in it.

    Threads of gloo may release their last tensors shortly after a sum has arrived, and need Python's lock for it. A
    process that ends at that moment is aborted: three of ten runs were, if a sum was their last operation.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
