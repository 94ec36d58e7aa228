"""Images with given masks, for tests of writers, and the masks that formats read back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS
from pixelwise.data.task import MULTICLASS, Task
from pixelwise.inference.image_rows import ArrayRows
from pixelwise.inference.outputs import Mark
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.writers import WRITERS, PredictedImage, WriteOptions
from pixelwise.models.config import ModelConfig
from pixelwise.palette import default_palette

CLASSES = ("background", "cat", "猫 dog")


def make_config(classes: Sequence[str] = CLASSES, task: Task = MULTICLASS) -> ModelConfig:
    """Return the configuration of a model whose background is the class of this name."""
    return ModelConfig(
        classes=tuple(classes),
        palette=default_palette(len(classes)),
        size=32,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        task=task,
        encoder="mobilenetv2_050",
        encoder_layers=None,
        encoder_padding="native",
        decoder="fpn",
    )


def predicted(path: Path, mask: npt.NDArray[np.uint8], config: ModelConfig, name: str = "") -> PredictedImage:
    """Return an image with a given mask, and write the image file."""
    height, width = mask.shape[-2:]
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    channels = [mask] if mask.ndim == 2 else list(mask)
    prediction = Prediction.from_config(pixels, mask, config, nodata_pixels=0)
    mark = Mark("model", "image", width, height, {})
    return PredictedImage(path, name or path.name, config, mark, lambda: prediction, channels, ArrayRows(pixels))


def write_all(writer: str, images: Sequence[PredictedImage], out: Path) -> None:
    """Write images with one writer, as `predict_folder` does."""
    made = WRITERS[writer].component(WriteOptions(images[0].config))
    entries = []
    for image in images:
        stem = Path(image.name).with_suffix("")
        files = {kind: out / (spec.folder or "") / f"{stem}{spec.suffix}" for kind, spec in made.files().items()}
        made.write(image, files)
        if made.has_entries:
            entries.append(made.entry(image))
    made.finish(entries, out)


def read_back(root: Path) -> tuple[str, dict[str, npt.NDArray[np.str_]]]:
    """Return the format that is detected, and the class name of each pixel by the name of the image."""
    data = load_dataset(root)
    masks = {}
    for split in SPLITS:
        for record in getattr(data, split):
            _, mask = read_image_and_mask(record, data.read_spec)
            names = np.array([*data.classes, *["?"] * (256 - len(data.classes))])
            masks[Path(str(record.image)).name] = names[mask]
    return data.format, masks
