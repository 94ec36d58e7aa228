"""Draw a grid of a data set's images and masks."""

from pathlib import Path

from PIL import Image

from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import Split
from pixelwise.errors import ConfigError
from pixelwise.visualization import overlay_grid, to_display_image


def preview(data: DatasetIndex, split: Split = "train", count: int = 12) -> Image.Image:
    """Return a grid of images of a split, each beside its overlay with the mask.

    Args:
        data: the data set.
        split: "train", "val" or "test".
        count: number of images, at least 1. They are spread evenly over the split. If the split has fewer images, all
            are shown.

    Returns:
        A PIL image of mode "RGB", 1280 pixels wide. A notebook shows it if it is the last expression of a cell.

    Raises:
        ConfigError: `count` is below 1.
        DataError: The split is empty, or an image or mask cannot be read.

    >>> preview(load_dataset("oxford-iiit-pet/")).save("preview.png")  # doctest: +SKIP
    """
    if count < 1:
        raise ConfigError(f"`count` is {count}; show 1 image or more")
    records = data.records(split)
    count = min(count, len(records))
    chosen = [records[index * len(records) // count] for index in range(count)]
    images, masks = zip(*(read_image_and_mask(record, data.read_spec) for record in chosen), strict=True)
    task = data.read_spec.task
    classes, palette = task.display_classes(data.classes, data.palette)
    return overlay_grid(
        [to_display_image(image) for image in images],
        [task.to_display(mask) for mask in masks],
        [record.image.name for record in chosen],
        classes,
        palette,
        title=f"{Path(data.root).resolve().name} · {split} · {count} of {len(records)} images",
    )
