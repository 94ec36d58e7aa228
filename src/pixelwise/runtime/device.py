"""Which device computes, in which precision, and together with which other processes."""

from typing import TYPE_CHECKING

import torch

from pixelwise.errors import ConfigError

if TYPE_CHECKING:
    pass


def resolve_device(name: str) -> torch.device:
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


def use_bfloat16(device: torch.device, precision: str) -> bool:
    """Whether to compute in bfloat16: where asked, and for "auto" where the hardware has instructions for it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without these instructions a CPU only pretends, and float32 is faster.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
