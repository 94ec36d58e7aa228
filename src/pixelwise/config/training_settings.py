"""The settings of the training: its length, loss and optimizer."""

from typing import Literal

from pydantic import BaseModel

from pixelwise.config.setting import setting
from pixelwise.config.validation import Duration
from pixelwise.registry import ComponentSpec


class TrainingSettings(BaseModel):
    """Settings of the training: its length, loss and optimizer. They are fields of `Config`."""

    epochs: int = setting("Training", "Passes over the training images.", default=32, ge=1)
    time_budget: Duration | None = setting(
        "Training",
        "Length of the training in time instead of epochs: 90s, 5m or 1h30m. The learning rate follows the clock.",
        default=None,
        gt=0,
    )
    patience: int | None = setting(
        "Training",
        "Stop after this number of consecutive epochs without a better validation mIoU. By default never.",
        default=None,
        ge=1,
    )
    validate_every: int = setting(
        "Training",
        "Validate after every N-th epoch, counted back from the last one, or from the first one with a time budget. "
        "Epochs between are faster, and cannot be the best one.",
        default=1,
        ge=1,
    )
    batch_size: int = setting("Training", "Images per step, over all processes together.", default=16, ge=1)
    accumulate: int = setting(
        "Training",
        "Number of batches whose gradients are added before each step of the optimizer, if memory does not suffice for "
        "a larger batch.",
        default=1,
        ge=1,
    )
    loss: ComponentSpec = setting(
        "Training", "Loss function, or a weighted sum such as ce+dice or 0.5*ce+lovasz.", default="cross_entropy"
    )
    class_weights: str | dict[str, float] = setting(
        "Training",
        "Class weights in the loss: none, balanced (one over the pixel count), inverse_sqrt (one over its square "
        "root), or name=weight,name=weight.",
        default="none",
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "Training",
        "Optimizer: adamw, or muon, which trains the convolutions and linear layers of the decoder by Muon and the "
        "other weights by AdamW.",
        default="muon",
    )
    lr: float = setting("Training", "Learning rate. The onecycle schedule has it as maximum.", default=3e-3, gt=0)
    encoder_lr_factor: float = setting(
        "Training", "Learning rate of the encoder divided by that of the decoder.", default=0.1, gt=0
    )
    weight_decay: float = setting(
        "Training", "Weight decay of the optimizer. With 0, AdamW equals Adam.", default=1e-2, ge=0
    )
    pretrained_decay: float = setting(
        "Training",
        "Decay of the trained encoder weights toward their pretrained values (L2-SP), in place of weight decay. 10 is "
        "strong.",
        default=0.0,
        ge=0,
    )
    clip_gradients: float | None = setting(
        "Training",
        "Maximum norm of the gradient of all weights together, before each step of the optimizer. By default no limit.",
        default=None,
        gt=0,
    )
    lr_schedule: Literal["constant", "onecycle"] = setting("Training", "Learning-rate schedule.", default="onecycle")
    seed: int = setting("Training", "Random seed.", default=0, ge=0, lt=2**31)
    deterministic: bool = setting(
        "Training",
        "Train the same weights, bit for bit, each time on the same machine. Operations without a deterministic "
        "implementation are an error, and the number of threads is constant. Needs a number of epochs.",
        default=False,
    )
    callbacks: tuple[ComponentSpec, ...] = setting(
        "Training", "Callbacks, in addition to the default ones.", default=()
    )
