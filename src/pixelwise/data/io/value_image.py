"""Reading of mask files that have their own mapping from values to classes."""

import numpy as np

from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask_values import mask_values
from pixelwise.data.schema import ValueImage
from pixelwise.errors import DataError


def read_value_image(image: ValueImage, size: tuple[int, int]) -> np.ndarray:
    """Read a mask file that has its own mapping from values to classes.

    Args:
        image: the file and the class of each value.
        size: (height, width) of the image in pixels.

    Returns:
        (H, W) uint8 class indices, 255 for "ignore".

    Raises:
        DataError: The file cannot be read, does not have this size, or has a value without a class.
    """
    values = open_image(image.file, lambda opened: mask_values(opened, image.kind))
    height, width = values.shape
    if (height, width) != size:
        raise DataError(f"{image.file}: drawn on an image of {width}x{height}, but the image is {size[1]}x{size[0]}")
    class_ids = dict(image.class_ids)
    unique, inverse = np.unique(values, return_inverse=True)
    unknown = [int(value) for value in unique if int(value) not in class_ids]
    if unknown:
        shown = f"#{unknown[0]:06x}" if image.kind == "rgb" else str(unknown[0])
        raise DataError(f"{image.file}: mask value {shown} is not among the values with a class; fix or remove it")
    lookup = np.array([class_ids[int(value)] for value in unique], np.uint8)
    return lookup[inverse].reshape(values.shape)
