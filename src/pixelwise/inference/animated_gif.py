"""Reading and writing of animated GIF files, one frame at a time."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from PIL import Image

from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.rgb import to_rgb
from pixelwise.errors import DataError, first_line

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
"""First bytes of the blocks of a GIF file."""


class Frame(NamedTuple):
    """One frame of an animation or a video.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        time: for a video, the time of the frame's display in units of `VideoReader.time_base`. For a GIF, the duration
            of the frame in milliseconds.
    """

    image: np.ndarray
    time: int


class GifReader:
    """The frames of a GIF file.

    Args:
        path: the file.

    Attributes:
        size: (height, width) in pixels.
        frame_count: number of frames.
        loop: number of repetitions, 0 if they do not end, or None if the animation is shown once.

    Raises:
        DataError: The file cannot be read. The message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._image = Image.open(path, formats=("GIF",))
            self.frame_count: int = getattr(self._image, "n_frames", 1)
        except Exception as error:  # Pillow's decoders raise many exception types for corrupt files
            raise DataError(f"{path}: truncated or corrupt ({first_line(error)}); replace or remove it") from None
        self.size = self._image.height, self._image.width
        self.loop: int | None = self._image.info.get("loop")
        if self.size[0] * self.size[1] > MAX_PIXELS:
            self.close()
            raise DataError(
                f"{path}: its frames have more pixels than the maximum of {MAX_PIXELS:,}; make them smaller"
            )

    def frames(self) -> Iterator[Frame]:
        """Yield the frames. Transparent pixels are blended with white.

        Raises:
            DataError: A frame is corrupt.
        """
        for number in range(self.frame_count):
            try:
                self._image.seek(number)
                image = np.array(to_rgb(self._image.copy()))
            except Exception as error:  # see above
                fault = f"frame {number + 1} is corrupt ({first_line(error)})"
                raise DataError(f"{self.path}: {fault}; replace or remove the file") from None
            yield Frame(image, int(self._image.info.get("duration", 0)))

    def close(self) -> None:
        """Close the file."""
        self._image.close()


class GifWriter:
    """Write an animated GIF frame by frame. Pillow alone would keep all frames in memory until they are written.

    Each frame has its own palette of at most 256 colors. The format follows CompuServe's GIF89a specification. The
    file is complete at the end of the `with` block.

    Args:
        file: the file, open for writing.
        size: (height, width) of the frames in pixels.
        loop: see `GifReader`.
        comment: a text to store in the file.
    """

    def __init__(self, file: BinaryIO, size: tuple[int, int], loop: int | None = 0, comment: str = "") -> None:
        self._file = file
        file.write(b"GIF89a" + _word(size[1]) + _word(size[0]) + b"\0\0\0")
        if loop is not None:
            file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + _word(min(loop, 0xFFFF)) + b"\0")
        if comment:
            content = comment.encode()
            blocks = (content[start : start + 255] for start in range(0, len(content), 255))
            file.write(b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0")

    def write(self, image: Image.Image, milliseconds: int) -> None:
        """Append a frame.

        Args:
            image: an RGB image of the size of the file.
            milliseconds: how long the frame is shown. It is rounded to a multiple of 10.
        """
        palette, descriptor, data = _encode(image)
        delay = min(round(milliseconds / 10), 0xFFFF)
        self._file.write(b"\x21\xf9\x04\x04" + _word(delay) + b"\0\0")  # 0x04: the next frame is drawn over this one
        size_bits = (len(palette) // 3).bit_length() - 2
        self._file.write(bytes([_IMAGE]) + descriptor[:8] + bytes([0x80 | size_bits]) + palette + data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.write(bytes([_TRAILER]))


def is_animated_gif(path: Path) -> bool:
    """Return True if a file has the suffix .gif and several frames. Return False if it cannot be read."""
    if path.suffix.lower() != ".gif":
        return False
    try:
        with Image.open(path, formats=("GIF",)) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # reading the image raises the error
        return False


def _word(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _encode(image: Image.Image) -> tuple[bytes, bytes, bytes]:
    """Return the palette, the 9 bytes of the image descriptor, and the compressed pixels of an image.

    They are taken from a GIF file of one frame that Pillow encodes in memory.
    """
    buffer = io.BytesIO()
    image.quantize(256).save(buffer, "GIF", interlace=0)
    content = buffer.getvalue()
    flags, position = content[10], 13
    palette = content[position : position + 3 * (2 << (flags & 7))]
    position += len(palette)
    while content[position] == _EXTENSION:
        position = _skip_blocks(content, position + 2)
    descriptor = content[position + 1 : position + 10]
    start = position + 10
    return palette, descriptor, content[start : _skip_blocks(content, start + 1)]


def _skip_blocks(content: bytes, position: int) -> int:
    """Return the position after a sequence of sub-blocks. An empty sub-block ends the sequence."""
    while content[position]:
        position += content[position] + 1
    return position + 1
