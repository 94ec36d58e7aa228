"""Creation of a new run directory, and opening of an existing one to continue it from its checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pixelwise.config import MACHINE_SETTINGS, Config, expand_shorthands
from pixelwise.config.encoder_training import EncoderTraining
from pixelwise.data.index import DatasetIndex
from pixelwise.data.joined_spec import spec_of, with_roots
from pixelwise.errors import ConfigError, PixelwiseError, RunError
from pixelwise.losses.custom import CUSTOM
from pixelwise.planning.plan import Plan
from pixelwise.registry import ComponentSpec, name_of
from pixelwise.runs.checkpoint import Checkpoint, set_rng_states
from pixelwise.runs.metrics_file import Row
from pixelwise.runs.run_dir import Run
from pixelwise.runs.split_file import SPLIT_FILE, data_roots, split_rows, write_split
from pixelwise.runtime.durations import format_duration
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.extensions import stops_early
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.start_from import inherit_settings

RESUMABLE = ("epochs", "time_budget", "patience", *MACHINE_SETTINGS)
"""The settings that can change when a run is resumed."""

_SETTLED = {"encoder_training" if field.name == "mode" else field.name for field in fields(EncoderTraining)}
"""The settings whose defaults `settle_encoder_training` replaces."""

_MIN_SPENT_FRACTION = 0.8
"""Minimum fraction of the time budget that a completed run has spent before its last files and images."""

_MAX_REASON = 200
"""Maximum number of characters that are quoted from an error message of torch."""


def create_run(
    out: Path, config: Config | None, settings: Mapping[str, Any], *, preset: str | None, plan: Plan | None
) -> Run:
    """Return a new run without writing files. Its directory must be empty or absent.

    Args:
        out: the run directory.
        config: all settings, or None for those of the preset and the plan.
        settings: fields of `Config` that override the other settings.
        preset: name of the preset, or None for "default".
        plan: a plan, whose settings override those of the preset. Not used if `config` is given.

    Returns:
        The run.

    Raises:
        OutputExistsError: The directory is not empty, or the path is a file.
        PixelwiseError: See `resolve_settings`.
    """
    Run.ensure_empty(out)
    return Run(out, resolve_settings(config, settings, preset=preset, plan=plan), preset or "default")


def resolve_settings(
    config: Config | None, settings: Mapping[str, Any], *, preset: str | None, plan: Plan | None
) -> Config:
    """Return all settings of a new training. With `start_from`, those that are not given are the other run's.

    Fields of `config` that were set count as given. A config that this function returned is not changed.

    Args:
        config: see `create_run`.
        settings: see `create_run`.
        preset: see `create_run`.
        plan: see `create_run`.

    Raises:
        ConfigError: A setting is unknown, has an invalid value, or contradicts the run `start_from`.
        RunError: `start_from` contains no run.
    """
    given = set(expand_shorthands(settings)) | (config.model_fields_set if config is not None else set())
    if config is None:
        config = Config.from_preset(preset or "default", plan.settings if plan else None, **settings)
    else:
        config = config.replace(**settings)
    return inherit_settings(config, given)


def open_run(
    out: Path, config: Config | None, settings: Mapping[str, Any], *, preset: str | None, custom_loss: bool
) -> tuple[Run, Checkpoint | None]:
    """Open a run to continue it.

    Args:
        out: the run directory.
        config: settings of the continued training, or None. Fields that were not set are ignored. Only the settings in
            `RESUMABLE` can differ from those of the run.
        settings: fields of `Config` that override `config`, with the same limits.
        preset: the preset of the run, or None.
        custom_loss: True if the caller passes a loss object.

    Returns:
        The run with its new settings, and its checkpoint. The checkpoint is None if no epoch was completed.

    Raises:
        RunError: The directory contains no run, its checkpoint is damaged, or the run has completed more epochs than
            requested.
        ConfigError: A setting differs that cannot change, or the run needs a loss object.
    """
    run = Run.open(out)
    fields_set = config.model_dump(include=config.model_fields_set) if config is not None else {}
    # config.yaml has the values that replaced these defaults when the run started. A requested default changes nothing.
    requested = {
        name: value
        for name, value in (fields_set | dict(settings)).items()
        if not (name in _SETTLED and value == Config.model_fields[name].default)
        and not (value is False and name == "freeze_encoder")
        and not (name == "start_from" and _is_same_path(value, run.config.start_from))
    }
    # Runs of version 0.1 lack these values. They trained the weights that a CPU trains now, on every device.
    current = settle_encoder_training(run.config, "cpu")
    new = current.replace(**requested)
    changed = [
        name for name in Config.model_fields if getattr(new, name) != getattr(current, name) and name not in RESUMABLE
    ]
    if changed or preset not in (None, run.preset):
        name = changed[0] if changed else "preset"
        value = getattr(current, name) if changed else run.preset
        raise ConfigError(
            f"`resume` cannot change `{name}` ({value!r} in {out}/config.yaml); only {', '.join(RESUMABLE)} can change"
        )
    if name_of(new.loss) == CUSTOM and not custom_loss:
        raise ConfigError(f"{out}: was trained with a loss object ({new.loss}), which is not stored; give `loss` again")
    checkpoint = run.load_checkpoint()
    if new.time_budget is not None and requested.get("epochs", current.epochs) != current.epochs:
        raise ConfigError(f"{out}: its length is a time, so `epochs` has no effect; set `time_budget`")
    if checkpoint is not None and new.time_budget is None and checkpoint.epoch > new.epochs:
        raise RunError(f"{out}: has {checkpoint.epoch} epochs already; raise `epochs` to train further")
    return Run(out, new, run.preset), checkpoint


def _is_same_path(path: str | None, other: str | None) -> bool:
    """Return True if two paths, which can be relative or links, are those of the same directory."""
    return path is not None and other is not None and Path(path).resolve() == Path(other).resolve()


def completion_reason(
    run: Run, checkpoint: Checkpoint | None, callbacks: Sequence[Callback | ComponentSpec] = ()
) -> str:
    """Return the reason why a run is complete: it has its epochs and the files that are written after the last one.

    The final checkpoint is written at the very end, see `Checkpoint.compact`. A run with a time budget is complete if
    it has also spent `_MIN_SPENT_FRACTION` of the time. A run with a patience, or a callback for early stopping, is
    complete if its patience is over.

    Args:
        run: the run with its new settings, see `open_run`.
        checkpoint: its checkpoint, or None if no epoch was completed.
        callbacks: the callbacks that are given to `train`.

    Returns:
        The reason and how to train further. Empty if the run is not complete.
    """
    if checkpoint is None:
        return ""
    epoch, budget = checkpoint.epoch, run.config.time_budget
    rows = run.read_metrics()[:epoch]
    if len(rows) < epoch or run.lacks_animation(epoch) or not checkpoint.is_compact:
        return ""
    if stops_early(run.config, callbacks, rows):
        return f"stopped after epoch {epoch}, because its patience is over; raise `patience` to train further"
    if budget is not None:
        is_spent = (rows[-1].get("seconds") or 0.0) > _MIN_SPENT_FRACTION * budget
        if not is_spent:
            return ""
        return f"the time of {format_duration(budget)} is spent; raise `time_budget` to train further"
    if epoch != run.config.epochs:
        return ""
    return f"{f'all {epoch} epochs are' if epoch > 1 else 'its epoch is'} done; raise `epochs` to train further"


def settle_encoder_training(config: Config, device_type: str) -> Config:
    """Replace the defaults of the settings in `_SETTLED` by values for a device.

    The values are stored in the run directory, so that a training that is resumed on another device trains the same
    weights.

    Args:
        config: the settings.
        device_type: "cpu", "cuda" or "mps".

    Returns:
        The settings with these values.
    """
    values = asdict(config.resolve_encoder_training(device_type))
    return config.replace(encoder_training=values.pop("mode"), **values)


def open_directory(run: Run, data: DatasetIndex, plan: Plan | None, resume: bool) -> BinaryIO:
    """Create and lock the directory of a new run, or update config.yaml of a resumed run and lock its directory.

    A new directory gets config.yaml, data.yaml, plan.yaml and split.csv.

    Args:
        run: the run.
        data: the data set with the splits of the training, which data.yaml describes and split.csv lists.
        plan: the plan, or None. Not used if `resume` is True.
        resume: True if the run is resumed.

    Returns:
        The open file that holds the lock. Until it is closed, no other process can train in the directory.

    Raises:
        RunError: Another process is training in the directory, or the directory cannot be created.
        OutputExistsError: The directory of a new run is not empty.
    """
    if not resume:
        run.start(with_roots(spec_of(data), data_roots(data)), plan)
        lock = run.lock()
        run.remove_leftovers()
        write_split(run.path, split_rows(data))
        return lock
    lock = run.lock()
    try:
        run.remove_leftovers()
        run.write_config()
        if not (run.path / SPLIT_FILE).exists():  # of an earlier version, or the process was killed
            write_split(run.path, split_rows(data))
        return run.renew_lock(lock)  # config.yaml is the locked file and was replaced, so it is locked again
    except BaseException:
        lock.close()
        raise


def restore(setup: TrainingSetup, run: Run, checkpoint: Checkpoint) -> list[Row]:
    """Restore the state of a training from a checkpoint: weights, optimizer, learning-rate schedule and random numbers.

    The shape of the schedule follows from the current number of epochs, and only its position is restored.

    Args:
        setup: the new training. It is changed in place.
        run: the run.
        checkpoint: the checkpoint of the run.

    Returns:
        The rows of metrics.csv up to the epoch of the checkpoint.

    Raises:
        RunError: metrics.csv is damaged or lacks rows, or the checkpoint does not fit the run.
    """
    rows = run.read_metrics()[: checkpoint.epoch]
    if len(rows) < checkpoint.epoch:
        raise RunError(
            f"{run.path}/metrics.csv: has {len(rows)} of the {checkpoint.epoch} epochs in last/; "
            "this run cannot be resumed"
        )
    setup.course.resume(rows[-1].get("seconds") or 0.0)
    try:
        _restore_state(setup, checkpoint)
    except PixelwiseError:
        raise
    except Exception as error:  # torch raises many exception types for a state that does not fit
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON]
        raise RunError(f"{run.path}/last: does not fit this run ({reason}); this run cannot be resumed") from None
    return rows


def _restore_state(setup: TrainingSetup, checkpoint: Checkpoint) -> None:
    setup.model.load_state_dict(checkpoint.model)
    new_groups = [dict(group) for group in setup.optimizer.param_groups]
    setup.optimizer.load_state_dict(checkpoint.optimizer)
    # The fused optimizer needs its state in the same memory format as the weights (channels last).
    for parameter, state in setup.optimizer.optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)
    for group, new in zip(setup.optimizer.param_groups, new_groups, strict=True):
        group.update({name: value for name, value in new.items() if name != "params"})
    setup.step, setup.train_seconds = checkpoint.step, checkpoint.train_seconds
    # The counters of the scheduler are set to the previous step. `step` then computes the learning rate of this step.
    setup.lr_scheduler.load_state_dict({"last_epoch": checkpoint.step - 1, "_step_count": checkpoint.step + 1})
    setup.lr_scheduler.step()
    set_rng_states(checkpoint.rng)
