"""Checks that need the statistics of the whole data set: unknown values, duplicates, empty masks, rare classes."""

import shlex
from collections.abc import Sequence

import numpy as np

from pixelwise.data.analysis.class_stats import ClassStats
from pixelwise.data.analysis.dataset_scan import DatasetScan
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.index import DatasetIndex, learning_fault
from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.data.label_map.strays import MIN_MASKS, RARE_PIXELS
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult
from pixelwise.errors import DataError

UNDECIDED = "undecided masks"
"""Kind of the issue that states why the classes of a data set are not decided."""

NOT_READ = "not read as a data set"
"""Kind of the issue that states why a folder cannot be read as a data set."""

NOTHING_USABLE = "nothing usable"
"""Kind of the issue for a data set in which no image, or no mask, can be read."""

NOTHING_TO_LEARN = "nothing to learn"


def check_images(scanned: DatasetScan, result: FormatResult) -> list[str]:
    """Add the issues of images that need the whole data set.

    These are images with another number of channels or another number type than most, copies and near-duplicates.

    Args:
        scanned: the statistics. Issues are added to the table of images.
        result: the records of each split.

    Returns:
        Messages for the user, if not all images were compared.
    """
    scanned.images.check_channels(scanned.records)
    split_of = {id(record): split for split in SPLITS for record in getattr(result, split)}
    return scanned.images.find_duplicates(scanned.records, [split_of[id(record)] for record in scanned.records])


def check_masks(scanned: DatasetScan, classes: ClassStatsTable, class_names: Sequence[str]) -> None:
    """Add the issues of masks that need the classes.

    These are masks with values outside the classes, and masks without a pixel of any class except "background".

    Args:
        scanned: the statistics. Issues are added to the table of images.
        classes: the statistics by class. The statistics of records with errors are removed.
        class_names: the class names in index order.
    """
    images, records = scanned.images, scanned.records
    for index, text in classes.unknown_values().items():
        message = f"{text} is outside the classes; fix the mask, or set `label_map` or `ignore_values`"
        images.add_issue(index, DataIssue("value outside", str(records[index].mask), message))
    classes.drop(images.unusable)
    present = classes.presence(len(records), len(class_names))
    foreground = present[:, [index for index, name in enumerate(class_names) if name != "background"]]
    for index in np.flatnonzero(~foreground.any(1) & ~images.unusable).tolist():
        fault = "has no pixel except background" if present[index].any() else "has no pixel of any class"
        file = str(records[index].mask) or str(records[index].image)  # a multi-label mask without files has no name
        images.add_issue(index, DataIssue("empty mask", file, f"{fault}; check that this is right", "warning"))


def check_rare_classes(
    classes: Sequence[ClassStats], data: DatasetIndex, image_count: int, labels: ResolvedLabels
) -> list[DataIssue]:
    """Return a warning for each class with too few pixels to learn from, or with pixels in a single image only.

    Args:
        classes: the statistics of each class.
        data: the data set.
        image_count: number of images that were scanned.
        labels: the classes.

    Returns:
        The warnings. The list is empty if `labels` already has issues about rare values.
    """
    if any(issue.kind == "rare value" for issue in labels.issues):
        return []
    issues = []
    for index, stats in enumerate(classes):
        is_lone = stats.image_count == 1 and image_count >= MIN_MASKS
        if not stats.pixels or not (is_lone or stats.pixel_fraction < RARE_PIXELS):
            continue
        message = (
            f"class '{stats.name}' has {stats.pixel_fraction:.4%} of the pixels, in {stats.image_count} of "
            f"{image_count} images: too little to learn from; add images, or set `ignore_values` "
            f"{shlex.join(_values_of(index, data))}"
        )
        issues.append(DataIssue("rare class", str(data.root), message, "warning"))
    return issues


def _values_of(index: int, data: DatasetIndex) -> list[str]:
    """Return the mask values of a class as text. If the data set's files name classes, return its names there."""
    label_map = data.read_spec.label_map
    if label_map.kind in ("polygons", "multilabel"):
        return [name for name, class_id in data.source_class_ids.items() if class_id == index]
    values = label_map.value_to_class.items()
    return [format_value(value, label_map.kind) for value, class_id in values if class_id == index]


def find_obstacle(
    data: DatasetIndex, usable: FormatResult, result: FormatResult, scanned: DatasetScan, classes: ClassStatsTable
) -> tuple[list[DataIssue], str]:
    """Find the reason why no model can be trained on a data set whose classes are decided.

    Args:
        data: the data set.
        usable: the records that can be used.
        result: all records, including those that cannot be used.
        scanned: the statistics.
        classes: the statistics by class, without records that cannot be used.

    Returns:
        (issues, reason). The issue is added if the training masks have too few classes to learn from. The reason is
        "" if a model can be trained.
    """
    if not data.train:
        if result.train:
            first = next(issue for issue in scanned.images.issues if issue.severity == "error")
            return [], f"{data.root}: no image of the train split can be used, for example {first}"
        try:
            data.records("train")
        except DataError as error:
            return [], str(error)
    if not scanned.is_complete:
        return [], ""
    presence = classes.presence(len(scanned.records), len(data.classes))[scanned.indices(usable.train)]
    message = learning_fault(data, [bool(column.any()) for column in presence.T])
    if not message:
        return [], ""
    return [DataIssue(NOTHING_TO_LEARN, str(data.root), message)], f"{data.root}: {message}"
