"""Masks as run lengths: COCO's two ways, which are drawn, and Label Studio's, which becomes COCO's."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import AnnotationError, is_whole
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.schema import Annotation


def run_lengths(inside: np.ndarray) -> dict[str, Any]:
    """A mask (HW bool) as COCO's compressed run lengths; see `Shape.rle`."""
    from pycocotools import mask as coco

    return dict(coco.encode(np.asfortranarray(inside, np.uint8)))


@lru_cache(maxsize=64)
def empty_rle(height: int, width: int, background: int = 0) -> Annotation:
    """An empty shape that is as large as the image must be: `rasterize` refuses an image of another size."""
    from pycocotools import mask as coco

    empty = coco.frPyObjects({"size": [height, width], "counts": [height * width]}, height, width)
    return Annotation(background, rle=dict(empty))


def check_run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[float, dict[str, Any]]:
    """The area, and compressed run lengths: they are checked, as COCO's own code trusts them."""
    from pycocotools import mask as coco

    own, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(own, list) and len(own) == 2 and all(map(is_whole, own)) and own[0] * own[1] <= MAX_PIXELS):
        raise AnnotationError("run lengths must have a size: [height, width]")
    height, width = own
    if size is not None and (height, width) != size:
        raise AnnotationError(f"run lengths for {width}x{height}, but the image is {size[1]}x{size[0]}")
    if isinstance(counts, str):
        runs = decode_rle_counts(counts)
    elif isinstance(counts, list) and all(map(is_whole, counts)):
        runs = np.array(counts, np.int64)
    else:
        raise AnnotationError("run lengths must have counts: a list of numbers, or text")
    # A sum in floats cannot wrap around.
    if not len(runs) or runs.min() < 0 or runs.sum(dtype=np.float64) != height * width:
        raise AnnotationError(f"run lengths do not add up to {width}x{height} pixels")
    area = float(runs[1::2].sum())
    if isinstance(counts, str):
        return area, {"size": own, "counts": counts.encode("ascii")}
    return area, dict(coco.frPyObjects({"size": own, "counts": counts}, height, width))


def decode_rle_counts(text: str) -> np.ndarray:
    """The runs in COCO's compressed text, int64: five bits a character, differences to the run before the last one.

    >>> decode_rle_counts("523").tolist()
    [5, 2, 3]
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeError:
        raise AnnotationError("run lengths hold letters that cannot be") from None
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        raise AnnotationError("run lengths hold letters that cannot be")
    last = codes & 32 == 0  # of the characters of one number
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not last[-1] or (ends - starts).max() > 6:
        raise AnnotationError("run lengths are cut off")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= (codes[ends] >> 4 & 1) << (shifts[ends] + 5)  # the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def decode_brush_rle(codes: object, height: int, width: int) -> np.ndarray:
    """The mask in Label Studio's run lengths of RGBA, HW bool: where the opacity is half or more.

    They are a stream of bits, the highest first: how many values there are (32 bits); how long a value is (5 bits, less
    one); four lengths (4 bits each, less one). Then blocks: a bit that says "a run"; 2 bits that say which of the four
    lengths the next number has; that number, how many values there are, less one; and the one value of a run, or
    all values. Raises AnnotationError.
    """
    try:
        data = bytes(codes) if isinstance(codes, list) else b""
    except (ValueError, TypeError):
        raise AnnotationError("a brush's rle must be a list of numbers from 0 to 255") from None
    place = 0

    def read(bits: int) -> int:
        nonlocal place
        end = place + bits
        if end > 8 * len(data):
            raise AnnotationError("a brush's rle is cut off")
        number = int.from_bytes(data[place >> 3 : end + 7 >> 3], "big") >> (-end & 7)
        place = end
        return number & ((1 << bits) - 1)

    total, long = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    if total != 4 * height * width:
        raise AnnotationError(f"a brush's rle is not of {width}x{height} pixels")
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        is_run = read(1)
        count = read(lengths[read(2)]) + 1
        if done + count > total:
            raise AnnotationError("a brush's rle is longer than its mask")
        if is_run:
            values[done : done + count] = min(read(long), 255)
        else:
            start, end = place, place + count * long
            if end > 8 * len(data):
                raise AnnotationError("a brush's rle is cut off")
            bits = np.unpackbits(np.frombuffer(data[start >> 3 : end + 7 >> 3], np.uint8))[start & 7 :]
            words = bits[: count * long].reshape(count, long) @ (1 << np.arange(long - 1, -1, -1))
            values[done : done + count] = np.minimum(words, 255)
            place = end
        done += count
    return values.reshape(height, width, 4)[..., 3] >= 128
