"""Which device computes, in which precision, and together with which other processes."""

import atexit
import ctypes
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, cast

import psutil
import torch
from torch import Tensor

from pixelwise.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes the first accelerator there is, else the CPU.

    Raises ConfigError where the device is not on this machine.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        here = torch.accelerator.current_accelerator(check_available=True)
        choices = "auto, cpu" + (f", {here.type}" if here else "")
        raise ConfigError(f"device '{name}' is not on this machine; choose from: {choices}") from None
    return device


def computes_in_bfloat16(device: torch.device, precision: str) -> bool:
    """Whether to compute in bfloat16: where asked, and for "auto" where the hardware has instructions for it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without these instructions a CPU only pretends, and float32 is faster.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def is_first_process() -> bool:
    """Whether this process speaks for all that `torchrun` started, if any: what each would say is said once."""
    return os.environ.get("RANK", "0") == "0"


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back to the system at once; Linux's glibc only.

    A training step on a CPU frees and asks for gigabytes. glibc takes each large block fresh from the system, which
    clears it page by page: that can take as long as the computing. mallopt(3) describes the two settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


_MOST_THREADS = torch.get_num_threads()


class IdleCores:
    """Gives torch as many threads as other programs leave cores idle; OMP_NUM_THREADS, where set, has the say.

    Threads that share an operation wait for the slowest. Where another program keeps one of two cores busy, two
    threads take several times as long as one.
    """

    def __init__(self) -> None:
        self.most = 1 if "OMP_NUM_THREADS" in os.environ else _MOST_THREADS
        self.seen = _time_and_work()

    def follow(self, after: float = 10.0) -> None:
        """Settle the number of threads by what went on since the last time; nothing within so many seconds of it."""
        now = _time_and_work()
        seconds, busy = (each - before for each, before in zip(now, self.seen, strict=True))
        if self.most == 1 or seconds < after:
            return
        self.seen = now
        idle = (psutil.cpu_count() or 1) - busy / seconds
        torch.set_num_threads(min(self.most, max(1, round(idle))))


def _time_and_work() -> tuple[float, float]:
    """A clock's seconds, and those that all cores together have worked for other processes than this one."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # none of which every system has
    return time.monotonic(), sum(getattr(times, name, 0.0) for name in names) - own.user - own.system


def use_idle_cores() -> None:
    """Look for a moment how many cores are idle: see `IdleCores`."""
    cores = IdleCores()
    if cores.most > 1:
        time.sleep(0.4)
        cores.follow(after=0.0)


def launch(device: str, precision: str = "float32") -> "Fabric":
    """Join the other processes that `torchrun` started, if any; the engine that they share.

    `fabric.global_rank` is 0 and `fabric.world_size` 1 where this process is alone.
    """
    # Imported here: it takes two seconds, and a prediction does without it.
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    chosen = choose_device(device)
    use_idle_cores()
    keep_freed_memory()
    processes, here = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=chosen.type,
        devices=here if processes > 1 or chosen.index is None else [chosen.index],
        num_nodes=processes // here,
        # An encoder that is held back for some epochs has weights without gradients.
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="bf16-mixed" if computes_in_bfloat16(chosen, precision) else "32-true",
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


def sum_over_processes(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, of the same shape and dtype, in all of them."""
    return cast(Tensor, fabric.all_reduce(tensor, reduce_op="sum"))
