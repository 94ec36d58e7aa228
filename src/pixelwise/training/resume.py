"""A new run directory, or one that is continued: its settings and its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, PixelwiseError, RunError
from pixelwise.losses.custom import CUSTOM
from pixelwise.planning.plan import Plan
from pixelwise.registry import name_of
from pixelwise.runs.checkpoint import Checkpoint, set_rng_states
from pixelwise.runs.run_dir import Row, Run
from pixelwise.training.setup import TrainingSetup

RESUMABLE = ("epochs", "device", "precision", "num_workers", "cache_images", "callbacks", "loggers")
"""The settings that can change when a run is resumed."""

_MAX_REASON = 200
"""Maximum length of torch's messages that are quoted."""


def create_run(
    out: Path, config: Config | None, settings: Mapping[str, Any], *, preset: str | None, plan: Plan | None
) -> Run:
    """Return a run in a directory that does not exist yet or is empty. Nothing is written.

    Args:
        out: the run directory.
        config: all settings, or None for those of the preset and the plan.
        settings: fields of `Config` that replace those.
        preset: name of the preset, or None for "default".
        plan: settings that replace the preset's. With a `config` it is only recorded.

    Raises:
        RunError: There is something in the directory.
        ConfigError: A setting has a value that cannot work.
    """
    Run.ensure_empty(out)
    if config is None:
        config = Config.from_preset(preset or "default", plan.settings if plan else None, **settings)
    else:
        config = config.replace(**settings)
    return Run(out, config, preset or "default")


def open_run(
    out: Path, config: Config | None, settings: Mapping[str, Any], *, preset: str | None, custom_loss: bool
) -> tuple[Run, Checkpoint | None]:
    """Return a run that is to be continued, and its checkpoint, or None if no epoch was completed.

    Args:
        out: the run directory.
        config: settings that must equal those of the run, except for `RESUMABLE`; only fields that were set count.
        settings: further such settings.
        preset: must be None or the run's preset.
        custom_loss: if True, a loss object is given.

    Raises:
        RunError: There is no run, or it has all its epochs.
        ConfigError: A setting cannot change, or the run needs a loss object.
    """
    run = Run.open(out)
    fields_set = config.model_dump(include=config.model_fields_set) if config is not None else {}
    # "auto" was settled for the device when the run started.
    requested = {
        name: value
        for name, value in (fields_set | dict(settings)).items()
        if not (value == "auto" and name == "encoder_training")
        and not (value is None and name in ("freeze_depthwise", "freeze_batchnorm"))
        and not (value is False and name == "freeze_encoder")
    }
    # Version 0.1 trained the same weights of the encoder on every device: those that a CPU trains now.
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
    is_complete = checkpoint is not None and (
        checkpoint.epoch > new.epochs or (checkpoint.epoch == new.epochs and not run.lacks_animation(new.epochs))
    )
    if checkpoint is not None and is_complete:
        raise RunError(f"{out}: has its {checkpoint.epoch} epochs already; raise `epochs` to train further")
    return Run(out, new, run.preset), checkpoint


def settle_encoder_training(config: Config, device_type: str) -> Config:
    """Return settings with the device's default for `encoder_training`, `freeze_depthwise` and `freeze_batchnorm`.

    The run directory records them, so that a resume on another device trains the same weights.

    Args:
        config: the settings.
        device_type: "cpu", "cuda" or "mps", for `encoder_training` "auto".
    """
    encoder = config.resolve_encoder_training(device_type)
    return config.replace(
        encoder_training=encoder.mode,
        freeze_depthwise=encoder.freeze_depthwise,
        freeze_batchnorm=encoder.freeze_batchnorm,
    )


def open_directory(run: Run, data: DatasetIndex, plan: Plan | None, resume: bool) -> BinaryIO:
    """Create the run directory with config.yaml, data.yaml and plan.yaml, or update config.yaml for a resume.

    Args:
        run: the run.
        data: the data set, for data.yaml.
        plan: the plan, or None.
        resume: if True, the directory exists.

    Returns:
        A lock: no other process can train in the directory until it is closed.

    Raises:
        RunError: Another process is training in the directory, or it cannot be made.
    """
    if not resume:
        run.start(DatasetSpec.of(data), plan)
        lock = run.lock()
        run.remove_leftovers()
        return lock
    with run.lock():
        run.remove_leftovers()
        run.write_config()
        return run.lock()  # the file of the lock is config.yaml, which was just replaced


def restore(setup: TrainingSetup, run: Run, checkpoint: Checkpoint) -> list[Row]:
    """Restore the state after the last epoch of a checkpoint: weights, optimizer, schedule and random numbers.

    The learning-rate schedule is that of the current number of epochs.

    Args:
        setup: the new training, changed in place.
        run: the run.
        checkpoint: its checkpoint.

    Returns:
        The rows of metrics.csv up to the checkpoint.

    Raises:
        RunError: Rows of metrics.csv are missing, or the checkpoint is damaged.
    """
    rows = run.read_metrics()[: checkpoint.epoch]
    if len(rows) < checkpoint.epoch:
        raise RunError(
            f"{run.path}/metrics.csv: has {len(rows)} of the {checkpoint.epoch} epochs in last/; "
            "this run cannot be resumed"
        )
    try:
        _restore_state(setup, checkpoint)
    except PixelwiseError:
        raise
    except Exception as error:  # torch has many for a state that does not fit
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
    # Set the counters to the step before, as its own state would. The next step computes the learning rate.
    setup.lr_scheduler.load_state_dict({"last_epoch": checkpoint.step - 1, "_step_count": checkpoint.step + 1})
    setup.lr_scheduler.step()
    set_rng_states(checkpoint.rng)
