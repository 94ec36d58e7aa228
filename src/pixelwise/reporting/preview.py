"""TODO: module."""

from PIL import Image

from pixelwise.data.io.mask import read_pair
from pixelwise.data.schema import Dataset, Split
from pixelwise.errors import DataError
from pixelwise.visualization import all_as_shown, photo_as_shown, photo_sheet


def show(data: Dataset, split: Split = "train", count: int = 12) -> Image.Image:
    """A sheet of a split's photos with their masks over them; `count` of them, spread evenly over the split.

    Raises DataError for a split without photos, a count below 1, or a photo or mask that cannot be read.

    >>> show(load_dataset("oxford-iiit-pet/")).save("sheet.png")  # doctest: +SKIP
    """
    if count < 1:
        raise DataError(f"a sheet of {count} photos: ask for 1 or more")
    records = data.records(split)
    count = min(count, len(records))
    chosen = [records[index * len(records) // count] for index in range(count)]
    photos, masks = zip(*(read_pair(record, data.reading) for record in chosen), strict=True)
    names = [record.image.name for record in chosen]
    title = f"{data.root.resolve().name} · {split} · {count} of {len(records)} photos"
    (shown,), classes, palette = all_as_shown([masks], data.classes, data.palette)
    return photo_sheet([photo_as_shown(photo) for photo in photos], shown, names, classes, palette, title)
