"""The size of an image in pixels, and in bytes of memory, from the header of its file."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from pixelwise.data.io.exif import image_orientation
from pixelwise.data.io.image import ignores_orientation, is_special_file
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.image_windows import WINDOW_SUFFIXES, open_windows
from pixelwise.data.io.rgb import upright_size
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError

READ_AHEAD_BYTES = 192 << 20
"""Maximum total size of decoded images that are read ahead. Decoding in Pillow needs about twice this memory."""

GROUP_BYTES = 64 << 20
"""Size of decoded images from which on no further image is added to a group for one forward pass."""

_ASSUMED_BYTES = 16 << 20
"""Assumed decoded size of an image whose header is not read: in a shard, in a table or on a server."""

_WIDE_MODES = ("I", "F")


def decoded_bytes(source: BytesSource, channels: int = 3) -> int:
    """Return the size of a decoded image in bytes, from the header of its file.

    Args:
        source: the image file. Only local files are opened.
        channels: number of channels to decode.

    Returns:
        The size in bytes. An assumed size for files that are not local or whose header Pillow cannot read. 0 for files
        that are missing or special (such as a named pipe).
    """
    if not isinstance(source, Path):
        return _ASSUMED_BYTES
    try:
        if is_special_file(source):
            return 0
        on_disk = source.stat().st_size
    except OSError:
        return 0  # reading it raises the error
    with suppress(Exception), Image.open(source, formats=PILLOW_FORMATS) as image:  # a bad header can raise any error
        return image.width * image.height * max(channels, 4 if image.mode in _WIDE_MODES else 1)
    return max(on_disk, _ASSUMED_BYTES)


def header_size(source: BytesSource) -> tuple[int, int] | None:
    """Return the height and width in pixels of an image, as it is read, from the header of its file.

    The image is upright, but the bands of a TIFF that Pillow cannot represent are read as they are stored.

    Args:
        source: the image file. Only local files are opened.

    Returns:
        (height, width). None if the file is not local, or if neither Pillow nor `open_windows` can read its header.
    """
    if isinstance(source, Path) and not is_special_file(source):
        with suppress(Exception), Image.open(source, formats=PILLOW_FORMATS) as image:  # see `decoded_bytes`
            size = upright_size(image)
            is_stored = ignores_orientation(source, image) and image_orientation(image) >= 5
            return (size[1], size[0]) if is_stored else size
        # Pillow opens neither TIFF files with many bands nor very large images.
        with suppress(DataError, OSError):
            if source.suffix.lower() in WINDOW_SUFFIXES:
                with open_windows(source) as windows:
                    return windows.height, windows.width
    return None
