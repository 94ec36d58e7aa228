"""Several trainings on one data set: the folds of a cross-validation, or different random seeds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.config import Config
from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.joined_spec import spec_of, with_roots
from pixelwise.data.splits import k_fold_split
from pixelwise.errors import ConfigError, DataError, RunError
from pixelwise.evaluation.evaluator import evaluate
from pixelwise.planning.plan import Plan
from pixelwise.runs.group import GroupKind, Member, RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.runs.split_file import data_roots
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.resume import create_run, open_run
from pixelwise.training.splits import prepare_splits
from pixelwise.training.start_from import match_classes
from pixelwise.training.trainer import train

logger = logging.getLogger(__name__)

MAX_RUNS = 100
"""Maximum number of runs in a group."""


@dataclass(frozen=True)
class _Part:
    """One training of a group: the name of its directory, its data with train and val splits, and its seed."""

    name: str
    data: DatasetIndex
    seed: int


def train_folds(
    data: DatasetIndex,
    out: str | Path,
    folds: int = 5,
    config: Config | None = None,
    *,
    plan: Plan | None = None,
    preset: str | None = None,
    resume: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> RunGroup:
    """Train one model per fold of a cross-validation, and evaluate each on the images that it was not trained on.

    The folds divide the images of the train and val splits. Each of these images is predicted once by a model that was
    not trained on it, so the score uses all of them. A test split is not used. `Predictor.load` on the group averages
    the probabilities of its models.

    Args:
        data: the data set, see `load_dataset`.
        out: the directory of the group. It must be empty or missing, unless the group is resumed.
        folds: number of folds, 2 to `MAX_RUNS`.
        config: see `train`.
        plan: see `train`.
        preset: see `train`.
        resume: continue the group in `out`. Complete folds are kept. If there is no group in `out`, a new one starts.
        verbose: see `train`.
        settings: fields of `Config`. `seed` also determines the folds.

    Returns:
        The group with the metrics of each fold.

    Raises:
        PixelwiseError: See `train`. Also if the group to resume has another number of folds.

    >>> group = train_folds(load_dataset("cells/"), "runs/cells", folds=5)  # doctest: +SKIP
    >>> str(group.mean_iou), group.pooled.mean_iou  # doctest: +SKIP
    ('0.812 ± 0.021', 0.815)
    """
    check_index(data)
    _check_count("folds", folds)
    run = _shared_run(Path(out), config, settings, preset, plan, resume)
    matched = match_classes(data, run.config)
    pooled = assign_groups(replace(matched, train=(*matched.train, *matched.val), val=()))
    if data.val:
        logger.info("folds: the train and val splits are joined, %d images", len(pooled.train))
    parts = [
        _Part(f"fold-{number}", replace(pooled, train=tuple(kept), val=tuple(held_out)), run.config.seed)
        for number, (kept, held_out) in enumerate(k_fold_split(pooled.train, folds, run.config.seed), start=1)
    ]
    return _train_parts("folds", parts, run, data, plan, resume, verbose)


def train_seeds(
    data: DatasetIndex,
    out: str | Path,
    seeds: int = 3,
    config: Config | None = None,
    *,
    plan: Plan | None = None,
    preset: str | None = None,
    resume: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> RunGroup:
    """Train several models that differ only in their random seed, to measure how much the score depends on chance.

    All models have the same training and validation images. `Predictor.load` on the group averages the probabilities of
    its models.

    Args:
        data: the data set, see `load_dataset`.
        out: the directory of the group. It must be empty or missing, unless the group is resumed.
        seeds: number of trainings, 2 to `MAX_RUNS`. They have the seeds `seed`, `seed` + 1, …
        config: see `train`.
        plan: see `train`.
        preset: see `train`.
        resume: continue the group in `out`. Complete trainings are kept. If there is no group in `out`, a new one
            starts.
        verbose: see `train`.
        settings: fields of `Config`. `seed` also determines the validation images.

    Returns:
        The group with the metrics of each training.

    Raises:
        PixelwiseError: See `train`. Also if the group to resume has another number of seeds.
    """
    check_index(data)
    _check_count("seeds", seeds)
    run = _shared_run(Path(out), config, settings, preset, plan, resume)
    divided = prepare_splits(data, run.config)
    parts = [_Part(f"seed-{seed}", divided, seed) for seed in range(run.config.seed, run.config.seed + seeds)]
    return _train_parts("seeds", parts, run, data, plan, resume, verbose)


def _check_count(name: str, count: int) -> None:
    if not 2 <= count <= MAX_RUNS:
        raise ConfigError(f"`{name}` must be 2 to {MAX_RUNS}, not {count}")


def _shared_run(
    out: Path, config: Config | None, settings: dict[str, Any], preset: str | None, plan: Plan | None, resume: bool
) -> Run:
    """Return the run of the group's directory. Its settings are those of all runs, except for the seed."""
    if callable(settings.get("loss")):
        raise ConfigError("`loss` must be a name here, because each run stores it")
    if not (resume and RunGroup.exists(out)):
        return create_run(out, config, settings, preset=preset, plan=plan)
    run, _ = open_run(out, config, settings, preset=preset, custom_loss=False)
    if run.config.epochs != Run.open(out).config.epochs:
        raise ConfigError(f"`resume` cannot change `epochs` of a group of runs ({out}); choose another `out`")
    return run


def _train_parts(
    kind: GroupKind,
    parts: Sequence[_Part],
    run: Run,
    data: DatasetIndex,
    plan: Plan | None,
    resume: bool,
    verbose: bool,
) -> RunGroup:
    """Train and evaluate the parts in order. After each part, update group.json."""
    fabric = launch_fabric(run.config.device, run.config.precision)
    members = tuple(Member(name=p.name, train_images=len(p.data.train), val_images=len(p.data.val)) for p in parts)
    group = RunGroup(run.path, kind, data.read_spec.task, members)
    if resume and RunGroup.exists(run.path):
        group = _continue_group(group)
    fabric.barrier()
    if fabric.is_global_zero and not RunGroup.exists(run.path):
        run.start(with_roots(spec_of(data), data_roots(data)), plan)
        group.write()
    fabric.barrier()
    for number, part in enumerate(parts, start=1):
        member = group.members[number - 1]
        if member.metrics is not None:
            continue
        logger.info(
            "%s %d of %d: %d training images, %d validation images",
            kind.removesuffix("s"), number, len(parts), member.train_images, member.val_images,
        )  # fmt: skip
        trained = _train_part(part, run, plan, verbose)
        with ProgressBars(shown=verbose and fabric.is_global_zero) as bars:
            evaluation = evaluate(
                trained, part.data, "val", None, device=run.config.device,
                skip_unreadable=run.config.skip_unreadable, progress=bars.track(f"evaluating {part.name}"),
            )  # fmt: skip
        group = group.with_metrics(part.name, evaluation.metrics)
        if fabric.is_global_zero:
            group.write()
    return group


def _train_part(part: _Part, run: Run, plan: Plan | None, verbose: bool) -> Run:
    """Train one run of a group, or continue it."""
    path = run.path / part.name
    config = run.config.replace(seed=part.seed)
    return train(part.data, path, config, plan=plan, preset=run.preset, resume=Run.exists(path), verbose=verbose)


def _continue_group(new: RunGroup) -> RunGroup:
    """Return the group in a directory. Raise an error if it is not the same as the group that was requested."""
    stored = RunGroup.open(new.path)
    if stored.kind != new.kind or len(stored.members) != len(new.members):
        raise RunError(
            f"{new.path}: contains {len(stored.members)} {stored.kind}; give `{stored.kind}` the value "
            f"{len(stored.members)} to continue them, or choose another `out`"
        )
    unchanged = [(m.name, m.train_images, m.val_images) for m in stored.members]
    if unchanged != [(m.name, m.train_images, m.val_images) for m in new.members]:
        raise DataError(f"{new.path}: the data set has changed since these runs started; train a new group")
    return stored
