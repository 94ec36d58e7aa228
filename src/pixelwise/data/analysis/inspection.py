"""The report on a data set: image sizes, classes, faults and groups. It needs one pass over all images and masks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from pixelwise.data.analysis.checks import (
    NOT_READ,
    NOTHING_USABLE,
    UNDECIDED,
    check_images,
    check_masks,
    check_rare_classes,
    find_obstacle,
)
from pixelwise.data.analysis.class_stats import ClassStats, Percentiles, class_stats
from pixelwise.data.analysis.dataset_scan import DatasetScan, scan_dataset
from pixelwise.data.analysis.file_survey import FileSurvey, FolderContent, survey_files
from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.analysis.report_html import report_html
from pixelwise.data.analysis.resolution import build_data, resolve_or_ask, without_unusable
from pixelwise.data.analysis.symmetry import ImageSymmetry, measure_symmetry
from pixelwise.data.analysis.unlabeled import check_partial_labels
from pixelwise.data.formats.registry import detect_data_set
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions, Unlabeled
from pixelwise.data.load import raise_on_fatal, resolve_root
from pixelwise.data.schema import DataIssue, FormatResult, LabelMap, ReadSpec
from pixelwise.errors import AmbiguousDataError, DataError, without_name
from pixelwise.runtime.progress import Progress, no_progress


@dataclass(frozen=True)
class DatasetReport:
    """The result of `inspect`.

    Attributes:
        data: the data set without unusable records, with groups and bit depth. Ready for training without `obstacle`.
        image_count, mask_count: numbers of readable files.
        widths, heights: image sizes in pixels.
        aspect_ratios: image width divided by height.
        classes: the statistics of each class, in index order.
        ignored_fraction: fraction of all pixels that are ignored, in [0, 1].
        issues: all faults.
        channel_means, channel_stds: mean and standard deviation of each channel over all images, in [0, 255].
        modes: Pillow's pixel mode ("RGB", "L"), or the number of bands ("5 bands") → number of images.
        obstacle: the reason why no model can be trained, or "".
        seconds: duration of the inspection in seconds.
        options: the user's options.
        choices: if the data set can be read in several ways, the arguments of `inspect` for each way that is known.
        symmetry: the symmetries of all images except the test split, or None if they were not measured.
        folders: the folders with image files, if the directory cannot be read as a data set. It then has no records,
            and the statistics are those of the images only.
    """

    data: DatasetIndex
    image_count: int
    mask_count: int
    widths: Percentiles | None
    heights: Percentiles | None
    aspect_ratios: Percentiles | None
    classes: tuple[ClassStats, ...]
    ignored_fraction: float
    issues: tuple[DataIssue, ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    modes: Mapping[str, int] = field(default_factory=dict)
    obstacle: str = ""
    seconds: float = 0.0
    options: LabelOptions = field(default_factory=LabelOptions)
    choices: tuple[Mapping[str, object], ...] = ()
    folders: tuple[FolderContent, ...] = ()
    symmetry: ImageSymmetry | None = None

    @property
    def is_decided(self) -> bool:
        """True if the classes are known. False if the masks can be read in several ways or not at all."""
        return not self.data.undecided

    def __repr__(self) -> str:
        """Return the data set and the numbers of images, masks and issues."""
        counts = f"images={self.image_count}, masks={self.mask_count}, issues={len(self.issues)}"
        return f"DatasetReport(data={self.data!r}, {counts})"

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        return report_html(self)

    @property
    def allow_outside(self) -> bool:
        """True if the user allowed files outside the data directory. A training then needs this option as well."""
        return self.options.allow_outside


def inspect(
    root: str | Path | RemoteFile,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore_values: Sequence[str | int] = (),
    label_map: Mapping[str, str] | Mapping[int, str] | None = None,
    skip_unreadable: bool = False,
    instances: bool = False,
    unlabeled: Unlabeled = "background",
    line_width: float | None = None,
    allow_outside: bool = False,
    mask_files: str | None = None,
    progress: Progress = no_progress,
    nodata: float | None = None,
) -> DatasetReport:
    """Read every image and mask of a data set once, in parallel, and compute statistics.

    Remote shards are sampled: about 2000 images are read.

    Args:
        root: the data set, see `load_dataset`.
        format: a name in `FORMATS`, or None to detect the format.
        classes: if the data set names its classes, the names to keep. Otherwise a name for each mask value, in order.
        ignore_values: mask values, as numbers or text, or class names to ignore in training and evaluation.
        label_map: mask value or class name in the files → class name.
        skip_unreadable: report on all images and masks that cannot be used, on ambiguous masks, and on a folder whose
            layout is ambiguous or unknown. If False, the first of them raises an error.
        instances: mask values are the numbers of objects: 0 is background, every other value is the class "foreground".
        unlabeled: "ignore" if pixels of value 0 were never labeled, else "background".
        line_width: width in pixels of lines in annotation files. None leaves lines out.
        allow_outside: read files outside the data directory that a table or list names.
        mask_files: a glob pattern for the paths of the mask files, see `load_dataset`.
        progress: see `Progress`.
        nodata: a value of the images' pixels that stands for no data, see `load_dataset`.

    Returns:
        The report. `report.data` is the data set, ready for training if `report.obstacle` is empty.

    Raises:
        DataError: See `load_dataset`. With `skip_unreadable`: the folder is missing or has no image that can be read.
        ConfigError: The options do not fit the data set.

    >>> inspect("images/", skip_unreadable=True).classes[0].pixel_fraction  # doctest: +SKIP
    0.62
    """
    pairs = tuple((str(value), name) for value, name in (label_map or {}).items())
    options = LabelOptions(
        format, tuple(classes), tuple(map(str, ignore_values)), pairs, skip_unreadable, instances,
        unlabeled, line_width, allow_outside, mask_files, nodata,
    )  # fmt: skip
    return inspect_with_options(root, options, progress)


def inspect_with_options(
    root: str | Path | RemoteFile, options: LabelOptions, progress: Progress = no_progress
) -> DatasetReport:
    """Inspect a data set, see `inspect`.

    Args:
        root: the data set, see `load_dataset`.
        options: the user's options.
        progress: see `Progress`.

    Returns:
        The report.

    Raises:
        DataError: See `inspect`.
        ConfigError: See `inspect`.
    """
    started = time.perf_counter()
    root = resolve_root(root)
    try:
        return _inspect_data_set(root, options, progress, started)
    except DataError as error:
        survey = survey_files(root, progress) if options.skip_unreadable else None
        if survey is None:
            raise
        return _report_on_files(root, error, survey, options, started)


def _inspect_data_set(
    root: Path | RemoteFile, options: LabelOptions, progress: Progress, started: float
) -> DatasetReport:
    """Return the report on a data set whose format can be read. Raises DataError and ConfigError, see `inspect`."""
    format, result = detect_data_set(root, options)
    raise_on_fatal(root, result.issues, options.skip_unreadable)
    scanned = scan_dataset(result, progress, options.nodata)
    labels, question = resolve_or_ask(root, format, result, scanned, options)
    classes = scanned.masks.resolve(labels)
    messages = [*labels.messages, *scanned.messages, *check_images(scanned, result)]
    if question is None:
        check_masks(scanned, classes, labels.classes)
    else:
        classes.drop(classes.mask_pixels(len(scanned.records)) == 0)  # masks that cannot be read
    file_issues = (*result.issues, *scanned.images.issues)
    errors = [issue for issue in file_issues if issue.severity == "error"]  # the report lists the warnings
    messages += raise_on_fatal(root, errors, options.skip_unreadable)
    usable = without_unusable(result, scanned)
    data = build_data(root, format, usable, scanned, labels, messages)
    if question is not None:
        message = without_name(question, root)
        is_readable = scanned.images.modes and scanned.value_counts.mask_counts
        findings = [DataIssue(UNDECIDED if is_readable else NOTHING_USABLE, str(root), message)]
        obstacle = str(question)
        data = replace(data, undecided=obstacle)
    else:
        findings, obstacle = find_obstacle(data, usable, result, scanned, classes)
        findings += check_partial_labels(scanned, classes, labels, str(root))
    report = _build_report(data, usable, scanned, classes, started)
    if question is None:
        findings += check_rare_classes(report.classes, data, len(scanned.records), labels)
    issues = (*findings, *labels.issues, *file_issues)
    return replace(report, issues=issues, obstacle=obstacle, options=options, choices=_choices(question))


def _choices(error: DataError | None) -> tuple[Mapping[str, object], ...]:
    return error.choices if isinstance(error, AmbiguousDataError) else ()


def _report_on_files(
    root: Path | RemoteFile, error: DataError, survey: FileSurvey, options: LabelOptions, started: float
) -> DatasetReport:
    """Return the report on a folder that cannot be read as a data set. `error` states the reason."""
    kind = UNDECIDED if isinstance(error, AmbiguousDataError) else NOT_READ
    images = survey.images
    spec = ReadSpec(LabelMap("index"), images.channels).with_scale(images.read_scale)
    path = root if isinstance(root, Path) else str(root)
    data = DatasetIndex(path, "", (), (), spec, messages=survey.messages, undecided=str(error))
    issue = DataIssue(kind, str(root), without_name(error, root))
    return DatasetReport(
        data=data,
        **_image_statistics(images),
        mask_count=0,
        classes=(),
        ignored_fraction=0.0,
        issues=(issue, *survey.issues, *images.issues),
        obstacle=str(error),
        seconds=time.perf_counter() - started,
        options=options,
        choices=_choices(error),
        folders=survey.folders,
    )


def _build_report(
    data: DatasetIndex, usable: FormatResult, scanned: DatasetScan, classes: ClassStatsTable, started: float
) -> DatasetReport:
    """Return the report without issues and obstacle.

    Args:
        data: the data set.
        usable: its records before they had groups, in the order of `data`.
        scanned: the statistics.
        classes: the statistics by class.
        started: time.perf_counter() at the start of the inspection.
    """
    final = {id(old): new for old, new in zip(usable.records, data.train + data.val + data.test, strict=True)}
    test = {id(record) for record in usable.test} if usable.train or usable.val else set()
    not_test = np.array([id(record) not in test for record in scanned.records])
    records = [final.get(id(record)) for record in scanned.records]
    stats, ignored_fraction = class_stats(data, classes, records, scanned.images, not_test)
    training = [record if kept else None for record, kept in zip(records, not_test, strict=True)]
    return DatasetReport(
        data=data,
        **_image_statistics(scanned.images),
        mask_count=scanned.value_counts.mask_counts.total(),
        classes=stats,
        ignored_fraction=ignored_fraction,
        issues=(),
        seconds=time.perf_counter() - started,
        symmetry=measure_symmetry(scanned.images, classes, training, data.classes),
    )


class _ImageStatistics(TypedDict):
    """The attributes of `DatasetReport` about the images alone."""

    image_count: int
    widths: Percentiles | None
    heights: Percentiles | None
    aspect_ratios: Percentiles | None
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    modes: dict[str, int]


def _image_statistics(images: ImageStatsTable) -> _ImageStatistics:
    widths, heights = images.sizes
    means, stds = images.channel_stats()
    return _ImageStatistics(
        image_count=len(widths),
        widths=Percentiles.of(widths) if len(widths) else None,
        heights=Percentiles.of(heights) if len(widths) else None,
        aspect_ratios=Percentiles.of(widths / heights) if len(widths) else None,
        channel_means=means,
        channel_stds=stds,
        modes=dict(images.modes.most_common()),
    )
