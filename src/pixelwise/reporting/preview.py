"""TODO: module."""

from PIL import Image

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import DatasetIndex, Split
from pixelwise.errors import DataError
from pixelwise.visualization import overlay_grid, to_display_image


def preview(data: DatasetIndex, split: Split = "train", count: int = 12) -> Image.Image:
    """A sheet of a split's images with their masks over them; `count` of them, spread evenly over the split.

    Raises DataError for a split without images, a count below 1, or an image or mask that cannot be read.

    >>> preview(load_dataset("oxford-iiit-pet/")).save("sheet.png")  # doctest: +SKIP
    """
    if count < 1:
        raise DataError(f"a sheet of {count} images: ask for 1 or more")
    records = data.records(split)
    count = min(count, len(records))
    chosen = [records[index * len(records) // count] for index in range(count)]
    images, masks = zip(*(read_image_and_mask(record, data.read_spec) for record in chosen), strict=True)
    names = [record.image.name for record in chosen]
    title = f"{data.root.resolve().name} · {split} · {count} of {len(records)} images"
    task = data.read_spec.task
    shown = [task.to_display(mask) for mask in masks]
    classes, palette = task.display_classes(data.classes, data.palette)
    return overlay_grid([to_display_image(image) for image in images], shown, names, classes, palette, title)
