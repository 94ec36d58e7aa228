"""TODO: module."""

import atexit
import logging
import os
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric
from pixelwise.runtime.cpu import disable_malloc_trim, set_threads_to_idle_cores
from pixelwise.runtime.device import resolve_device, use_bfloat16


def is_rank_zero() -> bool:
    """Whether this process speaks for all that `torchrun` started, if any: what each would say is said once."""
    return os.environ.get("RANK", "0") == "0"


def launch_fabric(device: str, precision: str = "float32") -> "Fabric":
    """Join the other processes that `torchrun` started, if any; the engine that they share.

    `fabric.global_rank` is 0 and `fabric.world_size` 1 where this process is alone.
    """
    # Imported here: it takes two seconds, and a prediction does without it.
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    chosen = resolve_device(device)
    set_threads_to_idle_cores()
    disable_malloc_trim()
    processes, here = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=chosen.type,
        devices=here if processes > 1 or chosen.index is None else [chosen.index],
        num_nodes=processes // here,
        # An encoder that is held back for some epochs has weights without gradients.
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="bf16-mixed" if use_bfloat16(chosen, precision) else "32-true",
    )
    fabric.launch()
    if processes > 1:
        atexit.register(_leave_processes)
    return fabric


def _leave_processes() -> None:
    """Leave the group of processes, if it was not left already.

    gloo's threads may let go of their last tensors a moment after their sum has arrived, for which they ask Python's
    lock. A process that ends meanwhile is aborted: three in ten did, where nothing but a sum came before the end.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def all_reduce_sum(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, of the same shape and dtype, in all of them."""
    return cast(Tensor, fabric.all_reduce(tensor, reduce_op="sum"))
