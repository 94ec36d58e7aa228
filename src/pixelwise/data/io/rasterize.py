"""Drawing of annotations as masks."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from pixelwise.data.io.pixel_runs import draw_runs
from pixelwise.data.io.polygons import clip_polygons
from pixelwise.data.io.value_image import read_value_image
from pixelwise.data.schema import Annotation, PolygonMask
from pixelwise.errors import AnnotationError, DataError

_MAX_OUTLINES = 64
"""Number of polygons of one class that are collected before they are drawn. Each drawing is a pass over the image, so
that fewer drawings take less time."""


def rasterize(mask: PolygonMask, size: tuple[int, int]) -> np.ndarray:
    """Draw annotations as a mask, with the rules of COCO's own tools.

    Args:
        mask: the annotations.
        size: (height, width) of the image in pixels.

    Returns:
        (H, W) uint8 class indices.

    Raises:
        DataError: An annotation or the base cannot be used, for example because it is for another size. Or pycocotools
            is not installed.
    """
    pixels = np.full(size, mask.background, np.uint8) if mask.base is None else read_value_image(mask.base, size)
    try:
        for label, annotations in groupby(mask.annotations, key=lambda annotation: annotation.label):
            for region in _regions(annotations, size):
                pixels[region] = label
    except AnnotationError as error:
        raise DataError(f"{mask}: {error}") from None
    return pixels


def _regions(annotations: Iterable[Annotation], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield (H, W) bool arrays. Their union is the region of the annotations."""
    outlines: list[np.ndarray] = []
    for annotation in annotations:
        if annotation.runs is not None:
            yield draw_runs(annotation.runs, size)
        elif annotation.rle is not None:
            height, width = annotation.rle["size"]
            if (height, width) != size:
                raise AnnotationError(f"drawn on an image of {width}x{height}, but the image is {size[1]}x{size[0]}")
            yield coco_mask_module().decode(annotation.rle).astype(bool)
        else:
            scale = (size[1], size[0]) if annotation.relative else (1, 1)
            outlines += clip_polygons([polygon * scale for polygon in annotation.polygons], size)
            if len(outlines) >= _MAX_OUTLINES:
                yield _fill(outlines, size)
                outlines = []
    if outlines:
        yield _fill(outlines, size)


def _fill(outlines: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return the pixels inside any of the polygons, (H, W) bool."""
    coco = coco_mask_module()
    objects = coco.frPyObjects([outline.ravel().tolist() for outline in outlines], *size)
    return np.asarray(coco.decode(coco.merge(objects)).astype(bool))


def coco_mask_module() -> Any:
    """Import and return `pycocotools.mask`.

    Raises:
        AnnotationError: pycocotools is not installed. The message does not name a file.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise AnnotationError("polygons and run lengths need pycocotools; pip install 'pixelwise[coco]'") from None
    return mask
