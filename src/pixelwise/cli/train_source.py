"""The data sets of `pixelwise train` with their plan."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pixelwise.cli.data_flags import options_by_set
from pixelwise.config import Config
from pixelwise.data.analysis.inspection import DatasetReport, inspect_with_options
from pixelwise.data.analysis.joined import join_reports
from pixelwise.data.index import DatasetIndex
from pixelwise.data.join import join_datasets
from pixelwise.data.joined_spec import errors_of, load_with_spec
from pixelwise.data.label_map.options import IGNORE, LabelOptions
from pixelwise.data.load import load_with_options
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.evaluation.selection import load_run_data
from pixelwise.planning.checks import find_plan_issues
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import is_only_process, is_rank_zero
from pixelwise.runtime.progress import Progress, ProgressBars
from pixelwise.training.start_from import inherited_settings, match_classes

Result = TypeVar("Result")


class Source(NamedTuple):
    """A data set, and its plan and report if it has them."""

    dataset: DatasetIndex
    plan: Plan | None = None
    report: DatasetReport | None = None


def load_resumed(out: Path, data: Sequence[str], options: LabelOptions) -> Source:
    """Load the data set of a run to continue it.

    Args:
        out: the run directory.
        data: the data sets, or () for those that the run stores.
        options: the flags about masks. Only `skip_unreadable` and `allow_outside` are used.

    Raises:
        DataError: The run does not store where its data set is, or the data set is no longer there.
        RunError: data.yaml of the run is missing or damaged.
    """
    run = Run.open(out)
    skip_unreadable = options.skip_unreadable or run.config.skip_unreadable
    return Source(load_run_data(run, data, skip_unreadable, options.allow_outside))


def load_new(
    data: Sequence[str], plan: Plan | None, preset: str | None, options: LabelOptions, settings: Mapping[str, Any]
) -> Source:
    """Load the data sets of a new run. Without a plan or a preset, inspect them and make a plan.

    Args:
        data: the data sets.
        plan: a plan, or None.
        preset: the name of a preset, or None.
        options: the flags about masks.
        settings: the settings given as flags.

    Returns:
        The data set. It has a plan unless there is a preset, and a report if it was inspected.

    Raises:
        PixelwiseError: See `load_dataset`, `join_datasets` and `make_plan`.
    """
    with ProgressBars(shown=is_rank_zero()) as bars:
        if plan is not None:
            skip_unreadable = options.skip_unreadable or bool(plan.settings.get("skip_unreadable"))
            return Source(load_with_spec(plan.data, data, skip_unreadable, options.allow_outside), plan)
        if preset is not None:
            sets = _read_each(data, options, load_with_options, bars.track("scanning masks"))
            return Source(sets[0] if len(sets) == 1 else join_datasets(sets))
        start_from = settings.get("start_from")
        if start_from is None:
            reports = _read_each(data, options, inspect_with_options, bars.track("scanning images"))
            return _planned(join_reports(reports), settings, bars.track("timing steps"))
        reports = _read_each(data, options, partial(_inspect_like, start_from), bars.track("scanning images"))
        inherited, report = inherited_settings(start_from, settings.get("view")), join_reports(reports)
        match_classes(report.data, Config(start_from=start_from))  # an error before the plan's steps are timed
        source = _planned(report, inherited | dict(settings), bars.track("timing steps"))
        return source._replace(plan=_with_origin(source.plan, start_from, inherited.keys() - settings.keys()))


def _read_each(
    data: Sequence[str],
    options: LabelOptions,
    read: Callable[[str, LabelOptions, Progress], Result],
    progress: Progress,
) -> list[Result]:
    """Load or inspect each data set with its options. If there are several, a ConfigError names the data set."""
    if len(data) == 1:
        return [read(data[0], options, progress)]
    results = []
    for root, own in zip(data, options_by_set(options, data), strict=True):
        with errors_of(root):
            results.append(read(root, own, progress))
    return results


def _planned(report: DatasetReport, settings: Mapping[str, Any], progress: Progress) -> Source:
    """Make the plan of an inspected data set.

    If there are several processes, only the first measures steps, to estimate the duration. With a time budget, the
    encoder depends on the measurement, and it must be the same in all processes. So none of them measures.
    """
    timed = is_rank_zero() and ("time_budget" not in settings or is_only_process())
    plan = make_plan(report, settings, timed=timed, progress=progress)
    report = replace(report, issues=(*report.issues, *find_plan_issues(report, plan)))
    return Source(report.data, plan, report)


def _with_origin(plan: Plan | None, run: str, names: set[str]) -> Plan | None:
    """Return the plan with the reason "as in RUN" for settings that were taken from a run."""
    if plan is None:
        return None
    return replace(plan, reasons={**plan.reasons, **{name: f"as in {run}" for name in names if name in plan.reasons}})


def _inspect_like(run: str, data: str, options: LabelOptions, progress: Progress) -> DatasetReport:
    """Inspect a data set with the class names of a run.

    The names are used if no flags about masks are given, and if they fit the mask values. Otherwise the names are those
    of the data set or are made up.
    """
    spec = Run.open(run).read_dataset_spec()
    is_plain = options == options.access_only()
    if is_plain and isinstance(spec, DatasetSpec) and spec.kind in ("index", "rgb") and spec.other_class is None:
        pairs = [(value, name) for name, item in spec.classes.items() for value in item.values]
        pairs += [(value, IGNORE) for value in spec.ignore]
        with suppress(ConfigError, PixelwiseError):
            report = inspect_with_options(data, replace(options, label_map=tuple(pairs)), progress=progress)
            if not report.obstacle:
                return report
    return inspect_with_options(data, options, progress=progress)
