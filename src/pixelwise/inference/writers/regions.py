"""The regions of a mask as polygons along the edges of their pixels, for annotation formats."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.inference.objects import counted_values
from pixelwise.inference.writers.base import PredictedImage
from pixelwise.models.config import ModelConfig

Ring = npt.NDArray[np.float64]
"""The corners of a polygon, (K, 2) x and y in pixels from the upper left corner of the image. The first is not
repeated."""

_LOCK = Lock()
"""rasterio finds all outlines before the first one is returned. Until then, it changes Python's filters of warnings,
which all threads share."""

POLYGON_PACKAGES: Mapping[str, str] = {"rasterio": "geo"}
"""The packages that `find_regions` needs, see `Writer.packages`."""


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class that touch at their sides. Pixels that touch at a corner only are different regions.

    Attributes:
        class_id: index of the class.
        rings: the outline, then the outline of each hole. They have the corners of pixels.
    """

    class_id: int
    rings: tuple[Ring, ...]

    @property
    def has_holes(self) -> bool:
        """True if the region has holes."""
        return len(self.rings) > 1

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        first, *holes = (round(abs(signed_area(ring))) for ring in self.rings)
        return first - sum(holes)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels. Right and bottom are the first column and row beside it."""
        (left, top), (right, bottom) = self.rings[0].min(0), self.rings[0].max(0)
        return int(left), int(top), int(right), int(bottom)

    def pixels(self) -> npt.NDArray[np.bool_]:
        """Return the pixels of its box, (bottom - top, right - left) bool, True inside the region."""
        left, top, right, bottom = self.box
        # How often a row crosses the outline at each corner. The pixels after an odd number of crossings are inside.
        crossings = np.zeros((bottom - top + 1, right - left), np.int32)
        for ring in self.rings:
            (x, y), (_, after) = ring.T.astype(int), np.roll(ring, -1, axis=0).T.astype(int)
            is_vertical = (y != after) & (x < right)
            columns, ends = x[is_vertical] - left, np.stack([y, after])[:, is_vertical] - top
            np.add.at(crossings, (ends.min(0), columns), 1)
            np.add.at(crossings, (ends.max(0), columns), -1)
        return np.asarray(np.cumsum(np.cumsum(crossings, 0)[:-1], 1) % 2 == 1)

    def keyhole(self) -> Ring:
        """Return one ring that encloses the same pixels. Seams of no width join the holes to the outline.

        >>> square, hole = np.array([[0, 0], [0, 3], [3, 3], [3, 0.0]]), np.array([[1, 1], [2, 1], [2, 2], [1, 2.0]])
        >>> Region(0, (square, hole)).keyhole().astype(int).tolist()
        [[0, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 0], [0, 3], [3, 3], [3, 0]]
        """
        outline = self.rings[0]
        for hole in sorted(self.rings[1:], key=lambda ring: float(ring[:, 0].min())):
            start = int(hole[:, 0].argmin())
            hole = np.roll(hole, -start, axis=0)
            nearest = int(np.square(outline - hole[0]).sum(1).argmin())
            parts = [outline[: nearest + 1], hole, hole[:1], outline[nearest : nearest + 1], outline[nearest + 1 :]]
            outline = np.concatenate(parts)
        return outline


def find_regions(image: PredictedImage) -> Iterable[Region]:
    """Return the regions of all classes but the background. The order is that of their last pixels.

    The regions of an image in memory are found once for all writers.

    Args:
        image: the image and its mask.
    """
    if image.mask_file is not None:
        return _trace(image)
    if "regions" not in image.cache:
        image.cache["regions"] = list(_trace(image))
    regions: list[Region] = image.cache["regions"]
    return regions


def _trace(image: PredictedImage) -> Iterator[Region]:
    """Yield the regions of an image, see `find_regions`. rasterio finds their outlines, and reads the mask by rows."""
    from rasterio.features import shapes

    config = image.config
    counted = counted_values(config.task, len(config.classes), config.background)
    is_index = len(config.task.mask_shape(1, 1, 1)) == 2
    for number, has_objects in enumerate(counted):
        found = shapes(image.channels[number], connectivity=4)
        with _LOCK:
            first = next(found, None)
        for polygon, value in chain([] if first is None else [first], found):
            if has_objects[int(value)]:
                rings = tuple(np.array(ring[:-1], np.float64) for ring in polygon["coordinates"])
                yield Region(int(value) if is_index else number, rings)


def signed_area(ring: Ring) -> float:
    """Return the area of a ring, positive if it is counterclockwise in axes of which y points upwards."""
    x, y = (ring - ring[0]).T
    return 0.5 * float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1])


def annotated_classes(config: ModelConfig) -> list[int]:
    """Return the indices of the classes that have regions: all but the background."""
    if len(config.task.mask_shape(1, 1, 1)) == 3:
        return list(range(len(config.classes)))
    return [index for index in range(len(config.classes)) if index not in config.background]


def to_base64_png(pixels: npt.NDArray[np.bool_]) -> str:
    """Return pixels, (h, w), as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
