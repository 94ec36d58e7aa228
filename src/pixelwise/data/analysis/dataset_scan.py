"""The statistics of all records of a data set, from one pass over their files."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import MaskStatsTable
from pixelwise.data.analysis.scan import scan
from pixelwise.data.band_ranges import measure_scale
from pixelwise.data.io.tar_shard import TarMember
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import FormatResult, Record
from pixelwise.runtime.progress import Progress

MAX_REMOTE_IMAGES = 2000
"""Remote shards are sampled: about this many images are scanned, because `pack` has already validated all of them."""


@dataclass(frozen=True)
class DatasetScan:
    """The statistics of the scanned records.

    Attributes:
        records: the records, in the order of the tables.
        is_complete: False if only a sample of the data set was scanned.
        messages: notes for the user, for example that only a sample was scanned.
        images: the statistics of the images.
        masks: the statistics of the masks that can be read.
        value_counts: the counts of the pixel values in these masks.
    """

    records: tuple[Record, ...]
    is_complete: bool
    messages: tuple[str, ...]
    images: ImageStatsTable
    masks: MaskStatsTable = field(default_factory=MaskStatsTable)
    value_counts: MaskValueCounts = field(default_factory=MaskValueCounts)

    def indices(self, records: Sequence[Record]) -> list[int]:
        """Return the row number of each record in the tables. Raise KeyError for a record that was not scanned."""
        by_id = {id(record): index for index, record in enumerate(self.records)}
        return [by_id[id(record)] for record in records]


def scan_dataset(result: FormatResult, progress: Progress, nodata: float | None = None) -> DatasetScan:
    """Read the image and mask of each record once.

    A file that cannot be used raises no error. It gives an issue in the table of images.

    Args:
        result: the records.
        progress: see `Progress`.
        nodata: a value of the images' pixels that stands for no data, or None.

    Returns:
        The statistics. If all shards are on another machine, they cover about `MAX_REMOTE_IMAGES` images.
    """
    records, message = _select_records(result)
    train = {id(record) for record in result.train}
    scale = measure_scale([record for record in records if id(record) in train] or records, nodata)
    scanned = DatasetScan(records, not message, (message,) if message else (), ImageStatsTable(scale))
    for index, (record, stats) in enumerate(scan(records, progress, scale=scale)):
        scanned.images.add(stats)
        if stats.mask is not None and record.mask is not None:
            scanned.value_counts.add(record.mask, stats.mask.stats)
            scanned.masks.add(index, stats.mask)
    return scanned


def _select_records(result: FormatResult) -> tuple[tuple[Record, ...], str]:
    """Return the records to scan, and a message if they are a sample of remote shards, else ""."""
    shards: dict[str, list[Record]] = {}
    for record in result.records:
        if not isinstance(record.image, TarMember) or record.image.shard.is_local:
            return result.records, ""
        shards.setdefault(record.image.shard.url, []).append(record)
    total = len(result.records)
    # A shard can only be downloaded as a whole, so the sample consists of shards. Even spacing covers all splits.
    count = max(1, len(shards) * MAX_REMOTE_IMAGES // total) if total > MAX_REMOTE_IMAGES else len(shards)
    urls = [list(shards)[number * len(shards) // count] for number in range(count)]
    records = tuple(record for url in urls for record in shards[url])
    if len(records) == total:
        return records, ""
    return records, f"scanned: {len(records)} of {total} images, in {len(urls)} of {len(shards)} shards"
