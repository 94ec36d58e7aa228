"""One pass over the images and masks of a data set: the statistics of one record, and the loop over all records.

Workers return statistics instead of pixels, so the memory needed does not depend on the size of the images. This module
does not import torch.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.analysis.image_scan import ImageStats, content_digest, scan_image
from pixelwise.data.analysis.regions import RegionStats, region_stats
from pixelwise.data.io.exif import exif_orientation
from pixelwise.data.io.mask import drawing_size, read_mask
from pixelwise.data.io.mask_values import mask_values, open_mask
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.label_map.mask_stats import (
    MaskStats,
    class_mask_stats,
    image_mask_stats,
    merge_stats,
    with_orientation,
)
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import DataIssue, LabelMap, MaskSource, MultilabelMask, PolygonMask, Record
from pixelwise.errors import DataError, WorkerCrashedError, without_name
from pixelwise.runtime.process_pool import process_map
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import available_cpus, batched, prefetch_map

MIN_RECORDS_FOR_PROCESSES = 200
"""Minimum number of records for worker processes. Fewer are scanned by threads, which start faster."""

RECORDS_PER_BATCH = 32
"""Number of records per task of a worker process."""

MAX_PICKLED_BYTES = 1 << 16
"""Maximum size of a pickled record for worker processes. Larger ones are scanned by threads, to avoid the transfer."""

NO_OPACITY = -1
"""Value of `MaskScan.opacity` if the pixels differ in opacity, or the mask has no opacity besides its values."""


@dataclass(frozen=True, eq=False)
class MaskScan:
    """The statistics of one mask.

    Attributes:
        stats: the value counts.
        regions: (channel, regions) for each mask file. The channel is 0, or the index in a multi-label mask.
        opacity: the opacity that all pixels have in common, 0..255, or `NO_OPACITY`.
        digest: BLAKE2b of the mask's values, 16 bytes.
        missing: number of pixels that `regions` leave out, because the image has no data there.
    """

    stats: MaskStats
    regions: tuple[tuple[int, RegionStats], ...]
    opacity: int
    digest: bytes
    missing: int = 0


@dataclass(frozen=True, eq=False)
class RecordStats:
    """The statistics of one record.

    Attributes:
        image: the statistics of the image, or None if it cannot be read.
        mask: the statistics of the mask, or None if it is missing or cannot be read.
        issues: the faults of the files. A record with a fault is unusable.
    """

    image: ImageStats | None
    mask: MaskScan | None = None
    issues: tuple[DataIssue, ...] = ()


def scan(
    records: Sequence[Record],
    progress: Progress = no_progress,
    workers: int | None = None,
    scale: PixelScale = UNSCALED,
) -> Iterator[tuple[Record, RecordStats]]:
    """Read the image and mask of every record once.

    Args:
        records: the records to read.
        progress: see `Progress`.
        workers: number of worker processes. 0 uses threads, None one process per available CPU. Threads are always
            used for fewer than `MIN_RECORDS_FOR_PROCESSES` records, and if the first record cannot be pickled to less
            than `MAX_PICKLED_BYTES`.
        scale: the conversion of the images' pixels, see `scan_image`.

    Yields:
        Each record with its statistics, in order. Faults of files are in `RecordStats.issues`.

    Raises:
        DataError: A worker process died.
    """
    workers = available_cpus() if workers is None else workers
    if len(records) < MIN_RECORDS_FOR_PROCESSES or workers < 1 or not _pickles_small(records[0]):
        yield from progress(
            zip(records, prefetch_map(partial(scan_record, scale=scale), records), strict=True), len(records)
        )
    else:
        yield from progress(_scan_in_processes(records, workers, scale), len(records))


def _pickles_small(record: Record) -> bool:
    """Return True if a record can be pickled to less than `MAX_PICKLED_BYTES`."""
    try:
        return len(pickle.dumps(record)) < MAX_PICKLED_BYTES
    except Exception:  # libraries raise different errors for objects that cannot be pickled
        return False


def _scan_in_processes(
    records: Sequence[Record], workers: int, scale: PixelScale
) -> Iterator[tuple[Record, RecordStats]]:
    done = 0
    try:
        for batch, stats in process_map(partial(scan_batch, scale=scale), batched(records, RECORDS_PER_BATCH), workers):
            yield from zip(batch, stats, strict=True)
            done += len(batch)
    except WorkerCrashedError as error:
        last = records[min(done + RECORDS_PER_BATCH, len(records)) - 1]
        raise DataError(
            f"{records[done].image}: {error} at this image or one of the {RECORDS_PER_BATCH} up to {last.image.name}; "
            "close other programs and try again, or remove huge images"
        ) from None


def scan_batch(records: list[Record], scale: PixelScale = UNSCALED) -> list[RecordStats]:
    """Return the statistics of several records, see `scan_record`. Worker processes call this."""
    return [scan_record(record, scale) for record in records]


def scan_record(record: Record, scale: PixelScale = UNSCALED) -> RecordStats:
    """Return the statistics and faults of a record's files. Each file is decoded once.

    Args:
        record: the record.
        scale: the conversion of the image's pixels, see `scan_image`.
    """
    issues = []
    image = missing = None
    try:
        image, missing = scan_image(record.image, scale)
    except DataError as error:
        issues.append(_unreadable_issue("image", record.image, error))
    if record.mask is None:
        issues.append(DataIssue("missing mask", str(record.image), "has no mask; add one or remove the image"))
        return RecordStats(image, issues=tuple(issues))
    if isinstance(record.mask, PolygonMask | MultilabelMask) and image is None:  # their size is that of the image
        return RecordStats(None, issues=tuple(issues))
    try:
        mask = _scan_mask(record.mask, None if image is None else drawing_size(record, image.size), missing)
    except DataError as error:
        issues.append(_unreadable_issue("mask", record.mask, error))
        return RecordStats(image, issues=tuple(issues))
    mask = replace(mask, stats=with_orientation(mask.stats, record))
    if image is not None and mask.stats.size != image.size and not _fits_stored_pixels(record, image.size, mask):
        issues.append(_size_issue(record, image.size, mask.stats.size))
    return RecordStats(image, mask, tuple(issues))


def _unreadable_issue(role: str, source: MaskSource, error: DataError) -> DataIssue:
    message = without_name(error, source)
    fault = "truncated" if message.startswith("truncated") else "unreadable"
    return DataIssue(f"{fault} {role}", str(source), message)


def _fits_stored_pixels(record: Record, image_size: tuple[int, int], mask: MaskScan) -> bool:
    """Return True if the mask has the size that the image has before its EXIF orientation is applied."""
    is_exchanged = mask.stats.size == (image_size[1], image_size[0])
    return mask.stats.orientation == "stored" or (is_exchanged and exif_orientation(record.image) >= 5)


def _size_issue(record: Record, image_size: tuple[int, int], mask_size: tuple[int, int]) -> DataIssue:
    (height, width), (mask_height, mask_width) = image_size, mask_size
    message = (
        f"image is {width}x{height} but its mask {record.mask} is {mask_width}x{mask_height}; "
        "both must have the same size"
    )
    return DataIssue("size mismatch", str(record.image), message)


def _scan_mask(mask: MaskSource, size: tuple[int, int] | None, missing: npt.NDArray[np.bool_] | None) -> MaskScan:
    """Read a mask.

    Args:
        mask: the mask.
        size: (height, width) of the image in pixels, or None if it cannot be read. Polygons need it.
        missing: (H, W), True for pixels of the image without data. None if there are none. A mask of another size, such
            as one with the orientation of the stored pixels, is used as a whole.
    """
    if isinstance(mask, PolygonMask):
        class_mask = read_mask(mask, LabelMap("polygons"), size)
        stats, missing = class_mask_stats(class_mask), _of_size(missing, class_mask)
        regions = region_stats(stats, class_mask, missing)
        return MaskScan(stats, ((0, regions),), NO_OPACITY, content_digest(class_mask.tobytes()), _count(missing))
    if isinstance(mask, MultilabelMask):
        return _scan_multilabel_mask(mask, size or (0, 0), missing)
    return open_mask(mask, partial(_scan_mask_image, missing=missing))


def _of_size(missing: npt.NDArray[np.bool_] | None, values: np.ndarray) -> npt.NDArray[np.bool_] | None:
    return None if missing is None or missing.shape != values.shape else missing


def _count(missing: npt.NDArray[np.bool_] | None) -> int:
    return 0 if missing is None else int(np.count_nonzero(missing))


def _scan_multilabel_mask(
    mask: MultilabelMask, size: tuple[int, int], missing: npt.NDArray[np.bool_] | None
) -> MaskScan:
    scans = {
        channel: open_mask(source, partial(_scan_mask_image, missing=missing))
        for channel, source in enumerate(mask.channels)
        if source is not None
    }
    if len({each.stats.size for each in scans.values()}) > 1:
        raise DataError(f"{mask}: the mask files of one image must have the same size")
    return MaskScan(
        stats=merge_stats([each.stats for each in scans.values()], size),
        regions=tuple((channel, each.regions[0][1]) for channel, each in scans.items()),
        opacity=NO_OPACITY,
        digest=content_digest(*(b"%d " % channel + each.digest for channel, each in scans.items())),
        missing=max((each.missing for each in scans.values()), default=_count(missing)),
    )


def _scan_mask_image(image: Image.Image, missing: npt.NDArray[np.bool_] | None = None) -> MaskScan:
    stats = image_mask_stats(image)
    values = mask_values(image, stats.kind)
    opacity = NO_OPACITY
    if "A" in image.getbands() and stats.kind != "alpha":
        lowest, highest = image.getchannel("A").getextrema()
        opacity = int(lowest) if lowest == highest else NO_OPACITY  # type: ignore[arg-type]
    digest = content_digest(stats.kind.encode(), values.tobytes())
    missing = _of_size(missing, values)
    return MaskScan(stats, ((0, region_stats(stats, values, missing)),), opacity, digest, _count(missing))
