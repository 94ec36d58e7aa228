"""Check whether the masks of a data set fit the classes of a well-known data set that has the same folder layout."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import list_files
from pixelwise.data.label_map.mask_stats import MaskStats, mask_stats
from pixelwise.data.schema import DataIssue, FormatResult, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.threads import prefetch_map

MAX_SAMPLED = 32
"""Maximum number of masks to compare. They are evenly spaced over the data set."""

MAX_BAD = 0.05
"""Maximum fraction of sampled masks with values that are not classes. One such mask of several is always allowed.

Up to this fraction, these masks count as faulty files, which are reported when they are read.
"""

MIN_LABELED = 0.5
"""Minimum fraction of the sampled pixels that have a class. The masks of the well-known data sets exceed it."""

MIN_IGNORED = 0.5
"""Minimum fraction of sampled masks with ignored pixels. It applies if nearly every mask of the data set has some."""

MANY_CLASSES = 10
"""`MIN_IGNORED` does not apply to a sample with at least this many different classes.

Such masks can be annotations of the same images by other authors, which have no ignored pixels.
"""


def check_classes(root: Path, format: str, result: FormatResult, has_ignored: bool = False) -> FormatResult:
    """Compare a sample of the masks with the classes of a result, and drop the classes if they do not fit.

    At most `MAX_SAMPLED` masks are read. Masks that cannot be read are skipped.

    Args:
        root: the data directory.
        format: the name of the format.
        result: the result of a format that defines the classes.
        has_ignored: True if nearly every mask of the well-known data set has ignored pixels, for example as borders
            of objects.

    Returns:
        The result itself if the classes fit the masks. Otherwise the result with the names from the data set's class
        files instead of these classes, and with one more warning.

    Raises:
        DataError: The classes do not fit, and a class file of the data set is damaged.
    """
    records = _sample(result.records)
    sampled = [stats for stats in prefetch_map(_stats_or_none, records) if stats is not None]
    fault = _find_fault(result, sampled, has_ignored) if sampled else ""
    if not fault:
        return result
    names = vars(read_class_names(root, list_files(root)))
    message = (
        f"the folders and file names are those of {format}, but the masks are not: {fault}. The classes come from the "
        f"masks; set `format` {format} to use those of {format}"
    )
    issue = DataIssue("other classes", str(root), message, "warning")
    fields = {"classes": (), "label_map": None, "palette": (), "class_names": (), **names}
    return replace(result, issues=(*result.issues, issue), **fields)


def _sample(records: Sequence[Record]) -> list[Record]:
    count = min(len(records), MAX_SAMPLED)
    return [records[index * len(records) // count] for index in range(count)]


def _stats_or_none(record: Record) -> MaskStats | None:
    try:
        return None if record.mask is None else mask_stats(record.mask)
    except DataError:
        return None


def _find_fault(result: FormatResult, sampled: Sequence[MaskStats], has_ignored: bool) -> str:
    """Return the reason why the masks do not fit the classes of the result, or "" if they fit."""
    if result.label_map is None:  # the result has one name per value, in the order of the values
        values = {value for stats in sampled for value in stats.values}
        is_noisy = any(stats.lossy for stats in sampled)
        if len(values) > len(result.class_names) and not is_noisy:
            return f"they have {len(values)} values, and there are {len(result.class_names)} classes"
        return ""
    classes = result.label_map.value_to_class
    others = [[value for value in stats.values if value not in classes] for stats in sampled]
    bad = [values for stats, values in zip(sampled, others, strict=True) if values or stats.kind != "index"]
    if len(bad) > max(1, MAX_BAD * len(sampled)) or len(bad) == len(sampled):
        if any(stats.kind == "rgb" for stats in sampled):
            return "they have colors"
        example = next((f", for example {values[0]}" for values in bad if values), "")
        return f"{len(bad)} of {len(sampled)} masks have other values{example}"
    total = sum(stats.size[0] * stats.size[1] for stats in sampled)
    labeled = sum(
        count
        for stats in sampled
        for value, count in stats.values.items()
        if classes.get(value, IGNORE_INDEX) != IGNORE_INDEX
    )
    if labeled < MIN_LABELED * total:
        return f"only {labeled / total:.0%} of the pixels have a class"
    count = sum(any(classes.get(value) == IGNORE_INDEX for value in stats.values) for stats in sampled)
    present = {classes.get(value) for stats in sampled for value in stats.values}
    if has_ignored and count < MIN_IGNORED * len(sampled) and len(present) < MANY_CLASSES:
        return f"only {count} of {len(sampled)} masks have pixels to ignore, such as borders of objects"
    return ""
