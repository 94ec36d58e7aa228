"""The statistics of the mask of one record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.analysis.image_scan import content_digest
from pixelwise.data.analysis.large_mask import scan_large_mask
from pixelwise.data.analysis.regions import RegionStats, region_stats
from pixelwise.data.io.image_windows import open_large
from pixelwise.data.io.large_mask import LargeMask, open_mask_windows
from pixelwise.data.io.mask import read_mask
from pixelwise.data.io.mask_values import ValueKind, mask_values, open_mask, value_kind
from pixelwise.data.label_map.mask_stats import MaskStats, class_mask_stats, image_mask_stats, merge_stats
from pixelwise.data.schema import BytesSource, LabelMap, MaskSource, MergedMask, MultilabelMask, PolygonMask
from pixelwise.errors import DataError
from pixelwise.palette import pack_rgb

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


def scan_mask(mask: MaskSource, size: tuple[int, int] | None, missing: npt.NDArray[np.bool_] | None) -> MaskScan:
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


Missing = Callable[[range, range], npt.NDArray[np.bool_] | None]
"""A function of rows and columns. It returns the pixels of this part of an image that have no data."""


def scan_large_image_mask(mask: MaskSource, size: tuple[int, int] | None, missing: Missing | None) -> MaskScan:
    """Read the mask of a large image, see `scan_mask`. Its values are measured in bands of rows.

    Args:
        mask: the mask. A file that cannot be read by windows is decoded as a whole.
        size: see `scan_mask`.
        missing: the pixels of the image without data. None if there are none.
    """
    if isinstance(mask, MultilabelMask):
        return _join_channels(mask, size or (0, 0), lambda file: scan_large_image_mask(file, size, missing))
    windows = open_large(mask)
    if windows is not None:
        with windows:
            return _measure_large(open_mask_windows(windows), size, missing)
    if isinstance(mask, PolygonMask):
        values = read_mask(mask, LabelMap("polygons"), size)
        return _measure_large(_in_memory(values, "index"), size, missing)
    return open_mask(mask, lambda image: _measure_large(_decoded(image), size, missing))


def _decoded(image: Image.Image) -> LargeMask:
    kind = value_kind(image)
    palette = np.array(image.getpalette("RGB") or [], np.uint32).reshape(-1, 3) if image.mode == "P" else None
    colors = [] if palette is None else pack_rgb(palette).tolist()
    return _in_memory(mask_values(image, kind), kind, colors)


def _in_memory(values: np.ndarray, kind: ValueKind, colors: Sequence[int] = ()) -> LargeMask:
    height, width = values.shape
    return LargeMask((height, width), kind, lambda rows, columns: values[np.ix_(rows, columns)], colors=colors)


def _measure_large(mask: LargeMask, size: tuple[int, int] | None, missing: Missing | None) -> MaskScan:
    scanned = scan_large_mask(replace(mask, missing=missing if mask.size == size else None))
    return MaskScan(scanned.stats, ((0, scanned.regions),), NO_OPACITY, scanned.digest, scanned.missing)


def _of_size(missing: npt.NDArray[np.bool_] | None, values: np.ndarray) -> npt.NDArray[np.bool_] | None:
    return None if missing is None or missing.shape != values.shape else missing


def _count(missing: npt.NDArray[np.bool_] | None) -> int:
    return 0 if missing is None else int(np.count_nonzero(missing))


def _scan_multilabel_mask(
    mask: MultilabelMask, size: tuple[int, int], missing: npt.NDArray[np.bool_] | None
) -> MaskScan:
    return _join_channels(
        mask, size, partial(open_mask, read=partial(_scan_mask_image, missing=missing)), _count(missing)
    )


def _join_channels(
    mask: MultilabelMask, size: tuple[int, int], read: Callable[[BytesSource | MergedMask], MaskScan], missing: int = 0
) -> MaskScan:
    """Join the statistics of the files of a mask.

    Args:
        mask: the mask.
        size: height and width of the image in pixels.
        read: returns the statistics of a file.
        missing: number of pixels without data, if the mask has no files.
    """
    scans = {channel: read(source) for channel, source in enumerate(mask.channels) if source is not None}
    if len({each.stats.size for each in scans.values()}) > 1:
        raise DataError(f"{mask}: the mask files of one image must have the same size")
    return MaskScan(
        stats=merge_stats([each.stats for each in scans.values()], size),
        regions=tuple((channel, each.regions[0][1]) for channel, each in scans.items()),
        opacity=NO_OPACITY,
        digest=content_digest(*(b"%d " % channel + each.digest for channel, each in scans.items())),
        missing=max((each.missing for each in scans.values()), default=missing),
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
