"""`pixelwise tune`."""

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pixelwise.cli.components import LIST_FLAG, DataPath, check_data_exists
from pixelwise.cli.data_flags import DataFlags
from pixelwise.cli.training_flags import Preset, SettingFlags, parse_flags, require_data
from pixelwise.errors import ConfigError

if TYPE_CHECKING:
    from pixelwise.cli.train_source import Source
    from pixelwise.data.joined_spec import AnySpec
    from pixelwise.data.label_map.options import LabelOptions
    from pixelwise.tuning.result import Tuning

_MAX_ROWS = 10
"""Maximum number of trials in the printed table. trials.csv has all."""


def tune_command(
    *data: DataPath,
    out: Path | None = None,
    trials: int = 20,
    max_time: str | None = None,
    search: Annotated[tuple[str, ...] | None, Parameter(**LIST_FLAG)] = None,
    plan: Path | None = None,
    preset: Preset | None = None,
    masks: DataFlags | None = None,
    settings: SettingFlags | None = None,
) -> int:
    """Search for better settings by their validation mIoU, one training per trial.

    Args:
        data: Directory of the data set, a table, or a URL. Several are joined.
        out: Directory of the search. If it contains one, the search continues. [default: runs/NAME-tune, NAME from
            DATA]
        trials: Number of trials, including those of a search that continues.
        max_time: Time of all trials, for example 2h. No trial starts that would probably exceed it.
        search: Settings to search: lr, encoder_lr_factor, weight_decay, image_size, loss, class_weights,
            augmentation.min_scale, augmentation.color. [default: all that are not given as flags]
        plan: A plan.yaml from pixelwise inspect, with the settings before the search. Flags override it.
        preset: Fixed settings before the search instead of a plan.
    """
    roots = require_data(data)
    check_data_exists(roots)
    from pixelwise.cli.common import check_output, data_name
    from pixelwise.cli.entry import DONE
    from pixelwise.tuning.study import check_arguments, tune

    check_arguments(trials, search)
    target = out or Path("runs") / f"{data_name(roots[0])}-tune"
    check_output(target)
    options, given = parse_flags(masks, settings)
    seconds = _parse_time(max_time)
    source = _load(roots, target, plan, preset, options, given)
    print(f"search: {target} (Ctrl-C keeps the trials that are complete, and the same command continues)", flush=True)
    try:
        result = tune(
            source.dataset, target, trials, max_seconds=seconds, search=search, plan=source.plan, preset=preset,
            verbose=True, **given,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("complete trials are kept; the same command continues the search") from None
    _print_result(result, roots)
    return DONE


def _parse_time(text: str | None) -> float | None:
    from pixelwise.runtime.durations import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--max-time: {error}") from None


def _load(
    roots: tuple[str, ...],
    out: Path,
    plan: Path | None,
    preset: str | None,
    options: "LabelOptions",
    given: dict[str, Any],
) -> "Source":
    """Load the data set. If the search continues, its plan is used instead of a new inspection.

    Args:
        roots: the data sets.
        out: the directory of the search.
        plan: the path of a plan, or None.
        preset: the name of a preset, or None.
        options: the flags about masks.
        given: the settings given as flags.

    Raises:
        ConfigError: The search continues, and flags about masks give other labels than its own.
    """
    from pixelwise.cli.train_group import Repeats
    from pixelwise.cli.train_run import Request, check_request, load_source, print_source
    from pixelwise.cli.train_source import load_new
    from pixelwise.data.joined_spec import read_any_spec, spec_of
    from pixelwise.planning.plan import Plan
    from pixelwise.tuning.storage import PLAN_FILE, exists

    continues, stored = exists(out), out / PLAN_FILE
    if continues and plan is None and preset is None and stored.is_file():
        if options != options.access_only():
            asked = load_new(roots, None, "default", options, given).dataset
            _check_labels(out, spec_of(asked), Plan.read(stored).data)
        plan, options = stored, options.access_only()
    request = Request(roots, None, plan, preset, False, options, given, Repeats())
    source = load_source(request, check_request(request))
    is_comparable = continues and plan is None and "start_from" not in given  # which adds classes to those of the data
    first = next(out.glob("trial-*/data.yaml"), None) if is_comparable else None
    if first is not None:
        _check_labels(out, spec_of(source.dataset), read_any_spec(first))
    if not continues:
        print_source(source)
    return source


def _check_labels(out: Path, asked: "AnySpec", stored: "AnySpec") -> None:
    """Raise ConfigError if the flags about masks give other labels than those of the search that continues."""
    if _labels(asked) != _labels(stored):
        raise ConfigError(f"{out}: the search there started with other flags about masks; choose another --out")


def _labels(spec: "AnySpec") -> dict[str, tuple[object, ...]]:
    """Return what flags about masks decide: for each data set, its format, its classes and their mask values."""
    from pixelwise.data.spec import DatasetSpec

    sets = {"": spec} if isinstance(spec, DatasetSpec) else spec.sets
    return {
        name: (
            each.format,
            each.kind,
            {label: set(item.values) for label, item in each.classes.items()},
            *(set(values) for values in (each.ignore, each.absent, each.present)),
            each.other_class,
            each.line_width,
            each.mask_files,
            each.nodata,
        )
        for name, each in sets.items()
    }


def _print_result(result: "Tuning", roots: tuple[str, ...]) -> None:
    """Print the best trials, the files, and the command that trains with the best settings."""
    from rich.table import Table
    from rich.text import Text

    from pixelwise.errors import printable
    from pixelwise.reporting.tables import table_console
    from pixelwise.tuning.result import BEST_PLAN, PICTURE, TRIALS_FILE

    counts = Counter(trial.outcome for trial in result.trials)
    print(f"trials: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    if result.best is None:
        return
    table = Table(
        title=f"best trials by mIoU on {result.val_images} validation images", title_justify="left", box=None,
        pad_edge=False,
    )  # fmt: skip
    for heading in ("trial", "val mIoU", *result.space):
        table.add_column(heading, justify="right")
    for trial in result.ranking[:_MAX_ROWS]:
        name = f"{trial.number} (before the search)" if trial.number == 0 else str(trial.number)
        cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in trial.values.values())
        table.add_row(name, f"{trial.miou:.3f}", *(Text(printable(cell)) for cell in cells))
    table_console().print(table)
    print(printable(f"all trials: {result.path / TRIALS_FILE}, {result.path / PICTURE}"))
    command = shlex.join(["pixelwise", "train", *roots, "--plan", str(result.path / BEST_PLAN)])
    print(printable(f"best settings: {command}"))
    test = shlex.join(["pixelwise", "evaluate", str(result.best.path)])
    print(printable(f"the best score is too high by chance; measure it on the test split: {test}"))
