"""The device and the precision of computations."""

import torch

from pixelwise.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Return the device with a name.

    Args:
        name: a torch device such as "cpu", "cuda", "cuda:1" or "mps", or "auto". "auto" selects the current
            accelerator, or the CPU if there is none.

    Raises:
        ConfigError: The device is not available.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        available = torch.accelerator.current_accelerator(check_available=True)
        choices = "auto, cpu" + (f", {available.type}" if available else "")
        raise ConfigError(f"device '{name}' is not on this machine; choose from: {choices}") from None
    return device


def use_bfloat16(device: torch.device, precision: str) -> bool:
    """Return True if matrix products and convolutions should be computed in bfloat16.

    Args:
        device: the device of the computation.
        precision: "bf16-mixed", "32-true", or "auto". "auto" selects bfloat16 if the device is a GPU of type "cuda" or
            a CPU and has instructions for bfloat16.
    """
    if precision != "auto":
        return precision == "bf16-mixed"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # A CPU without these instructions emulates bfloat16, which is slower than float32.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
