"""Search for the settings with the highest validation mIoU: one training per trial, with Optuna.

The directory of a search contains

    study.json       the settings before the search, and the search space
    study.db         the trials in SQLite, for Optuna's own tools
    plan.yaml        the plan of the data, if there was one
    trial-000/ …     the run directories
    trials.csv       the settings and the score of each trial
    trials.png       the same as a plot
    best-plan.yaml   a plan with the best settings

Bergstra et al. 2011, "Algorithms for hyper-parameter optimization" (TPE); Akiba et al. 2019, "Optuna".
"""

import logging
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.joined_spec import spec_of, with_roots
from pixelwise.errors import ConfigError, OutputError, PixelwiseError, RunError
from pixelwise.evaluation.evaluator import evaluate
from pixelwise.planning.plan import Plan
from pixelwise.runs.run_dir import Run
from pixelwise.runs.split_file import data_roots
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.runtime.files import lock_file
from pixelwise.training.extensions import check_specs
from pixelwise.training.resume import resolve_settings
from pixelwise.training.splits import prepare_splits
from pixelwise.training.trainer import train
from pixelwise.tuning.pruning import Pruning
from pixelwise.tuning.result import Outcome, TrialResult, Tuning
from pixelwise.tuning.space import Dimension, Range, check_names, search_space, values_of, with_values
from pixelwise.tuning.storage import STUDY_FILE, create_or_check, open_study

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)


def tune(
    data: DatasetIndex,
    out: str | Path,
    trials: int = 20,
    config: Config | None = None,
    *,
    max_seconds: float | None = None,
    search: Sequence[str] | None = None,
    plan: Plan | None = None,
    preset: str | None = None,
    verbose: bool = False,
    **settings: Any,
) -> Tuning:
    """Search for better settings on the validation images. The test split is not used.

    Trial 0 has the settings before the search. All trials have the same training and validation images and the same
    seed. The score is the mean IoU at the validation images' own sizes, so that image sizes can be compared.

    The same call continues the search in `out`, also after an interrupt. Complete trials are kept. A trial that was
    interrupted continues from its checkpoint.

    Args:
        data: the data set, see `load_dataset`.
        out: the directory of the search.
        trials: number of trials, with those of earlier calls.
        config: the settings before the search, see `train`.
        max_seconds: maximum duration of all trials in seconds. No trial starts that would probably exceed it.
        search: keys of `pixelwise.tuning.space.SPACE`. None for all of them that have an effect and are not given in
            `settings` or `config`.
        plan: see `train`.
        preset: see `train`.
        verbose: see `train`.
        settings: fields of `Config`.

    Returns:
        The trials, and the best settings.

    Raises:
        PixelwiseError: See `train`. Also if Optuna is not installed, if the search in `out` has other settings, or if
            the training with the settings before the search fails.

    >>> tune(load_dataset("cells/"), "runs/cells-tune", trials=20, time_budget=120).best.miou  # doctest: +SKIP
    0.853
    """
    check_index(data)
    check_arguments(trials, search)
    out, given = Path(out), set(settings) | (config.model_fields_set if config is not None else set())
    config = resolve_settings(config, settings, preset=preset, plan=plan)
    check_specs(config)
    space = search_space(config, data.read_spec.task, search, given)
    fabric = launch_fabric(config.device, config.precision)
    if fabric.world_size > 1:
        raise ConfigError("a search needs a single process; start it without torchrun")
    data = prepare_splits(data, config)
    create_or_check(out, config, space, preset, plan)
    lock = lock_file(out / STUDY_FILE, exclusive=True)
    if lock is None:
        raise RunError(f"{out}: another process is searching in this directory; wait for it, or choose another `out`")
    with lock, open_study(out, config.seed) as study:
        searcher = _Search(study, data, out, config, space, preset, verbose)
        while (trial := searcher.next_trial(trials, max_seconds)) is not None:
            searcher.run(trial)
        result = searcher.result()
    result.write(with_roots(spec_of(data), data_roots(data)))
    return result


def check_arguments(trials: int, search: Sequence[str] | None = None) -> None:
    """Check what does not depend on the data, so that an error needs no inspection of the data.

    Args:
        trials: see `tune`.
        search: see `tune`.

    Raises:
        ConfigError: Optuna is not installed, there are no trials, or a setting cannot be searched.
    """
    if find_spec("optuna") is None:
        raise ConfigError("a search needs optuna; run pip install 'pixelwise[tune]'")
    if trials < 1:
        raise ConfigError(f"`trials` must be 1 or more, not {trials}")
    check_names(search or ())


class _Search:
    """The trials of a search.

    Args:
        study: Optuna's study.
        data: the data set with train and val splits.
        out: the directory of the search.
        config: the settings before the search.
        space: the search space.
        preset: the name of the preset.
        verbose: see `train`.
    """

    def __init__(
        self,
        study: "Study",
        data: DatasetIndex,
        out: Path,
        config: Config,
        space: Mapping[str, Dimension],
        preset: str | None,
        verbose: bool,
    ) -> None:
        self.study, self.data, self.out, self.config = study, data, out, config
        self.space, self.preset, self.verbose = space, preset, verbose

    def next_trial(self, count: int, max_seconds: float | None) -> "Trial | None":
        """Return the next trial with its values, or None if the search is over.

        An unfinished trial of an earlier process is first.

        Args:
            count: number of trials, with those that exist.
            max_seconds: see `tune`.
        """
        from optuna.trial import Trial, TrialState

        # A trial whose values are set, but which was not started, is the next one.
        existing = [t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        open_trials = [trial for trial in existing if trial.state == TrialState.RUNNING]
        if open_trials:
            trial = Trial(self.study, open_trials[0]._trial_id)
        else:
            seconds = [float(each.user_attrs.get("seconds", 0.0)) for each in existing]
            expected = sum(seconds) + (sum(seconds) / len(seconds) if seconds else 0.0)
            if len(existing) >= count or (existing and max_seconds is not None and expected > max_seconds):
                return None
            if not existing:
                self.study.enqueue_trial(values_of(self.config, self.space), skip_if_exists=True)
            trial = self.study.ask()
        for name, dimension in self.space.items():  # an unfinished trial gets its values again
            if isinstance(dimension, Range):
                trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
            else:
                trial.suggest_categorical(name, dimension.values)
        return trial

    def run(self, trial: "Trial") -> None:
        """Train and evaluate a trial, and store its result. An interrupted trial stays unfinished.

        Raises:
            PixelwiseError: The trial with the settings before the search failed, or the disk is full.
        """
        from optuna.trial import TrialState

        logger.info("trial %d: %s", trial.number, ", ".join(f"{k} {_short(v)}" for k, v in trial.params.items()))
        try:
            score = self._score(trial)
        except OutputError:
            raise
        except PixelwiseError as error:
            if trial.number == 0:
                raise
            logger.warning("trial %d failed: %s", trial.number, error)
            trial.set_user_attr("fault", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return
        if score is None:
            logger.info("trial %d: stopped early, below the median of the trials", trial.number)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            logger.info("trial %d: val mIoU %.3f", trial.number, score)
            self.study.tell(trial, score)

    def _score(self, trial: "Trial") -> float | None:
        """Train and evaluate a trial. Return its mean IoU, or None if it was stopped early. Store the duration."""
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        started, before = time.monotonic(), float(frozen.user_attrs.get("seconds", 0.0))
        pruning = Pruning(trial, max(frozen.intermediate_values, default=0))
        try:
            return self._train(trial, pruning)
        finally:
            trial.set_user_attr("seconds", before + time.monotonic() - started)

    def _train(self, trial: "Trial", pruning: Pruning) -> float | None:
        path = self._path(trial.number)
        config = with_values(self.config, trial.params)
        run = train(
            self.data, path, config, preset=self.preset, resume=Run.exists(path), callbacks=[pruning], defaults=False,
            verbose=self.verbose,
        )  # fmt: skip
        if pruning.pruned:
            return None
        evaluation = evaluate(run, self.data, "val", None, device=config.device, skip_unreadable=config.skip_unreadable)
        return evaluation.metrics.mean_iou or 0.0

    def result(self) -> Tuning:
        """Return all trials."""
        from optuna.trial import TrialState

        outcomes: dict[TrialState, Outcome] = {
            TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
        }  # fmt: skip
        trials = tuple(
            TrialResult(
                trial.number,
                self._path(trial.number),
                dict(trial.params),
                outcomes.get(trial.state, "unfinished"),
                trial.value if trial.state == TrialState.COMPLETE else None,
                float(trial.user_attrs.get("seconds", 0.0)),
                str(trial.user_attrs.get("fault", "")),
            )
            for trial in self.study.get_trials(deepcopy=False)
        )
        return Tuning(self.out, self.config, self.space, trials, len(self.data.val))

    def _path(self, number: int) -> Path:
        return self.out / f"trial-{number:03d}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
