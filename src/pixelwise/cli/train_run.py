"""The steps of `pixelwise train`: check the flags, load the data set, plan, train, and print the results."""

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.cli.common import check_output, data_name, has_left_out, messages_with_flags, report_with_flags
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED, interrupt_advice
from pixelwise.cli.train_group import Repeats, print_group, remaining_seconds, train_group
from pixelwise.cli.train_source import Source, load_new, load_resumed
from pixelwise.cli.train_stop import resume_advice, resume_hint, stop_text
from pixelwise.config import Config
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.planning.plan import Plan
from pixelwise.planning.timing import estimate_training_time
from pixelwise.reporting.console import print_dataset, print_dataset_report, print_plan
from pixelwise.reporting.training_text import print_run, print_start
from pixelwise.runs.group import GroupKind, RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import is_rank_zero
from pixelwise.runtime.durations import format_duration
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.callbacks import Callback
from pixelwise.training.extensions import check_specs
from pixelwise.training.learning_curve import measure_learning_curve
from pixelwise.training.resume import completion_reason, open_run
from pixelwise.training.splits import make_train_val_split, with_split
from pixelwise.training.start_from import inherit_settings, inherited_settings
from pixelwise.training.state import TrainState
from pixelwise.training.trainer import train

_MAX_SPENT_FRACTION = 0.8
"""Maximum fraction of a time budget that reading the data may take."""


@dataclass(frozen=True)
class Request:
    """The arguments of `pixelwise train`.

    Attributes:
        data: the data sets. Empty if a run is resumed with its own.
        out: the run directory, or None for a free one with the name of the data.
        plan: the path of a plan, or None.
        preset: the name of a preset, or None.
        resume: True to continue the run in `out`. If there is none, a new one starts.
        options: the flags about masks.
        settings: the settings given as flags.
        repeats: the flags for several trainings.
    """

    data: tuple[str, ...]
    out: Path | None
    plan: Path | None
    preset: str | None
    resume: bool
    options: LabelOptions
    settings: dict[str, Any]
    repeats: Repeats

    @property
    def continues(self) -> bool:
        """True if there is a run to continue."""
        return self.resume and self.out is not None and Run.exists(self.out)


def run_training(request: Request, started: float) -> int:
    """Load the data, train, and print the results.

    Args:
        request: the arguments of the command.
        started: time.monotonic() at the start of the command. A time budget begins then.

    Returns:
        The exit code.
    """
    group_size = request.repeats.group_size(request.out if request.continues else None)
    plan = check_request(request)
    source = load_source(request, plan)
    target = request.out or next_free_path(Path("runs") / data_name(request.data[0]))
    config = resolve_config(request, plan, source)
    _check_time(request, config, time.monotonic() - started)
    if is_rank_zero():
        print_source(source)
        runs = request.repeats.count(group_size)
        _print_start(request, target, config, source, time.monotonic() - started, runs)
    if group_size is not None:
        return _train_group(request, source, target, config, group_size)
    skipped = _SkippedFiles()
    try:
        with resume_hint(target, request):
            run = train(
                source.dataset, target, config, plan=source.plan, preset=request.preset, resume=request.resume,
                callbacks=[skipped], verbose=True, spent_seconds=time.monotonic() - started,
            )  # fmt: skip
    except KeyboardInterrupt:
        with interrupt_advice(resume_advice(target, request)):  # a further Ctrl-C does not lose the command
            text = stop_text(target, request)
        raise KeyboardInterrupt(text) from None
    if is_rank_zero():
        print_run(run, source.dataset)
    if request.repeats.learning_curve:
        with interrupt_advice(f"the training is complete, its learning curve is not; {resume_advice(target, request)}"):
            curve = measure_learning_curve(run, source.dataset, verbose=True)
        if is_rank_zero():
            print(curve)
    return SOME_FILES_FAILED if skipped.count or _has_left_out(source) else DONE


def _train_group(request: Request, source: Source, target: Path, config: Config, size: tuple[GroupKind, int]) -> int:
    """Train a group of runs and print its scores. Return the exit code."""
    try:
        with resume_hint(target, request):
            group = train_group(size, source.dataset, target, config, source.plan, request.preset, request.resume)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"complete runs and epochs are kept; {resume_advice(target, request)}") from None
    if is_rank_zero():
        print_group(group)
    return SOME_FILES_FAILED if _has_left_out(source) else DONE


class _SkippedFiles(Callback):
    """Count the images that the training left out."""

    count = 0

    def on_train_end(self, state: TrainState) -> None:
        self.count = len(state.skipped)


def _has_left_out(source: Source) -> bool:
    issues = source.report.issues if source.report is not None else ()
    return has_left_out(source.dataset) or any(issue.severity == "error" for issue in issues)


def check_request(request: Request) -> Plan | None:
    """Check the arguments of the command, and read the plan.

    Args:
        request: the arguments of the command.

    Returns:
        The plan, or None without --plan.

    Raises:
        ConfigError: Flags exclude each other, the plan cannot be read, or a setting is not valid.
        OutputExistsError: `out` exists, and no run in it is continued.
        OutputError: The run directory may not be written.
        RunError: There is no run to continue, and no data set for a new one.
    """
    has_mask_flags = request.options != request.options.access_only()
    if request.plan is not None and (request.preset is not None or has_mask_flags):
        raise ConfigError(
            "--plan sets how masks are read and which settings to start from; remove --preset and the flags about "
            "masks, or edit the plan"
        )
    plan = Plan.read(request.plan) if request.plan is not None else None
    if not request.continues:
        if not request.data:
            assert request.out is not None
            Run.open(request.out)  # raises the error for a missing run
        base = plan.settings if plan else None
        check_specs(Config.from_preset(request.preset or "default", base, **request.settings))
        if request.out is not None:
            Run.ensure_empty(request.out)
    check_output(request.out or Path("runs") / data_name(request.data[0]))
    return plan


def load_source(request: Request, plan: Plan | None) -> Source:
    """Load the data set of a new run, or that of the run to continue.

    Args:
        request: the arguments of the command.
        plan: the result of `check_request`.
    """
    if request.continues:
        assert request.out is not None
        return load_resumed(request.out, request.data, request.options)
    return load_new(request.data, plan, request.preset, request.options, request.settings)


def resolve_config(request: Request, plan: Plan | None, source: Source) -> Config:
    """Return the settings. If a run is continued, only the given ones are set, because `train` compares them.

    Args:
        request: the arguments of the command.
        plan: the result of `check_request`.
        source: the result of `load_source`.
    """
    if request.continues:
        return Config(**{**(plan.settings if plan else {}), **request.settings})
    base, start_from = source.plan.settings if source.plan else None, request.settings.get("start_from")
    if base is None and start_from is not None:
        # The model of a preset is not given by the user, so that of the other run replaces it.
        base = inherited_settings(start_from, request.settings.get("view"))
    return Config.from_preset(request.preset or "default", base, **request.settings)


def _check_time(request: Request, config: Config, spent: float) -> None:
    """Raise ConfigError if reading the data took more than `_MAX_SPENT_FRACTION` of the time budget."""
    budget = config.time_budget
    if budget is not None and not request.continues and spent > _MAX_SPENT_FRACTION * budget:
        raise ConfigError(
            f"`time_budget`: reading the data took {format_duration(spent)} of {format_duration(budget)}; "
            "give more time, or skip the inspection with a plan (pixelwise inspect writes one) or a preset"
        )


def print_source(source: Source) -> None:
    """Print the data set and the plan. Without a plan, print only what is unknown in data sets that are joined."""
    if source.plan is None:
        if source.dataset.sets:
            print_dataset(messages_with_flags(source.dataset))
        return
    if source.report is None:
        print_dataset(messages_with_flags(source.dataset))
    else:
        print_dataset_report(report_with_flags(source.report), explain_columns=False)
    print_plan(source.plan)


def _print_start(request: Request, target: Path, config: Config, source: Source, spent: float, runs: int) -> None:
    """Print the run directory, the time of all runs, and how to stop. Print nothing if the run is complete."""
    done = 0
    if not request.continues:
        seconds = _estimate_seconds(source, config, request.settings)
    else:
        run, last = open_run(target, config, {}, preset=request.preset, custom_loss=False)  # raises for other settings
        if completion_reason(run, last):
            return
        config = run.config
        rows = run.read_metrics()
        done, before = len(rows), (rows[-1].get("seconds") or 0.0) if rows else 0.0
        seconds = before / done * max(config.epochs - done, 0) if before else None
        if config.time_budget is None and RunGroup.exists(target):
            seconds, runs = remaining_seconds(target, config.epochs), 1
        spent += before
    if config.time_budget is not None:
        seconds = max(config.time_budget - spent, 0.0)
    print_start(target, config, None if seconds is None else runs * seconds, done)


def _estimate_seconds(source: Source, config: Config, given: Collection[str]) -> float | None:
    """Return the estimated duration of a new training in seconds.

    Return None if the training has a time budget, or if no steps can be measured.

    Args:
        source: the data set. If its plan has an estimate, no steps are measured.
        config: the settings.
        given: the names of the settings that were given as flags.
    """
    if source.plan is not None and source.plan.seconds is not None:
        return source.plan.seconds
    if config.time_budget is None:
        with suppress(PixelwiseError), ProgressBars() as bars:  # `train` raises the error, in each process
            config = inherit_settings(config, given)
            divided = with_split(source.dataset, *make_train_val_split(source.dataset, config))
            return estimate_training_time(divided, config, len(divided.train), bars.track("timing steps"))
    return None
