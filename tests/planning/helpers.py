"""Reports of data sets that do not exist, for tests of the rules."""

from pathlib import Path
from typing import Literal

import pixelwise as pw
from pixelwise.data.analysis.class_stats import ClassStats, Percentiles
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.palette import default_palette


def make_report(
    images: int = 100,
    sides: tuple[float, ...] = (0.5, 0.2),
    fractions: tuple[float, ...] = (0.7, 0.3),
    names: tuple[str, ...] = ("background", "cat"),
    size: tuple[int, int] = (500, 375),
    val: int = 0,
    kind: Literal["index", "multilabel"] = "index",
    group_summary: str = "",
    widths: tuple[float | None, ...] = (),
    same_aspect: bool = False,
    channels: int = 3,
) -> pw.DatasetReport:
    """Return the report of a data set without files.

    Args:
        images: number of images in train.
        sides: for each class the size of its objects, and twice its mean width, as fractions of the image's side.
        fractions: for each class its fraction of the pixels.
        names: the classes.
        size: width and height of the median image in pixels.
        val: number of images in val.
        kind: how masks are stored.
        group_summary: the groups of the images, in words.
        widths: for each class the width of its regions in image pixels.
        channels: number of channels of the images.
        same_aspect: True if all images have the same aspect ratio, False for landscape and portrait images.
    """
    value_to_class = {0: 0, 255: 1} if kind == "multilabel" else {0: 0, 7: 1, 255: 255}
    records = tuple(pw.Record(Path(f"{i}.jpg"), Path(f"{i}.png")) for i in range(images + val))
    data = pw.DatasetIndex(
        root=Path("cats"),
        format="folders",
        classes=names,
        palette=default_palette(len(names)),
        read_spec=ReadSpec(LabelMap(kind, value_to_class), channels=channels),
        train=records[:images],
        val=records[images:],
        group_summary=group_summary,
    )
    classes = tuple(
        ClassStats(
            name=name,
            color=(0, 0, 0),
            pixels=round(fraction * 1e6),
            pixel_fraction=fraction,
            image_count=images,
            object_count=images,
            relative_size=_constant(side),
            train_fraction=fraction,
            mean_width=side / 2,
            width=width,
        )
        for name, fraction, side, width in zip(names, fractions, sides, widths or (None,) * len(names), strict=True)
    )
    width, height = size
    return pw.DatasetReport(
        data=data,
        image_count=images,
        mask_count=images,
        widths=_constant(width),
        heights=_constant(height),
        aspect_ratios=_constant(width / height) if same_aspect else Percentiles(0.6, 0.7, width / height, 1.4, 1.7),
        classes=classes,
        ignored_fraction=0.0,
        issues=(),
        channel_means=(100.0,) * 3,
        channel_stds=(50.0,) * 3,
    )


def _constant(value: float) -> Percentiles:
    return Percentiles(value, value, value, value, value)
