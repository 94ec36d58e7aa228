"""The fingerprint: one look at every image and mask, and what it says of the data set as a whole."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pixelwise.data.analysis.groups import add_groups
from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import ClassStatsTable, MaskStatsTable
from pixelwise.data.analysis.scan import scan
from pixelwise.data.formats import detect_format
from pixelwise.data.io.tar_shard import TarMember
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.load import build_index, raise_on_fatal, resolve_root
from pixelwise.data.schema import SPLITS, DataIssue, DatasetIndex, FormatResult, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.progress import Progress, no_progress

SAMPLE = 2000
"""Of images in shards on another machine, so many are looked at, or a little more: `pack` has looked at all of them."""


EXAMPLES = 12
"""Images of each class on its overlay sheet."""


@dataclass(frozen=True)
class Percentiles:
    """How a figure spreads over the data set: the least, the 10th percentile, the median, the 90th, the greatest."""

    min: float
    p10: float
    median: float
    p90: float
    max: float

    @staticmethod
    def of(values: np.ndarray) -> "Percentiles":
        """The spread of (N,) values, N ≥ 1.

        >>> Spread.of(np.array([1, 2, 3])).median
        2.0
        """
        return Percentiles(*np.percentile(values, (0, 10, 50, 90, 100)).astype(float).tolist())


@dataclass(frozen=True)
class ClassStats:
    """What is known of one class.

    Attributes:
        name, color: as in the data set; the color is (red, green, blue) in 0..255.
        pixels: over all images.
        pixel_fraction: of all pixels that are not ignored, in [0, 1].
        image_count: how many show it.
        object_count: connected regions of it, those of fewer than 5 pixels left out.
        relative_size: of an object: the square root of its area over that of its image's area, in [0, 1]; None without objects.
        train_fraction, mean_width: what a plan goes by, over all images but those to test on: the share, and how wide the class
            typically is where it is shown, over the image's side (√ of its area): of a strip its width, of a square
            half its side; None without objects.
        examples: images that show it, from the one with most of it to the one with least.
    """

    name: str
    color: tuple[int, int, int]
    pixels: int
    pixel_fraction: float
    image_count: int
    object_count: int
    relative_size: Percentiles | None
    train_fraction: float = 0.0
    mean_width: float | None = None
    examples: tuple[Record, ...] = ()


@dataclass(frozen=True)
class DatasetReport:
    """What a look at every image and mask found.

    Attributes:
        data: the data set as it can be trained on: bad records left out, groups and bits filled in.
        images, masks: files that could be read.
        widths, heights, ratios: of the images in pixels, and width over height.
        classes: in index order.
        ignored: the share of all pixels that are ignored, in [0, 1].
        issues: everything that is wrong, by file.
        means, stds: of each channel over all images, in [0, 255].
        modes: how pixels are stored, in Pillow's words ("RGB", "L"), or "5 bands" → images.
        seconds: how long the look took.
    """

    data: DatasetIndex
    image_count: int
    mask_count: int
    widths: Percentiles
    heights: Percentiles
    aspect_ratios: Percentiles
    classes: tuple[ClassStats, ...]
    ignored_fraction: float
    issues: tuple[DataIssue, ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    modes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def inspect(root: str | Path, choices: LabelOptions | None = None, progress: Progress = no_progress) -> DatasetReport:
    """Look at every image and mask of a data set, each once, in parallel.

    Of images in shards on another machine, about `SAMPLE` are looked at.

    Args:
        root: see `load_dataset`.
        choices: what a person settles; without `skip_unreadable` the first file that cannot be used is an error.
        progress: see `Progress`.

    Raises what `load_dataset` raises.

    >>> inspect("images/", LabelOptions(skip_unreadable=True)).classes[0].share  # doctest: +SKIP
    0.62
    """
    started = time.perf_counter()
    choices = choices or LabelOptions()
    place = resolve_root(root)
    format, layout = detect_format(place, choices.format)
    raise_on_fatal(place, layout.issues, choices.skip_unreadable)
    records, sampled = _to_look_at(layout)
    seen, survey, tally = ImageStatsTable(), MaskValueCounts(), MaskStatsTable()
    for index, (record, look) in enumerate(scan(records, progress)):
        seen.add(look)
        if look.mask is not None and record.mask is not None:
            survey.add(record.mask, look.mask)
            tally.add(index, look)
    if not (seen.modes and survey.masks):
        raise_on_fatal(place, seen.problems or layout.issues, skip_unreadable=False)
        raise DataError(f"{place}: no image with a mask was found here ({format})")

    meaning = resolve_labels(layout, survey, choices)
    rows = tally.resolve(meaning)
    _judge(seen, rows, records, layout, meaning.classes)
    problems = (*layout.issues, *seen.problems)
    notes = [*meaning.messages, *sampled, *raise_on_fatal(place, problems, choices.skip_unreadable)]
    left_out = {id(records[index]) for index in np.flatnonzero(seen.bad)}
    splits = (layout.train, layout.val, layout.test)
    train, val, test = (tuple(record for record in split if id(record) not in left_out) for split in splits)
    kept = replace(layout, train=train, val=val, test=test)
    if not kept.records:
        raise DataError(f"{place}: no image can be used: {problems[0]}")
    data = build_index(place, format, kept, meaning, notes, seen.bits, seen.channels)
    if not sampled:
        places = {id(record): index for index, record in enumerate(records)}
        trained = [places[id(record)] for record in kept.train]
        data = add_groups(data, seen.thumbnails(trained), seen.digests(trained))
    as_kept = {id(before): now for before, now in zip(kept.records, data.train + data.val + data.test, strict=True)}
    tested = {id(record) for record in kept.test} if kept.train or kept.val else set()
    planned = np.array([id(record) not in tested for record in records])
    classes, ignored = _class_facts(data, rows, [as_kept.get(id(record)) for record in records], seen, planned)
    return DatasetReport(
        data, sum(seen.modes.values()), sum(survey.masks.values()), *_spreads(seen), classes, ignored, problems,
        *seen.statistics(), dict(seen.modes.most_common()), time.perf_counter() - started,
    )  # fmt: skip


def _to_look_at(layout: FormatResult) -> tuple[tuple[Record, ...], list[str]]:
    """All records; or, where they lie in shards elsewhere, those of some shards, and a line that says so."""
    shards: dict[str, list[Record]] = {}
    for record in layout.records:
        if not isinstance(record.image, TarMember) or record.image.shard.is_local:
            return layout.records, []
        shards.setdefault(record.image.shard.url, []).append(record)
    total = len(layout.records)
    # Whole shards, for each is fetched as a whole; from all splits, as they lie in order.
    step = max(1, len(shards) * SAMPLE // max(total, 1)) if total > SAMPLE else len(shards)
    chosen = [list(shards)[number * len(shards) // step] for number in range(step)]
    records = tuple(record for url in chosen for record in shards[url])
    if len(records) == total:
        return records, []
    return records, [f"looked at: {len(records)} of {total} images, in {len(chosen)} of {len(shards)} shards"]


def _judge(
    seen: ImageStatsTable,
    rows: ClassStatsTable,
    records: Sequence[Record],
    layout: FormatResult,
    classes: Sequence[str],
) -> None:
    """Note what is wrong that no file shows by itself; rows of records that cannot be used are forgotten."""
    seen.check_channels(records)
    for index, text in rows.unknown_values().items():
        what = f"{text} is outside the classes; mend the mask, or say what it means by --mask-map or --ignore"
        seen.add_issue(index, DataIssue("value outside", str(records[index].mask), what))
    rows.drop(seen.bad)
    splits = {id(record): split for split in SPLITS for record in getattr(layout, split)}
    seen.find_duplicates(records, [splits[id(record)] for record in records])
    shown = rows.presence(len(records), len(classes))
    background = [index for index, name in enumerate(classes) if name == "background"]
    other = shown.copy()
    other[:, background] = False
    for index in np.flatnonzero(~other.any(1) & ~seen.bad).tolist():
        what = "shows nothing but background" if shown[index].any() else "has no pixel of any class"
        file = str(records[index].mask) or str(records[index].image)  # layers without an image have no name
        seen.add_issue(index, DataIssue("empty mask", file, f"{what}; is that right?", severity="warning"))


def _spreads(seen: ImageStatsTable) -> tuple[Percentiles, Percentiles, Percentiles]:
    widths, heights = seen.sizes
    return Percentiles.of(widths), Percentiles.of(heights), Percentiles.of(widths / heights)


def _class_facts(
    data: DatasetIndex,
    rows: ClassStatsTable,
    records: Sequence[Record | None],
    seen: ImageStatsTable,
    planned: np.ndarray,
) -> tuple[tuple[ClassStats, ...], float]:
    """What is known of each class, and the share of pixels that are ignored; `records` as the data set has them.

    `planned`, (number of records,) bool, are those that a plan may go by.
    """
    layers = math.prod(data.read_spec.task.mask_shape(len(data.classes), 1, 1))
    ignored = rows.pixels_of(len(records), IGNORE_INDEX)
    of_all = np.where(seen.bad, 0, seen.pixels) * layers
    counted = (of_all - ignored) / layers
    facts = []
    for index, (name, color) in enumerate(zip(data.classes, data.palette, strict=True)):
        pixels, sides = rows.pixels_of(len(records), index), rows.sides_of(index)
        share = pixels / np.maximum(seen.pixels, 1)
        order = [each for each in np.argsort(-share, kind="stable").tolist() if share[each] > 0]
        picked = [order[number * len(order) // EXAMPLES] for number in range(EXAMPLES)] if order else []
        examples = [records[each] for each in dict.fromkeys(picked)]
        facts.append(
            ClassStats(
                name, color, int(pixels.sum()), float(pixels.sum() / max(counted.sum(), 1)), len(order),
                rows.objects_of(index), Percentiles.of(sides) if len(sides) else None,
                float(pixels[planned].sum() / max(counted[planned].sum(), 1)), rows.width_of(index, planned),
                tuple(each for each in examples if each is not None),
            )
        )  # fmt: skip
    return tuple(facts), float(ignored.sum() / max(of_all.sum(), 1))
