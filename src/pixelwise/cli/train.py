"""`pixelwise train`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from pixelwise.cli.common import check_output, data_name, has_left_out, messages_with_flags, report_with_flags
from pixelwise.cli.data_flags import DataFlags
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED, interrupt_advice
from pixelwise.cli.settings import given_settings, settings_model
from pixelwise.config import Config
from pixelwise.data.analysis.inspection import DatasetReport, inspect_with_options
from pixelwise.data.index import DatasetIndex
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load_with_options
from pixelwise.errors import ConfigError
from pixelwise.planning.checks import find_plan_issues
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.console import print_dataset, print_dataset_report, print_plan, print_run
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import is_rank_zero
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.callbacks import Callback
from pixelwise.training.extensions import check_specs
from pixelwise.training.state import TrainState
from pixelwise.training.trainer import train

Settings = settings_model()


class _Request(NamedTuple):
    """The data, the run directory, and the settings given as flags."""

    data: str
    out: Path | None
    plan: Plan | None
    preset: str | None
    resume: bool
    options: LabelOptions
    settings: dict[str, Any]


class _Source(NamedTuple):
    """A data set, and its plan and report if it has them."""

    dataset: DatasetIndex
    plan: Plan | None = None
    report: DatasetReport | None = None


def train_command(
    data: str,
    /,
    *,
    out: Path | None = None,
    plan: Path | None = None,
    preset: Literal["default", "tutorial"] | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    masks: DataFlags | None = None,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,  # type: ignore[valid-type]
) -> int:
    """Train a model and write a run directory.

    Args:
        data: Directory of the data set, a table, or a URL.
        out: Run directory. It must not exist, unless --resume is set. [default: runs/NAME, with NAME from DATA and a
            number if it exists]
        plan: A plan.yaml from pixelwise inspect, unchanged or edited. Flags override its settings.
        preset: Fixed settings instead of a plan: default, or tutorial (those of TensorFlow's tutorial).
        resume: Continue the run in --out after its last completed epoch. --epochs can be raised. If there is no run in
            --out, start one.
    """
    given = given_settings(settings)
    options = (masks or DataFlags()).label_options(given.get("skip_unreadable", False))
    _check_flags(out, plan, preset, resume, options)
    is_resumed = resume and out is not None and Run.exists(out)
    request = _Request(data, out, Plan.read(plan) if plan else None, preset, is_resumed, options, given)
    _check_settings(request)
    check_output(out or Path("runs") / data_name(data))
    source = _load(request)
    if is_rank_zero():
        _print_source(source)
    target = out or next_free_path(Path("runs") / data_name(data))
    if is_resumed:  # `train` compares the given settings with those of the run: others must not be filled in
        config = Config(**{**(request.plan.settings if request.plan else {}), **given})
    else:
        config = Config.from_preset(preset or "default", source.plan.settings if source.plan else None, **given)
    skipped = _SkippedFiles()
    with interrupt_advice(f"continue with --resume --out {shlex.quote(str(target))}"):
        run = train(
            source.dataset, target, config, plan=source.plan, preset=preset, resume=resume, callbacks=[skipped],
            verbose=True,
        )  # fmt: skip
    if is_rank_zero():
        print_run(run)
    return SOME_FILES_FAILED if skipped.count or _has_left_out(source) else DONE


class _SkippedFiles(Callback):
    """Counts the images that the training left out."""

    count = 0

    def on_train_end(self, state: TrainState) -> None:
        self.count = len(state.skipped)


def _has_left_out(source: _Source) -> bool:
    issues = source.report.issues if source.report is not None else ()
    return has_left_out(source.dataset) or any(issue.severity == "error" for issue in issues)


def _check_flags(out: Path | None, plan: Path | None, preset: str | None, resume: bool, options: LabelOptions) -> None:
    """Raise ConfigError for flags that exclude each other, and for --resume without --out."""
    if resume and out is None:
        raise ConfigError("--resume needs --out, the run directory to continue")
    no_mask_flags = LabelOptions(skip_unreadable=options.skip_unreadable, allow_outside=options.allow_outside)
    if plan is not None and (preset is not None or options != no_mask_flags):
        raise ConfigError(
            "--plan sets how masks are read and which settings to start from; remove --preset and the flags about "
            "masks, or edit the plan"
        )


def _check_settings(request: _Request) -> None:
    """Raise an error for invalid settings or an existing `out`, before the data set is read."""
    if not request.resume:
        base = request.plan.settings if request.plan else None
        check_specs(Config.from_preset(request.preset or "default", base, **request.settings))
        if request.out is not None:
            Run.ensure_empty(request.out)


def _load(request: _Request) -> _Source:
    """Load the data set. Without a run to resume, a plan or a preset, inspect the data set and make a plan."""
    data, options = request.data, request.options
    with ProgressBars(shown=is_rank_zero()) as bars:
        if request.resume and request.out is not None:
            run = Run.open(request.out)
            skip_unreadable = options.skip_unreadable or run.config.skip_unreadable
            return _Source(run.read_dataset_spec().load(data, skip_unreadable, options.allow_outside))
        if request.plan is not None:
            skip_unreadable = options.skip_unreadable or bool(request.plan.settings.get("skip_unreadable"))
            return _Source(request.plan.data.load(data, skip_unreadable, options.allow_outside), request.plan)
        if request.preset is not None:
            return _Source(load_with_options(data, options, progress=bars.track("scanning masks")))
        report = inspect_with_options(data, options, progress=bars.track("scanning images"))
        plan = make_plan(report, request.settings, timed=is_rank_zero(), progress=bars.track("timing steps"))
        report = replace(report, issues=(*report.issues, *find_plan_issues(report, plan)))
        return _Source(report.data, plan, report)


def _print_source(source: _Source) -> None:
    """Print the data set and the plan. Print nothing if there is no plan."""
    if source.plan is None:
        return
    if source.report is None:
        print_dataset(messages_with_flags(source.dataset))
    else:
        print_dataset_report(report_with_flags(source.report), explain_columns=False)
    print_plan(source.plan)
