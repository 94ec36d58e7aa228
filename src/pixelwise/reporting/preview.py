"""Draw a grid of a data set's images and masks."""

from PIL import Image

from pixelwise.data.index import DatasetIndex, check_index, draw_sheet
from pixelwise.data.schema import Split
from pixelwise.errors import ConfigError


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
        ConfigError: `data` is not a data set, or `count` is below 1.
        DataError: The split is empty, or an image or mask cannot be read.

    >>> preview(load_dataset("oxford-iiit-pet/")).save("preview.png")  # doctest: +SKIP
    """
    check_index(data)
    if count < 1:
        raise ConfigError(f"`count` is {count}; show 1 image or more")
    return draw_sheet(data, split, count, columns=3, width=1280)
