"""The metadata of an exported file: the configuration of the model, and three images with the masks they must give.

The file can come from an untrusted source, so all lengths and sizes are limited. This module does not import torch.
"""

import base64
import io
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from pixelwise.errors import RunError
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX

METADATA_KEY = "pixelwise"
"""Key of the metadata in a file."""

MAX_METADATA_BYTES = 8 << 20
"""Maximum length of the metadata in bytes."""

MAX_TEST_PIXELS = 1 << 22
"""Maximum number of pixels of a PNG image in the metadata."""

MIN_EQUAL = 0.999
"""Minimum fraction of pixels that must be equal to the expected mask."""

Bytes = npt.NDArray[np.uint8]

Precision = Literal["float32", "int8", "bfloat16"]
"""The numbers that a file computes with, see `ExportMetadata`."""

_Text = Annotated[str, Field(max_length=100)]
_Png = Annotated[str, Field(max_length=1 << 20)]


class SelfTest(BaseModel):
    """A small image, and the mask that the file must give for it.

    Attributes:
        image: a PNG file in base64. RGB, or for other numbers of channels grayscale with one channel below the other.
        mask: a PNG file in base64, grayscale. For a multi-label model, one class is below the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: _Png
    mask: _Png

    @staticmethod
    def encode(image: Bytes, mask: Bytes) -> "SelfTest":
        """Return the test of an image.

        Args:
            image: (H, W, channels).
            mask: (H, W), or (C, H, W) for a multi-label model.
        """
        stacked = image if image.shape[2] == 3 else np.concatenate(list(np.moveaxis(image, 2, 0)))
        return SelfTest(image=_to_png(stacked), mask=_to_png(mask if mask.ndim == 2 else np.concatenate(list(mask))))

    def decode(self, channels: int, classes: int | None) -> tuple[Bytes, Bytes]:
        """Return the image and the mask.

        Args:
            channels: number of channels of the image.
            classes: number of classes of a multi-label model, else None.

        Raises:
            RunError: One is not a PNG image, is too large, or their sizes differ.
        """
        image, mask = _from_png(self.image), _from_png(self.mask)
        if channels != 3:
            image = np.stack(np.split(image, channels), axis=-1) if len(image) % channels == 0 else image[:0, :, None]
        if classes is not None:
            mask = np.stack(np.split(mask, classes)) if len(mask) % classes == 0 else mask[None, :0]
        if image.ndim != 3 or image.size == 0 or mask.shape[-2:] != image.shape[:2] or image.shape[2] != channels:
            raise RunError("a test image and its mask do not belong together")
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)


class ExportMetadata(BaseModel):
    """The metadata of an exported file.

    Attributes:
        format: version of this description.
        version: the version of pixelwise that wrote the file.
        opset: the version of the operators. For a torch.export program, that of its format.
        precision: "float32", "int8" if layers compute with 8-bit integers, or "bfloat16" for a file of OpenVINO that
            computes with it on processors that have it.
        parity: the smallest fraction of pixels, over the measured images, that were equal to those of PyTorch in
            float32.
        model: the configuration of the model: class names, colors, metrics, licenses of its parts, and others.
        data: how the masks of the training were read, so that other data is evaluated in the same way: the fields of
            data.yaml of the run, without the place of its data. None for a model without data.yaml. It is checked when
            it is used, because a prediction does not import the data formats.
        thresholds: class name → how probable it must be to be in the mask, see `threshold_shift`. They are in the
            operators of the file. Empty if there are none.
        tests: images with the masks that the file must give.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: _Text
    opset: Annotated[int, Field(ge=1, le=1000)]
    precision: Precision
    parity: Annotated[float, Field(ge=0, le=1)]
    model: ModelConfig
    data: dict[str, JsonValue] | None = None
    thresholds: Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], Field(max_length=IGNORE_INDEX)] = {}
    tests: Annotated[tuple[SelfTest, ...], Field(min_length=1, max_length=10)]

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        for name in self.thresholds:
            if name not in self.model.classes:
                raise ValueError(f"there is a threshold of '{name[:100]}', which is not a class")
        return self


def _to_png(pixels: Bytes) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _from_png(text: str) -> Bytes:
    """Return the pixels of a PNG file in base64. Raise RunError if it is not one, or is too large."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if image.width * image.height > MAX_TEST_PIXELS:
                raise RunError(f"a test image has {image.width}x{image.height} pixels; {MAX_TEST_PIXELS} are allowed")
            if image.mode not in ("L", "RGB"):
                raise RunError(f"a test image has the mode {image.mode[:20]}; L or RGB is expected")
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise RunError("a test image is not a PNG file") from None
