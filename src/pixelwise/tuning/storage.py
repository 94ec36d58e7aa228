"""The files of a search: study.json with its settings, and Optuna's study in study.db."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.config import EARLIER_DEFAULTS, MACHINE_SETTINGS, Config
from pixelwise.errors import ConfigError, OutputExistsError, RunError, first_line
from pixelwise.planning.plan import Plan
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.parsing import read_json
from pixelwise.tuning.result import as_json
from pixelwise.tuning.space import Dimension

if TYPE_CHECKING:
    from optuna import Study

STUDY_FILE, DATABASE, PLAN_FILE = "study.json", "study.db", "plan.yaml"

_RANDOM_TRIALS = 6
"""Number of trials with random settings. They follow trial 0, which has the settings before the search."""

_PRUNING_TRIALS, _PRUNING_PARTS = 4, 3
"""Minimum number of complete trials, and of parts of a training (see `PARTS`), before a trial can be stopped."""


def exists(out: Path) -> bool:
    """Return True if a directory contains a search."""
    return (out / STUDY_FILE).is_file()


def create_or_check(
    out: Path, config: Config, space: Mapping[str, Dimension], preset: str | None, plan: Plan | None
) -> None:
    """Write study.json and plan.yaml of a new search, or compare the settings of a search that exists.

    Args:
        out: the directory of the search.
        config: the settings before the search.
        space: the search space.
        preset: the name of the preset, or None for "default".
        plan: the plan of the data, or None.

    Raises:
        OutputExistsError: The directory has other files.
        ConfigError: The search that exists has other settings. `MACHINE_SETTINGS` may differ.
        RunError: study.json is damaged.
    """
    new: dict[str, Any] = {"config": config.model_dump(mode="json"), "space": as_json(space)}
    new["preset"] = preset or "default"
    if not exists(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputExistsError(f"{out}: exists and is not an empty directory; choose another `out`")
        out.mkdir(parents=True, exist_ok=True)
        if plan is not None:
            plan.write(out / PLAN_FILE)
        with atomic_write(out / STUDY_FILE) as part:
            part.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
        return
    try:
        old = read_json(out / STUDY_FILE)
        stored = Config(**EARLIER_DEFAULTS | old["config"]).model_dump(mode="json")
        changed = [name for name, value in new["config"].items() if stored[name] != value]
        changed = [f"`{name}`" for name in changed if name not in MACHINE_SETTINGS]
        changed += ["`search`"] * (old["space"] != new["space"]) + ["`preset`"] * (old["preset"] != new["preset"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{out / STUDY_FILE}: cannot be read ({first_line(error)}); choose another `out`") from None
    if changed:
        raise ConfigError(f"{out}: the search there started with another {changed[0]}; choose another `out`")


@contextmanager
def open_study(out: Path, seed: int) -> Iterator["Study"]:
    """Open or create the study in study.db. Optuna's messages are hidden in the block.

    Args:
        out: the directory of the search.
        seed: the random seed of the sampler.

    Yields:
        The study. Its sampler draws other values after each continuation.
    """
    import optuna
    from sqlalchemy import URL

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = URL.create("sqlite", database=str((out / DATABASE).absolute())).render_as_string()
    storage = optuna.storages.RDBStorage(url)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name="pixelwise",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_PRUNING_TRIALS, n_warmup_steps=_PRUNING_PARTS),
        )
        # A sampler that starts again with the same seed would draw the values of the first trials again.
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=1 + _RANDOM_TRIALS, seed=seed + len(study.trials))
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(verbosity)
