"""The search: its trials, interrupts, failures, early ends and files. Most trainings are replaced by a formula."""

import csv
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.config import MACHINE_SETTINGS
from pixelwise.errors import ConfigError, OutputExistsError, RunError, TrainingDivergedError
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import lock_file
from pixelwise.tuning import study
from pixelwise.tuning.pruning import Pruning
from pixelwise.tuning.result import Tuning
from pixelwise.tuning.study import tune
from tests.training.helpers import SMALL

pytest.importorskip("optuna")

SETTINGS: dict[str, Any] = {name: value for name, value in SMALL.items() if name != "defaults"} | {"epochs": 10}
SEARCH = ("lr", "weight_decay")


class Trainings:
    """Replaces `train` and `evaluate`: the score of a training is highest for a learning rate of 0.001.

    Args:
        before: called with the number of the call before each training. It can raise an exception.
    """

    def __init__(self, before: Callable[[int], None] = lambda call: None) -> None:
        self.before, self.calls, self.resumed = before, 0, 0

    def train(self, data: Any, path: Path, config: pw.Config, callbacks: list[Pruning], **arguments: Any) -> Run:
        assert arguments["resume"] == Run.exists(path) and config.seed == 0
        self.calls += 1
        self.resumed += arguments["resume"]
        run = Run(path, config)
        if not arguments["resume"]:
            run.start()
        state: Any = SimpleNamespace(run=run, history=[], epoch=0, should_stop=False)
        for epoch in range(config.epochs):
            if epoch == 4:
                self.before(self.calls)
            state.history.append({"val_miou": self.score(config) * (epoch + 1) / config.epochs, "seconds": 1.0})
            state.epoch = epoch + 1
            callbacks[0].on_epoch_end(state)
            if state.should_stop:
                break
        return run

    def evaluate(self, run: Run, data: Any, split: str, *_: Any, **__: Any) -> Any:
        assert split == "val"
        return SimpleNamespace(metrics=SimpleNamespace(mean_iou=self.score(run.config)))

    @staticmethod
    def score(config: pw.Config) -> float:
        return 0.9 - 0.2 * abs(math.log10(config.lr / 0.001))


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainings]:
    def replace(before: Callable[[int], None] = lambda call: None) -> Trainings:
        trainings = Trainings(before)
        monkeypatch.setattr(study, "train", trainings.train)
        monkeypatch.setattr(study, "evaluate", trainings.evaluate)
        return trainings

    return replace


def run_search(data: pw.DatasetIndex, out: Path, trials: int, **arguments: Any) -> Tuning:
    return tune(data, out, trials, **{"search": SEARCH, **SETTINGS, **arguments})


def stop_at(*calls: int, error: BaseException) -> Callable[[int], None]:
    def before(call: int) -> None:
        if call in calls:
            raise error

    return before


def test_the_best_trial_and_the_files(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace()
    result = run_search(pets, tmp_path / "tune", 14)
    first, best = result.trials[0], result.best
    assert best is not None and first.miou is not None and first.values == {"lr": 0.003, "weight_decay": 0.01}
    assert first.miou == pytest.approx(Trainings.score(result.config))
    assert best.miou is not None and best.miou > first.miou + 0.03, "the search finds a better learning rate"
    assert result.best_config.lr == best.values["lr"] and result.best_config.epochs == 10
    outcomes = {trial.outcome for trial in result.trials}
    assert outcomes == {"complete", "pruned"}, "bad trials end early"
    assert all((trial.miou is None) == (trial.outcome == "pruned") for trial in result.trials)
    assert all(Run.exists(trial.path) for trial in result.trials) and len(result.trials) == 14
    with (result.path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == [trial.values["lr"] for trial in result.trials]
    assert rows[best.number]["val_miou"] == repr(best.miou)
    assert (result.path / "trials.png").stat().st_size > 10_000
    plan = pw.Plan.read(result.path / "best-plan.yaml")
    assert not plan.settings.keys() & set(MACHINE_SETTINGS)
    assert pw.Config.from_preset(base=plan.settings).replace(device="cpu", precision="32-true") == result.best_config
    assert f"trial {best.number} of 14" in (result.path / "best-plan.yaml").read_text()


def test_an_interrupted_search_continues(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace(stop_at(3, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run_search(pets, tmp_path / "tune", 5)
    trainings = replace()
    result = run_search(pets, tmp_path / "tune", 5)
    assert [trial.outcome for trial in result.trials] == ["complete"] * 5
    assert (trainings.calls, trainings.resumed) == (3, 1), "trial 2 continues in its directory, 3 and 4 are new"
    values = [trial.values["lr"] for trial in result.trials]
    assert len(set(values)) == 5, "no value is drawn twice"
    assert pw.Config(**Run.open(result.trials[2].path).config.model_dump()).lr == values[2]
    assert run_search(pets, tmp_path / "tune", 5).trials == result.trials and trainings.calls == 3


def test_trial_zero_has_a_value_outside_of_the_usual_range(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace()
    result = run_search(pets, tmp_path / "tune", 1, preset="tutorial", search=("weight_decay",))
    assert result.trials[0].values == {"weight_decay": 0.0} and result.best_config == result.config


def test_a_kill_before_the_first_trial(
    pets: pw.DatasetIndex, tmp_path: Path, replace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    def kill(_: object) -> None:
        raise KeyboardInterrupt

    replace()
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", kill)
        with pytest.raises(KeyboardInterrupt):
            run_search(pets, tmp_path / "tune", 1)
    result = run_search(pets, tmp_path / "tune", 1)
    assert [trial.outcome for trial in result.trials] == ["complete"], "its values wait for the next process"
    assert result.trials[0].values == {"lr": 0.003, "weight_decay": 0.01}


def test_a_trial_that_fails_does_not_end_the_search(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace(stop_at(2, error=TrainingDivergedError("the loss became nan")))
    result = run_search(pets, tmp_path / "tune", 3)
    assert [trial.outcome for trial in result.trials] == ["complete", "failed", "complete"]
    assert result.trials[1].fault == "the loss became nan" and result.trials[1].miou is None
    assert "the loss became nan" in (result.path / "trials.csv").read_text()


def test_a_fault_of_the_first_trial_ends_the_search(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace(stop_at(1, error=ConfigError("memory does not suffice")))
    with pytest.raises(ConfigError, match="memory does not suffice"):
        run_search(pets, tmp_path / "tune", 3)


def test_the_time_limit(pets: pw.DatasetIndex, tmp_path: Path, replace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replace()
    clock = itertools.count(0, 10)  # each trial takes ten seconds
    monkeypatch.setattr(study, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    assert len(run_search(pets, tmp_path / "tune", 9, max_seconds=35).trials) == 3
    assert len(run_search(pets, tmp_path / "tune", 9, max_seconds=35).trials) == 3, "the time of all calls counts"
    assert len(run_search(pets, tmp_path / "tune", 9, max_seconds=40).trials) == 4


def test_other_settings_need_another_directory(pets: pw.DatasetIndex, tmp_path: Path, replace: Any) -> None:
    replace()
    out = tmp_path / "tune"
    run_search(pets, out, 1)
    with pytest.raises(ConfigError, match="started with another `epochs`"):
        run_search(pets, out, 1, epochs=9)
    with pytest.raises(ConfigError, match="started with another `search`"):
        run_search(pets, out, 1, search=("lr",))
    machine = {"num_workers": 1, "precision": "auto", "sample_predictions": 2, "cache_images": False}
    assert len(run_search(pets, out, 1, **machine).trials) == 1, "settings of the machine can change"
    lock = lock_file(out / "study.json", exclusive=True)
    assert lock is not None
    with lock, pytest.raises(RunError, match="another process is searching"):
        run_search(pets, out, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match="not an empty directory"):
        run_search(pets, tmp_path / "full", 1)
    with pytest.raises(ConfigError, match="`trials` must be 1 or more"):
        run_search(pets, tmp_path / "none", 0)


def test_a_search_of_a_version_without_muon_continues_with_adamw(
    pets: pw.DatasetIndex, tmp_path: Path, replace: Any
) -> None:
    replace()
    out = tmp_path / "tune"
    run_search(pets, out, 1, optimizer="adamw")
    stored = json.loads((out / "study.json").read_text())
    del stored["config"]["optimizer"]
    (out / "study.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match="started with another `optimizer`"):
        run_search(pets, out, 2, optimizer="muon")
    assert len(run_search(pets, out, 2, optimizer="adamw").trials) == 2


def test_without_optuna(pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs optuna; run pip install 'pixelwise\[tune\]'"):
        run_search(pets, tmp_path / "tune", 1)


@pytest.mark.integration
def test_trials_are_runs(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    result = run_search(pets, tmp_path / "tune", 2, epochs=1, search=("lr", "image_size"))
    assert [trial.outcome for trial in result.trials] == ["complete", "complete"]
    for trial in result.trials:
        run = pw.Run.open(trial.path)
        assert (run.config.lr, run.config.image_size) == (trial.values["lr"], trial.values["image_size"])
        assert pw.evaluate(run, pets, "val", device="cpu").metrics.mean_iou == trial.miou
    assert result.val_images == len([row for row in (result.trials[0].path / "split.csv").read_text().splitlines()
                                     if "val" in row])  # fmt: skip
