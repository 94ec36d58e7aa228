"""Presets: sets of settings that replace the defaults of `Config`."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The encoder without its blocks at a 32nd of the image's size, and a narrow decoder (docs/decisions.md).
    "fast": {
        "encoder_layers": ("blocks.1", "blocks.2", "blocks.4"),
        "decoder": {"name": "fpn", "widths": [48, 32, 16]},
        "epochs": 96,
    },
    # TensorFlow's image segmentation tutorial, https://www.tensorflow.org/tutorials/images/segmentation.
    "tutorial": {
        "augmentation": "flip",
        "val_from": "test",
        "val_fraction": 0.2,
        "encoder": "mobilenetv2_100",
        "encoder_weights": "hub",
        # The expanded activations at 1/2, 1/4, 1/8 and 1/16 of the input size, and the projection of the last block
        # before its batch norm.
        "encoder_layers": (
            "blocks.1.0.bn1",
            "blocks.2.0.bn1",
            "blocks.3.0.bn1",
            "blocks.5.0.bn1",
            "blocks.6.0.conv_pwl",
        ),
        "encoder_padding": "same",
        "encoder_training": "none",
        "normalization": "unit",
        "decoder": "pix2pix",
        "epochs": 20,
        "batch_size": 64,
        "optimizer": "adamw",
        "lr": 1e-3,
        "lr_schedule": "constant",
        "weight_decay": 0.0,
    },
}
