"""The EXIF orientation of predicted images, for masks that have the orientation of the stored pixels."""

from dataclasses import replace

import numpy as np
from PIL import Image

from pixelwise.data.io.exif import exif_orientation, image_orientation
from pixelwise.inference.inputs import ImageInput, is_tensor, open_image
from pixelwise.inference.prediction import Prediction


def with_orientation(prediction: Prediction, source: ImageInput) -> Prediction:
    """Return a prediction with the EXIF orientation of its image, if its masks "as-given" depend on it.

    Args:
        prediction: the prediction.
        source: the image. An array or a tensor is upright. An open file that cannot be read twice counts as upright.
    """
    if prediction.mask_format is None or not prediction.mask_format.as_stored:
        return prediction
    return replace(prediction, orientation=_orientation(source))


def _orientation(source: ImageInput) -> int:
    if isinstance(source, np.ndarray) or is_tensor(source):
        return 1
    if isinstance(source, Image.Image):
        return image_orientation(source)
    return exif_orientation(open_image(source))
