"""Convert the inputs of `Predictor` (paths, URLs, bytes, images, arrays and tensors) to uint8 arrays."""

import hashlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.io.image import read_image
from pixelwise.data.io.image_formats import VIDEO_SUFFIXES
from pixelwise.data.io.network import check_url
from pixelwise.data.io.remote import RemoteFile, open_url
from pixelwise.data.io.rgb import rgb_array, to_rgb
from pixelwise.data.io.tiff import TIFF_SIGNATURES
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError
from pixelwise.models.config import ModelConfig
from pixelwise.runtime.files import expand_home

if TYPE_CHECKING:
    import torch

    _Tensor: TypeAlias = torch.Tensor
else:
    _Tensor = Any  # an exported file predicts without torch

ImageInput: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | BytesSource | Image.Image | np.ndarray
) | _Tensor
"""One image for `Predictor`.

- A path, or the URL of an image file (http, https, s3, gs, az, hf). The host of a URL is trusted, see `open_image`.
- The content of an image file: bytes, or a file that is open in binary mode. The file is read from its start and stays
  open.
- A PIL image of any mode.
- An array: (H, W) or (H, W, 1) gray, (H, W, 3) RGB, or (H, W, 4) RGB with opacity, which is blended with white. For a
  multi-band model, (H, W, bands). The type is uint8, or uint16 with the model's bit depth. Other types have no fixed
  range of values. Only a model that was trained on images of floats or wide integers accepts them.
- A tensor with the types of an array, on any device: (C, H, W) or (H, W, C) if only one of the two is possible.
"""

_ACCEPTED = "a path, a URL, bytes, a file in binary mode, a PIL image, an array or a tensor"


@dataclass(frozen=True)
class _Content:
    """The content of an image file in memory, a `BytesSource`."""

    content: bytes = field(repr=False)
    title: str

    @property
    def name(self) -> str:
        # The reader opens files as multi-band TIFFs only if they have this suffix.
        return "content.tif" if self.content.startswith(TIFF_SIGNATURES) else "content"

    def read_bytes(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return self.title


class UrlImage:
    """An image file at a URL, a `BytesSource`.

    Args:
        file: the file.
        version: a text that changes if the content at the URL does, see `content_version`. Empty if it is unknown.
    """

    def __init__(self, file: RemoteFile, version: str = "") -> None:
        self.file, self.version = file, version
        self._digest: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    def read_bytes(self) -> bytes:
        """Download the file and return its content.

        Raises:
            DataError: There is no such file, or it cannot be read.
        """
        content = self.file.read_bytes()
        self._digest = content_digest(content)
        return content

    def digest(self) -> str:
        """Return the `content_digest` of the last download. Download the file if there was none."""
        if self._digest is None:
            self.read_bytes()
        return self._digest or ""

    def __str__(self) -> str:
        return str(self.file)


def content_digest(content: bytes) -> str:
    """Return the hash of a file's content that identifies an image in the mark of its predictions."""
    return hashlib.blake2b(content).hexdigest()[:32]


def read_input(source: ImageInput, config: ModelConfig) -> np.ndarray:
    """Return an image as the array that a model takes.

    Args:
        source: the image, see `ImageInput`.
        config: the configuration of the model.

    Returns:
        (H, W, channels) uint8 in [0, 255], a copy. A model of RGB images has 3 channels.

    Raises:
        DataError: The file cannot be read, and the message names it. Or the model cannot use this type or shape.
    """
    if isinstance(source, np.ndarray):
        return from_array(source, config)
    if is_tensor(source):
        return _from_tensor(source, config)
    channels = len(config.mean)
    if isinstance(source, Image.Image):
        if channels != 3:
            raise DataError(f"this model takes TIFF files with {channels} bands; pass the file's path or an array")
        return rgb_array(source, config.pixel_scale)
    return read_image(open_image(source), channels, config.pixel_scale)


def is_tensor(source: object) -> "TypeGuard[torch.Tensor]":
    """Return True if an input is a tensor. This function does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def read_or_error(file: Path | UrlImage, config: ModelConfig) -> tuple[Path | UrlImage, np.ndarray | DataError]:
    """Return an image file and its array like `read_input`, or a DataError if it cannot be read."""
    try:
        return file, read_input(file, config)
    except DataError as error:
        return file, error
    except MemoryError:
        return file, DataError(f"{file}: not enough memory to read it; cut it into tiles, or make it smaller")


def read_inputs(sources: Sequence[ImageInput], config: ModelConfig) -> Iterator[np.ndarray]:
    """Yield the images of a list as `read_input` returns them.

    Raises:
        DataError: An image cannot be used. The message starts with its number, from 0.
    """
    for number, source in enumerate(sources):
        if isinstance(source, list | tuple):
            raise DataError(f"image {number} is a {type(source).__name__}; pass one list of images")
        try:
            yield read_input(source, config)
        except DataError as error:
            raise DataError(f"image {number}: {error}") from None


def open_image(source: object) -> BytesSource:
    """Return the image file of a path, a URL, bytes or an open file. Paths and URLs are not read.

    A URL must have a protocol that is allowed in data sets. Its host is trusted and can have a private address.
    Redirects to private addresses of other hosts are refused. Do not pass text from a user who is not trusted: a path
    can name any file, and a URL any server.

    Args:
        source: a path, a URL, bytes, a file that is open in binary mode, or a `BytesSource`.

    Returns:
        The file as a `BytesSource`.

    Raises:
        DataError: The source has another type, or is a directory or a video, the protocol of the URL is not allowed, or
            an open file cannot be read.
    """
    if isinstance(source, str | os.PathLike) and not isinstance(path := os.fspath(source), bytes):
        file = open_file(path)
        if isinstance(file, Path) and file.is_dir():
            raise DataError(f"{file}: is a directory, not an image; predict its images with `predict_folder`")
        if isinstance(file, Path) and file.suffix.lower().removeprefix(".") in VIDEO_SUFFIXES and file.is_file():
            raise DataError(f"{file}: is a video, not an image; predict its frames with `predict_folder`")
        return file
    if isinstance(source, bytes | bytearray | memoryview):
        return _Content(bytes(source), "the bytes")
    if isinstance(source, BytesSource):
        return source
    if callable(getattr(source, "read", None)):
        return _read_file(source)  # type: ignore[arg-type]
    raise DataError(f"an image is {_ACCEPTED}, not {type(source).__name__}")


def open_file(path: str | Path | UrlImage) -> Path | UrlImage:
    """Return the image file at a path or URL. "~" stands for the home directory. Nothing is read.

    Raises:
        DataError: See `open_image_url`.
    """
    if isinstance(path, UrlImage):
        return path
    if isinstance(path, str) and "://" in path:
        return open_image_url(path)
    return expand_home(path)


def open_image_url(url: str) -> Path | UrlImage:
    """Return the image file at a URL, as a Path if it is on this machine. Nothing is read.

    Raises:
        DataError: The protocol is not allowed, its package is not installed, or the URL is that of a folder.
    """
    check_url(url)
    file = open_url(url)
    if isinstance(file, Path):
        return file
    if not file.name or url.split("?")[0].endswith("/"):
        raise DataError(f"{url}: is the URL of a folder; name the URL of an image")
    return UrlImage(file)


def _read_file(file: BinaryIO) -> _Content:
    name = getattr(file, "name", None)
    title = name if isinstance(name, str) else f"the {type(file).__name__}"
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation) as error:
        raise DataError(f"{title}: cannot be read ({error})") from None
    if not isinstance(content, bytes):
        raise DataError(f"{title}: is open as text; open it in binary mode ('rb')")
    return _Content(content, title)


def from_array(
    array: np.ndarray,
    config: ModelConfig,
    file_nodata: float | None = None,
    masked: npt.NDArray[np.bool_] | None = None,
    kind: Literal["array", "tensor"] = "array",
) -> np.ndarray:
    """Return an array as the model takes it, see `ImageInput`.

    Args:
        array: the image, or a part of its rows.
        config: the configuration of the model.
        file_nodata: the nodata value that its file states, see `PixelScale.apply`.
        masked: the nodata pixels of its file's mask, see `PixelScale.apply`.
        kind: what the caller passed. The fix in a message is code for it.

    Returns:
        (H, W, channels) uint8, a copy.

    Raises:
        DataError: The model cannot use this type or shape.
    """
    channels = len(config.mean)
    pixels = array[..., None] if array.ndim == 2 else array
    is_image = pixels.ndim == 3 and pixels.size > 0
    count = pixels.shape[2] if is_image else 0
    if count != channels and not (channels == 3 and count in (1, 4)):
        raise DataError(
            f"{_expected(channels, kind)}; this one is {array.shape} {array.dtype}{_layout_hint(array, channels, kind)}"
        )
    has_range = (config.pixel_range is not None or config.band_ranges) and pixels.dtype.kind in "uif"
    if pixels.dtype not in (np.uint8, np.uint16) and not has_range:
        raise DataError(f"{_expected(channels, kind)}; this one is {array.dtype}: {_type_hint(array.dtype, kind)}")
    pixels = config.pixel_scale.apply(pixels, file_nodata, masked)
    if count == channels:
        # Copy the array, because torch rejects read-only memory and negative strides, and the caller may change it.
        return np.array(pixels, order="C")
    if count == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.array(to_rgb(Image.fromarray(np.ascontiguousarray(pixels))))


def _expected(channels: int, kind: str) -> str:
    """Describe the arrays or tensors that a model with this number of channels takes."""
    shapes = "(H, W), (H, W, 3) RGB or (H, W, 4) RGBA" if channels == 3 else f"(H, W, {channels})"
    if kind == "tensor":
        return f"a tensor must be {shapes}, or have the channels first, and be uint8 or uint16"
    return f"an array must be {shapes}, uint8 or uint16"


def _layout_hint(array: np.ndarray, channels: int, kind: str) -> str:
    if array.ndim == 4:
        return f"; pass a batch as a list of images: list({kind})"
    if array.ndim == 3 and array.shape[0] in (1, channels):
        return "; channels are last: np.moveaxis(array, 0, -1)"
    return ""


def _type_hint(dtype: np.dtype, kind: str) -> str:
    cast = "to(torch.uint8)" if kind == "tensor" else "astype('uint8')"
    if dtype.kind == "f":
        return f"pass ({kind} * 255).round().{cast} for values in [0, 1], or {kind}.{cast} for values in [0, 255]"
    if dtype.kind == "b":
        return f"pass {kind}.{cast} * 255"
    return f"pass {kind}.{cast} for values in [0, 255]"


def _from_tensor(tensor: "torch.Tensor", config: ModelConfig) -> np.ndarray:
    """Return the image of a tensor, see `ImageInput`."""
    channels = len(config.mean)
    possible = (1, 3, 4) if channels == 3 else (channels,)
    if tensor.ndim == 3:
        is_first, is_last = tensor.shape[0] in possible, tensor.shape[2] in possible
        if is_first and is_last:
            raise DataError(
                f"a tensor of shape {tuple(tensor.shape)} can be (C, H, W) or (H, W, C); pass an array (H, W, C): "
                "tensor.permute(1, 2, 0).numpy() if it is (C, H, W)"
            )
        if is_first:
            tensor = tensor.permute(1, 2, 0)
    tensor = tensor.detach().cpu()
    is_bfloat16 = str(tensor.dtype) == "torch.bfloat16"  # NumPy does not have it
    return from_array((tensor.float() if is_bfloat16 else tensor).numpy(), config, kind="tensor")
