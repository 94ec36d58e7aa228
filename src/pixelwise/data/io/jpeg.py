"""Detection of truncated JPEG files that still end with an end marker. Pillow reads them without an error.

Such files come from data recovery, or from programs that rewrite a truncated file. libjpeg fills the missing pixels
with gray and counts a warning that Pillow does not pass on.

The test inserts bytes before the end marker and decodes the file again. In a complete file, the decoder ignores bytes
between the last pixel and the end marker. In a truncated file, it decodes them as the missing pixels. So a file is
truncated if the inserted bytes change its pixels. Only files that may be truncated are decoded a second time.

The structure of the files is specified in ITU-T T.81.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = frozenset((0x01, _START, *range(0xD0, 0xD8)))
"""Markers that have no segment after them."""

_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
"""Markers of frames that are compressed with Huffman codes. Files with other frames are not checked."""

_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The first marker after the data of a scan. In the data, 0xff is followed by 0 or by a restart number 0xd0..0xd7."""

_FILLER = bytes((0xA3, 0x3C, 0x95, 0x6E, 0x17, 0xD2, 0x5A)) * 9
_FILLER += b"".join(bytes((0xFF, 0xD0 + number)) + _FILLER for number in range(8))
"""Data that is decoded as the missing pixels of a truncated file.

libjpeg replaces missing data by zeros. The first bits here are not all zeros, so the decoded pixels differ. The data
contains every restart marker, so that a decoder that skips to the next one also decodes the bytes after it.
"""

_SMALL_BYTES = 1 << 13
"""Files of at most this size in bytes are always decoded twice, because 16x16 pixels are a large part of them."""

_GRAY = range(126, 130)
"""Channel values of missing pixels, in any color space."""


@dataclass
class _Frame:
    """The structure of a JPEG file. Positions are in bytes from the start of the file.

    Attributes:
        is_progressive: True for a progressive file, False for a sequential one.
        block_count: number of blocks of 8×8 samples in all color components.
        data_start: position of the first scan's data.
        end: position of the end marker. 0 if the file was not read that far.
    """

    is_progressive: bool
    block_count: int
    data_start: int = 0
    end: int = 0


def is_far_too_short(content: bytes) -> bool:
    """Return True if a JPEG file has too few bits for the number of blocks in its header. Nothing is decoded.

    A block takes at least two bits. In the first scan of a progressive file it takes at least one bit.

    Args:
        content: the file's content.
    """
    frame = _read_frame(content, first_scan_only=True)
    if frame is None:
        return False
    return (len(content) - frame.data_start) * 8 < frame.block_count * (1 if frame.is_progressive else 2)


def is_cut(content: bytes, image: JpegImageFile) -> bool:
    """Return True if a JPEG file lacks data before its end marker, and this changes pixels of the decoded image.

    The file is decoded again, except if it is sequential, larger than `_SMALL_BYTES`, and its last pixel is not gray.
    In this case at most a part of the last 16x16 pixels is missing, and the function returns False.

    Args:
        content: the file's content.
        image: the image that Pillow decoded from the file, at any scale. It must be unchanged since then.
    """
    if len(content) > _SMALL_BYTES and not _ends_gray(image) and "progressive" not in image.info:
        return False
    frame = _read_frame(content, first_scan_only=False)
    if frame is None:
        return False
    # If the data ends with 0xff, this byte must not form a marker with the first inserted byte.
    stuffing = b"\0" if content[: frame.end].endswith(b"\xff") else b""
    filled = io.BytesIO(content[: frame.end] + stuffing + _FILLER + content[frame.end :])
    with Image.open(filled, formats=("JPEG",)) as again:
        scale, *_ = image.decoderconfig or (1,)
        assert isinstance(again, JpegImageFile)
        again.draft(None, (max(1, again.width // scale), max(1, again.height // scale)))
        return not np.array_equal(np.asarray(image), np.asarray(again))


def _ends_gray(image: JpegImageFile) -> bool:
    pixel = image.getpixel((image.width - 1, image.height - 1))
    return all(round(value) in _GRAY for value in (pixel if isinstance(pixel, tuple) else (pixel or 0,)))


def _read_frame(content: bytes, first_scan_only: bool) -> _Frame | None:
    """Return the structure of a file, or None if it has no frame with Huffman codes or no scan.

    If `first_scan_only`, reading stops at the first scan. Otherwise the result is also None without an end marker.
    """
    frame: _Frame | None = None
    for marker, start, end in _segments(content):
        segment = content[start:end]
        if marker in (*_SEQUENTIAL, _PROGRESSIVE):
            frame = _parse_frame(segment, marker == _PROGRESSIVE)
        if frame is None:
            continue
        if marker == _SCAN:
            frame.data_start = frame.data_start or end
            if first_scan_only:
                return frame
        if marker == _END:
            frame.end = end
            return frame if frame.data_start else None
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each marker with the start and end of its segment's content. Stop at the end marker or at damage."""
    position = 0
    while position + 1 < len(content):
        match = _NEXT_MARKER.search(content, position)
        if match is None:
            return
        marker, start = content[match.end() - 1], match.end()
        if marker == _END:
            yield marker, match.start(), match.start()
            return
        if marker in _ALONE:
            position = start
            continue
        end = start + int.from_bytes(content[start : start + 2], "big")
        if end < start + 2 or end > len(content):
            return
        yield marker, start + 2, end
        position = end


def _parse_frame(segment: bytes, is_progressive: bool) -> _Frame | None:
    """Parse the header of a frame. Return None if it is damaged or does not contain the image's height."""
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    components = [segment[index : index + 3] for index in range(6, len(segment) - 2, 3)]
    factors = [(component[1] >> 4, component[1] & 15) for component in components]
    if not height or not width or not factors or not all(h and v for h, v in factors):
        return None
    widest, highest = max(h for h, _ in factors), max(v for _, v in factors)
    blocks = sum(_blocks(width * h, widest) * _blocks(height * v, highest) for h, v in factors)
    return _Frame(is_progressive, blocks)


def _blocks(samples: int, factor: int) -> int:
    return -(-samples // (factor * 8))
