"""Run-length encoded masks: decoding of COCO's and Label Studio's encodings, and encoding in COCO's."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from pixelwise.data.formats._json import is_index
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.rasterize import coco_mask_module
from pixelwise.data.schema import Annotation
from pixelwise.errors import AnnotationError


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask ((H, W) bool) as COCO's compressed run lengths. See `Annotation.rle`."""
    return dict(coco_mask_module().encode(np.asfortranarray(mask, np.uint8)))


def encode_part(part: np.ndarray, left: int, top: int, size: tuple[int, int]) -> dict[str, Any]:
    """Encode a mask of a part of an image as COCO's compressed run lengths of the whole image.

    Args:
        part: (h, w) bool. Its pixels outside the image are left out.
        left: x of the first column of `part` in the image, in pixels. It can be negative.
        top: y of the first row of `part` in the image, in pixels. It can be negative.
        size: (height, width) of the image in pixels.

    Returns:
        The run lengths, see `Annotation.rle`.
    """
    height, width = size
    part = part[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    edges = np.diff(part.T.astype(np.int8), axis=1, prepend=0, append=0)
    # COCO counts pixels column by column. The runs of `part` are in the same order.
    starts, ends = (
        (max(0, left) + columns) * height + max(0, top) + rows
        for columns, rows in (np.nonzero(edges == sign) for sign in (1, -1))
    )
    bounds = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(bounds, prepend=0, append=height * width).tolist()
    return dict(coco_mask_module().frPyObjects({"size": [height, width], "counts": counts}, height, width))


@lru_cache(maxsize=64)
def empty_rle(height: int, width: int, background: int = 0) -> Annotation:
    """Return an annotation without pixels. With it, `rasterize` raises an error for an image of another size.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        background: class index of the annotation.

    Returns:
        An annotation with run lengths of the image size.
    """
    empty = coco_mask_module().frPyObjects({"size": [height, width], "counts": [height * width]}, height, width)
    return Annotation(background, rle=dict(empty))


def check_rle(segmentation: Mapping[str, Any], image_size: tuple[int, int] | None) -> tuple[float, dict[str, Any]]:
    """Check run lengths from a COCO file.

    pycocotools does not check its input, so damaged run lengths would crash the process.

    Args:
        segmentation: {"size": [height, width], "counts": list of run lengths or compressed text}.
        image_size: (height, width) of the image in pixels. None if the file does not state it.

    Returns:
        The area of the object in pixels, and the compressed run lengths, see `Annotation.rle`.

    Raises:
        AnnotationError: The run lengths are damaged or are for an image of another size.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(map(is_index, size)) and size[0] * size[1] <= MAX_PIXELS):
        raise AnnotationError("run lengths must have a size: [height, width]")
    height, width = size
    if image_size is not None and (height, width) != image_size:
        raise AnnotationError(f"run lengths for {width}x{height}, but the image is {image_size[1]}x{image_size[0]}")
    if isinstance(counts, str):
        runs = decode_rle_counts(counts)
    elif isinstance(counts, list) and all(map(is_index, counts)):
        runs = np.array(counts, np.int64)
    else:
        raise AnnotationError("run lengths must have counts: a list of numbers, or text")
    # The sum is in floats, because a sum of large integers can overflow.
    if not len(runs) or runs.min() < 0 or runs.sum(dtype=np.float64) != height * width:
        raise AnnotationError(f"run lengths do not add up to {width}x{height} pixels")
    area = float(runs[1::2].sum())
    if isinstance(counts, str):
        return area, {"size": size, "counts": counts.encode("ascii")}
    return area, dict(coco_mask_module().frPyObjects({"size": size, "counts": counts}, height, width))


def decode_rle_counts(text: str) -> np.ndarray:
    """Decode COCO's compressed run lengths.

    Each character encodes five bits of a number. From the fourth number on, a number is the difference between its run
    length and the run length two places before.

    Args:
        text: the value of "counts".

    Returns:
        The run lengths in pixels, (N,) int64. The first run is outside the object.

    Raises:
        AnnotationError: The text has invalid characters, or ends in the middle of a number.

    >>> decode_rle_counts("523").tolist()
    [5, 2, 3]
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeError:
        raise AnnotationError("run lengths contain invalid characters") from None
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        raise AnnotationError("run lengths contain invalid characters")
    is_last = codes & 32 == 0  # the last character of a number
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not is_last[-1] or (ends - starts).max() > 6:
        raise AnnotationError("run lengths are cut off")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= (codes[ends] >> 4 & 1) << (shifts[ends] + 5)  # the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


class _BitReader:
    """A reader of big-endian integers with any number of bits."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0  # index of the next bit

    def _advance(self, bits: int) -> tuple[int, int]:
        start, end = self._position, self._position + bits
        if end > 8 * len(self._data):
            raise AnnotationError("a brush's rle is cut off")
        self._position = end
        return start, end

    def read(self, bits: int) -> int:
        """Read one integer."""
        start, end = self._advance(bits)
        return int.from_bytes(self._data[start >> 3 : end + 7 >> 3], "big") >> (-end & 7) & ((1 << bits) - 1)

    def read_array(self, count: int, bits: int) -> np.ndarray:
        """Read `count` integers of `bits` bits each."""
        start, end = self._advance(count * bits)
        unpacked = np.unpackbits(np.frombuffer(self._data[start >> 3 : end + 7 >> 3], np.uint8))[start & 7 :]
        return np.asarray(unpacked[: count * bits].reshape(count, bits) @ (1 << np.arange(bits - 1, -1, -1)))


def decode_brush_rle(codes: object, height: int, width: int) -> np.ndarray:
    """Decode a brush mask of Label Studio: run lengths of RGBA values.

    The encoding is a stream of bits, highest bit first. The header has three fields:

    - the number of values (32 bits)
    - the number of bits per value, minus one (5 bits)
    - four word sizes in bits, each minus one (4 bits each)

    The header is followed by blocks. Each block has four fields:

    - 1 for a run of equal values, or 0 for single values (1 bit)
    - the index of a word size (2 bits)
    - the number of values, minus one (as many bits as the word size)
    - the value of the run, or all single values

    Args:
        codes: the list of bytes from the file, as integers from 0 to 255.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        (H, W) bool, True for pixels with an opacity of at least 128.

    Raises:
        AnnotationError: The bytes are damaged, or are for an image of another size.
    """
    try:
        data = bytes(codes) if isinstance(codes, list) else b""
    except (ValueError, TypeError):
        raise AnnotationError("a brush's rle must be a list of numbers from 0 to 255") from None
    reader = _BitReader(data)
    total, value_bits = reader.read(32), reader.read(5) + 1
    word_sizes = [reader.read(4) + 1 for _ in range(4)]
    if total != 4 * height * width:
        raise AnnotationError(f"a brush's rle is not for {width}x{height} pixels")
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        is_run = reader.read(1)
        count = reader.read(word_sizes[reader.read(2)]) + 1
        if done + count > total:
            raise AnnotationError("a brush's rle is longer than its mask")
        block = reader.read(value_bits) if is_run else reader.read_array(count, value_bits)
        values[done : done + count] = np.minimum(block, 255)
        done += count
    return values.reshape(height, width, 4)[..., 3] >= 128
