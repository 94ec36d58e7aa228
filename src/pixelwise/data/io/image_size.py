"""The memory that an image takes, estimated before it is decoded. It bounds how many images are read ahead."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from pixelwise.data.io.image import is_special_file
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.schema import BytesSource

READ_AHEAD_BYTES = 192 << 20
"""Maximum total size of the decoded images that are read ahead. Pillow takes about twice as much while it decodes."""

GROUP_BYTES = 64 << 20
"""A group of images for one forward pass ends with the image that brings its total size to this number of bytes."""

_ASSUMED_BYTES = 16 << 20
"""Size of an image whose header is not read: in a shard, in a table or on a server."""

_WIDE_MODES = ("I", "F")


def decoded_bytes(source: BytesSource, channels: int = 3) -> int:
    """Return the number of bytes of a decoded image, from the header of its file.

    Args:
        source: the image file. Only local files are opened.
        channels: number of channels that it is read with.

    Returns:
        An estimate for files that are not local or whose header Pillow cannot read. 0 for a missing file.
    """
    if not isinstance(source, Path):
        return _ASSUMED_BYTES
    try:
        if is_special_file(source):
            return 0
        on_disk = source.stat().st_size
    except OSError:
        return 0  # reading it raises the error
    with suppress(Exception), Image.open(source, formats=PILLOW_FORMATS) as image:  # damaged headers raise many types
        return image.width * image.height * max(channels, 4 if image.mode in _WIDE_MODES else 1)
    return max(on_disk, _ASSUMED_BYTES)
