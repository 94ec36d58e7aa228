"""Distributed training: several processes that compute together, started by `torchrun`."""

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
    """Return True in the process with rank 0. Without `torchrun`, the only process has rank 0."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """Return the number of processes that `torchrun` started to train together. 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_only_process() -> bool:
    """Return True unless `torchrun` started several processes."""
    return process_count() == 1


def launch_fabric(device: str, precision: str = "32-true", wait: bool = True) -> "Fabric":
    """Connect this process with the others that `torchrun` started.

    A single process has `fabric.global_rank` 0 and `fabric.world_size` 1.

    Args:
        device: see `pixelwise.runtime.device.resolve_device`.
        precision: "32-true", "bf16-mixed", or "auto" for the faster of them on the device.
        wait: see `apply_thread_policy`.

    Returns:
        The Fabric, through which the processes communicate.

    Raises:
        ConfigError: The device is not available.
    """
    # Imported here because the import takes two seconds and predictions do not need it.
    from lightning_fabric import Fabric

    torch_device = resolve_device(device)
    apply_thread_policy(wait)
    world_size, local_size = process_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with _warnings_only("lightning_fabric"):
        fabric = Fabric(
            accelerator=torch_device.type,
            devices=local_size if world_size > 1 or torch_device.index is None else [torch_device.index],
            num_nodes=world_size // local_size,
            # With `encoder_training` "decoder-first", the encoder's weights have no gradients at first.
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
        items: objects that can be pickled. Their number may differ between processes.
    """
    lists: list[list[T]] = [items] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]


@contextmanager
def _warnings_only(name: str) -> Iterator[None]:
    """Hide the messages of a logger that are below WARNING within the block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _leave_process_group() -> None:
    """Leave the process group of torch if this process is still in it.

    Threads of gloo, torch's communication library, can release their last tensors shortly after a sum has arrived, and
    need Python's global lock to do so. If the process exits at that moment, it is aborted. Without this function, three
    of ten runs that ended with a sum were aborted.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
