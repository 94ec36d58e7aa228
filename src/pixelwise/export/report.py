"""The report of an export: the equal pixels of each measured image as JSON, and a picture of the differences."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.export.parity import Bytes, MeasuredImage
from pixelwise.models.config import ModelConfig
from pixelwise.visualization import mask_grid, to_display_image

_EQUAL, _DIFFERENT = (238, 240, 242), (220, 20, 60)
"""Colors of equal and of different pixels."""

_MAX_SIDE = 640
"""Maximum side of an image in the picture. Larger images are reduced, and each different pixel stays visible."""


def report_paths(out: Path) -> tuple[Path, Path]:
    """Return the JSON file and the picture of an exported file.

    The names have the suffix of the file, so that exports to several targets can have the same stem.

    >>> [path.name for path in report_paths(Path("pets.onnx"))]
    ['pets.onnx-report.json', 'pets.onnx-report.png']
    """
    return out.with_name(f"{out.name}-report.json"), out.with_name(f"{out.name}-report.png")


def write_report(
    table: Path, picture: Path, measured: Sequence[MeasuredImage], facts: Mapping[str, Any], config: ModelConfig
) -> None:
    """Write the JSON file and the picture of a report.

    Args:
        table: the JSON file.
        picture: the picture.
        measured: the images.
        facts: other entries of the JSON file.
        config: the configuration of the model.
    """
    images = [
        {"name": each.name, "width": each.image.shape[1], "height": each.image.shape[0], "equal": round(each.equal, 6)}
        for each in measured
    ]
    draw_differences(measured, config).save(picture)
    text = json.dumps({**facts, "images": images}, indent=2) + "\n"
    table.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def draw_differences(measured: Sequence[MeasuredImage], config: ModelConfig) -> Image.Image:
    """Draw each image with its mask in PyTorch, the mask of the file, and the pixels that differ.

    Args:
        measured: the images.
        config: the configuration of the model.
    """
    task = config.task
    names, colors = task.display_classes(config.classes, config.palette)
    expected, masks, differences, images = [], [], [], []
    for each in measured:
        step = max(1, -(-max(each.image.shape[:2]) // _MAX_SIDE))
        images.append(to_display_image(each.image)[::step, ::step])
        expected.append(task.to_display(each.expected)[::step, ::step])
        masks.append(task.to_display(each.mask)[::step, ::step])
        differences.append(_reduce(each, step, len(names)))
    captions = [
        f"{each.name}, {each.image.shape[1]}x{each.image.shape[0]}: {each.equal:.3%} equal" for each in measured
    ]
    columns = {"mask of PyTorch": expected, "mask of the file": masks, "differences": differences}
    return mask_grid(images, columns, (*names, "equal", "different"), (*colors, _EQUAL, _DIFFERENT), names=captions)


def _reduce(measured: MeasuredImage, step: int, equal: int) -> Bytes:
    """Return (h, w) with `equal` + 1 at each block of pixels that has a difference, else `equal`."""
    unequal = measured.expected != measured.mask
    unequal = unequal if unequal.ndim == 2 else unequal.any(0)
    height, width = (-(-side // step) * step for side in unequal.shape)
    padded = np.pad(unequal, ((0, height - unequal.shape[0]), (0, width - unequal.shape[1])))
    blocks = padded.reshape(height // step, step, width // step, step).any((1, 3))
    result: Bytes = np.where(blocks, equal + 1, equal).astype(np.uint8)
    return result
