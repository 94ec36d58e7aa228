"""The settings of the machine and the outputs: device, precision, processes and loggers."""

from typing import Literal

from pydantic import BaseModel

from pixelwise.config.setting import setting
from pixelwise.registry import ComponentSpec


class MachineSettings(BaseModel):
    """Settings of the machine and the outputs. They are fields of `Config`."""

    device: str = setting("Machine", "Device of the training: auto, cpu, cuda or mps.", default="auto")
    precision: Literal["auto", "bf16-mixed", "32-true"] = setting(
        "Machine",
        "bf16-mixed computes in bfloat16 with autocast, 32-true in float32. auto is bf16-mixed if the hardware has "
        "bfloat16 instructions, else 32-true.",
        default="auto",
    )
    num_workers: int = setting(
        "Machine", "Processes that load images. 0 loads in the training process.", default=0, ge=0
    )
    sample_predictions: int = setting(
        "Machine", "Number of validation images whose predicted masks are drawn.", default=4, ge=1
    )
    loggers: tuple[ComponentSpec, ...] | None = setting(
        "Machine", "Loggers of metrics. By default csv, and tensorboard if it is installed.", default=None
    )


MACHINE_SETTINGS = (*MachineSettings.model_fields, "cache_images", "callbacks")
"""The settings of the machine and the outputs. The last two are in other groups of the command line.

They can change when a training or a search continues. The plan of the best settings of a search leaves them out.
"""
