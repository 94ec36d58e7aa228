"""A warning, before a training, about validation images that are nearly equal to training images."""

import logging

import numpy as np
from PIL import Image

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE, find_near_duplicates
from pixelwise.data.analysis.image_scan import image_stats
from pixelwise.data.cache.entry import CacheEntry
from pixelwise.data.io.image_windows import can_open_large
from pixelwise.data.schema import BytesSource, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError, printable
from pixelwise.runtime.threads import prefetch_map

logger = logging.getLogger(__name__)


MAX_DECODED_IMAGES = 2000
"""Maximum number of images that are decoded of each split without a cache. They are evenly spaced."""


def warn_of_near_duplicates(train_set: SegmentationDataset, val_set: SegmentationDataset) -> None:
    """Log a warning with the number of validation images that are nearly equal to a training image.

    Images in the cache are not decoded again: 5,000 images of 192 px take less than a second. Without a cache, at most
    `MAX_DECODED_IMAGES` images of each split are decoded, at a reduced size.

    Args:
        train_set: the training images.
        val_set: the validation images.
    """
    train, train_indices = _thumbnails(train_set)
    val, val_indices = _thumbnails(val_set)
    found = find_near_duplicates(val, train)
    if not found.matches:
        return
    index, (match, _) = max(found.matches.items(), key=lambda item: item[1][1])
    logger.warning(
        "%d of %d validation images are nearly equal to training images, for example %s and %s, so the validation "
        "metrics are too high; keep copies, and frames of one video, in one split",
        len(found.matches),
        found.compared,
        printable(str(item_record(val_set, val_indices[index]).image)),
        printable(str(item_record(train_set, train_indices[match]).image)),
    )


def _thumbnails(images: SegmentationDataset) -> tuple[np.ndarray, list[int]]:
    """Return gray thumbnails, (N, `THUMBNAIL_SIDE`²) uint8, and the index of the item of each."""
    if images.cache_entry is not None:
        thumbnails = cached_thumbnails(images.cache_entry)
        return thumbnails, list(range(len(thumbnails)))
    step = max(1, -(-len(images.records) // MAX_DECODED_IMAGES))
    indices = list(range(0, len(images.records), step))
    decoded = prefetch_map(_decode_thumbnail, [images.records[index].image for index in indices])
    found = [(index, thumbnail) for index, thumbnail in zip(indices, decoded, strict=True) if thumbnail is not None]
    pixels = np.frombuffer(b"".join(thumbnail for _, thumbnail in found), np.uint8)
    return pixels.reshape(-1, THUMBNAIL_SIDE**2), [index for index, _ in found]


def _decode_thumbnail(image: BytesSource) -> bytes | None:
    """Return the thumbnail of an image, or None if it cannot be read or is large.

    Reading a large image takes seconds.
    """
    if can_open_large(image):
        return None
    try:
        return image_stats(image).thumbnail
    except DataError:
        return None


def cached_thumbnails(entry: CacheEntry) -> np.ndarray:
    """Return the gray thumbnails of the images in a cache entry, (N, `THUMBNAIL_SIDE`²) uint8."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnails = np.empty((len(entry.images), THUMBNAIL_SIDE**2), np.uint8)
    for index, pixels in enumerate(entry.images):
        is_rgb = pixels.shape[2] == 3
        gray = Image.fromarray(pixels).convert("L") if is_rgb else Image.fromarray(pixels.mean(2).astype(np.uint8))
        thumbnails[index] = np.asarray(gray.resize(size, Image.Resampling.BOX)).ravel()
    return thumbnails


def item_record(images: SegmentationDataset, index: int) -> Record:
    """Return the record of the item with this index. The cache has no items for records that cannot be read."""
    skipped = set(images.cache_entry.header.skipped) if images.cache_entry is not None else set()
    return [record for number, record in enumerate(images.records) if number not in skipped][index]
