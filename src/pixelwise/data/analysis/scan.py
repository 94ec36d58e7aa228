"""One look at every image and mask: what a worker does for one record, and the loop over all of them.

A worker hands back figures, never pixels, so memory does not grow with the images. Without torch.
"""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pixelwise.data.analysis.regions import RegionStats, region_stats
from pixelwise.data.io.image import apply_exif_orientation, open_image, read_multiband_tiff, to_rgb
from pixelwise.data.io.mask import mask_values, read_mask
from pixelwise.data.label_map.value_counts import MaskStats, look_at_image, merge_stats
from pixelwise.data.schema import BytesSource, DataIssue, LabelMap, MaskSource, MultilabelMask, PolygonMask, Record
from pixelwise.errors import DataError, WorkerCrashedError, without_name
from pixelwise.runtime.process_pool import process_map
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import available_cpus, batched, prefetch_map

FEW = 200
"""So many records are looked at by threads: processes would take longer to start."""


BATCH = 32
"""Records that a worker gets at a time."""


SMALLEST_SIDE = 64
"""Images are reduced to about this for their colors; JPEGs come so from the decoder, in a third of the time."""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """What an image shows.

    Attributes:
        digest: BLAKE2b of the file's content, 16 bytes.
        size: (height, width), upright.
        mode: Pillow's name for what its pixels are, or the number of bands.
        channels: as `count_channels` says.
        greatest: of images with 16 bits a channel the greatest value; 0 of others.
        means, squares: of each channel, the mean of values and of squared values, in the image's own 8 or 16 bits.
        thumbnail: 8×8 gray values, as bytes.
    """

    digest: bytes
    size: tuple[int, int]
    mode: str
    channels: int
    greatest: int
    means: tuple[float, ...]
    squares: tuple[float, ...]
    thumbnail: bytes


@dataclass(frozen=True, eq=False)
class RecordStats:
    """What was seen of a record: `image`, `mask` and `rows` only where they can be read.

    Attributes:
        mask: as the survey wants it.
        rows: (layer, rows) for each image; layer 0 where there is one class a pixel.
        opacity: the one opacity of a mask that has no other, or −1.
        mask_digest: of the mask's values, 16 bytes.
        issues: none of which can be trained on.
    """

    image: ImageStats | None
    mask: MaskStats | None = None
    rows: tuple[tuple[int, RegionStats], ...] = ()
    opacity: int = -1
    mask_digest: bytes = b""
    issues: tuple[DataIssue, ...] = field(default=())


def scan(
    records: Sequence[Record], progress: Progress = no_progress, workers: int | None = None
) -> Iterator[tuple[Record, RecordStats]]:
    """Look at every record, in order: in this process where there are few, else in `workers` processes.

    Problems of files are in the looks. Raises DataError where a worker process dies.
    """
    workers = available_cpus() if workers is None else workers
    if len(records) < FEW or workers < 1 or not _pickles_small(records[0]):
        yield from progress(zip(records, prefetch_map(scan_record, records), strict=True), len(records))
    else:
        yield from progress(_in_processes(records, workers), len(records))


def _pickles_small(record: Record) -> bool:
    """Whether a record can be sent to another process at little cost."""
    try:
        return len(pickle.dumps(record)) < 1 << 16
    except Exception:  # each library has its own for what does not pickle
        return False


def _in_processes(records: Sequence[Record], workers: int) -> Iterator[tuple[Record, RecordStats]]:
    done = 0
    try:
        for batch, looks in process_map(look_at_records, batched(records, BATCH), workers):
            yield from zip(batch, looks, strict=True)
            done += len(batch)
    except WorkerCrashedError as error:
        last = records[min(done + BATCH, len(records)) - 1]
        raise DataError(
            f"{records[done].image}: {error} at this image or one of the {BATCH} up to {last.image.name}; "
            "close other programs and try again, or take huge images out"
        ) from None


def look_at_records(records: list[Record]) -> list[RecordStats]:
    """`scan_record` of several: what a worker does."""
    return [scan_record(record) for record in records]


def scan_record(record: Record) -> RecordStats:
    """Read a record's files, each once, and tell what they show and what is wrong with them."""
    problems = []
    image = None
    try:
        image = image_stats(record.image)
    except DataError as error:
        problems.append(_problem("image", record.image, error))
    if record.mask is None:
        problems.append(DataIssue("missing mask", str(record.image), "has no mask; add one or remove the image"))
        return RecordStats(image, issues=tuple(problems))
    if isinstance(record.mask, PolygonMask | MultilabelMask) and image is None:  # their size is the image's
        return RecordStats(None, issues=tuple(problems))
    try:
        look, rows, opacity, digest = _look_at_mask(record.mask, None if image is None else image.size)
    except DataError as error:
        problems.append(_problem("mask", record.mask, error))
        return RecordStats(image, issues=tuple(problems))
    if image is not None and look.size != image.size:
        (height, width), (mask_height, mask_width) = image.size, look.size
        sizes = f"image is {width}x{height} but its mask {record.mask} is {mask_width}x{mask_height}"
        what = f"{sizes}; they must be of one size"
        problems.append(DataIssue("size mismatch", str(record.image), what))
    return RecordStats(image, look, rows, opacity, digest, tuple(problems))


def _problem(what: str, source: MaskSource, error: DataError) -> DataIssue:
    text = without_name(error, source)
    return DataIssue(f"{'truncated' if text.startswith('truncated') else 'unreadable'} {what}", str(source), text)


class _Once:
    """A source whose content is read at most once."""

    def __init__(self, source: BytesSource) -> None:
        self.source, self.name = source, source.name
        self.content: bytes | None = None

    def read_bytes(self) -> bytes:
        if self.content is None:
            # Reading a named pipe would wait for ever.
            if isinstance(self.source, Path) and self.source.exists() and not self.source.is_file():
                raise DataError("not a file; replace or remove it")
            self.content = self.source.read_bytes()
        return self.content

    def __str__(self) -> str:
        return str(self.source)


def image_stats(source: BytesSource) -> ImageStats:
    """Decode an image, as small as its decoder can, and tell what it shows; DataError where it cannot be read."""
    kept = _Once(source)
    bands = read_multiband_tiff(kept) if Path(source.name).suffix.lower() in (".tif", ".tiff") else None
    if bands is not None:
        size, mode, channels = (bands.shape[0], bands.shape[1]), f"{bands.shape[2]} bands", bands.shape[2]
        gray = bands.mean(2) if bands.dtype == np.uint8 else bands.mean(2) / max(int(bands.max()), 1) * 255
        pixels, thumbnail = bands, Image.fromarray(gray.astype(np.uint8))
    else:
        size, mode, pixels, thumbnail = open_image(kept, _decode)
        channels = 3
    step = max(1, min(pixels.shape[:2]) // SMALLEST_SIDE)
    some = pixels[::step, ::step].reshape(-1, pixels.shape[2]).astype(np.float64)
    return ImageStats(
        _digest(kept.read_bytes()), size, mode, channels,
        int(pixels.max()) if pixels.dtype == np.uint16 else 0,
        tuple(some.mean(0).tolist()), tuple((some**2).mean(0).tolist()),
        thumbnail.resize((8, 8), Image.Resampling.BOX).tobytes(),
    )  # fmt: skip


def _decode(image: Image.Image) -> tuple[tuple[int, int], str, np.ndarray, Image.Image]:
    """An image's own size and mode, its pixels (H, W, C) reduced where that is quicker, and a gray image of it."""
    mode = image.mode
    turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    size = (image.width, image.height) if turned else (image.height, image.width)
    # Even so the decoder goes through all of the file, and finds where it is cut off.
    image.draft(None, (SMALLEST_SIDE, SMALLEST_SIDE))
    rgb = to_rgb(image)
    if mode.startswith("I;16"):
        raw = np.array(apply_exif_orientation(image), np.uint16)
        return size, mode, np.repeat(raw[:, :, None], 3, 2), _stretched(raw)
    return size, mode, np.asarray(rgb), rgb.convert("L")


def _stretched(raw: np.ndarray) -> Image.Image:
    return Image.fromarray((raw / max(int(raw.max()), 1) * 255).astype(np.uint8))


def _digest(*parts: bytes) -> bytes:
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(part)
    return whole.digest()


def _look_at_mask(
    mask: MaskSource, size: tuple[int, int] | None
) -> tuple[MaskStats, tuple[tuple[int, RegionStats], ...], int, bytes]:
    if isinstance(mask, PolygonMask):
        drawn = read_mask(mask, LabelMap("polygons"), size)
        present, counts = np.unique(drawn, return_counts=True)
        values = dict(zip(present.tolist(), counts.tolist(), strict=True))
        look = MaskStats("index", values, len(values), (drawn.shape[0], drawn.shape[1]))
        return look, ((0, region_stats(look, drawn)),), -1, _digest(drawn.tobytes())
    if isinstance(mask, MultilabelMask):
        found = [
            (layer, *open_image(_Once(each), _look_at_values))
            for layer, each in enumerate(mask.channels)
            if each is not None
        ]
        looks = [look for _, look, *_ in found]
        if len({look.size for look in looks}) > 1:
            raise DataError(f"{mask}: the masks of one image must be of one size")
        digest = _digest(*(b"%d " % layer + own for layer, *_, own in found))
        return merge_stats(looks, size or (0, 0)), tuple((layer, rows) for layer, _, rows, *_ in found), -1, digest
    look, rows, opacity, digest = open_image(_Once(mask), _look_at_values)
    return look, ((0, rows),), opacity, digest


def _look_at_values(image: Image.Image) -> tuple[MaskStats, RegionStats, int, bytes]:
    look = look_at_image(image)
    values = mask_values(image, look.kind)
    opacity = -1
    if "A" in image.getbands() and look.kind != "alpha":
        low, high = image.getchannel("A").getextrema()
        opacity = int(low) if low == high else -1  # type: ignore[arg-type]
    return look, region_stats(look, values), opacity, _digest(look.kind.encode(), values.tobytes())
