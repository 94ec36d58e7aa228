"""Callbacks: the registry, the order of events, drawings that fail, and early stopping."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

import pixelwise as pw
from pixelwise.errors import ConfigError
from pixelwise.models.decoders import DECODERS
from pixelwise.runs.metrics_file import Row
from pixelwise.training.callbacks import CALLBACKS, DEFAULT_CALLBACKS, Callback, EarlyStopping, register_callback
from pixelwise.training.callbacks.base import is_drawing_epoch
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL, files_with_times

WITH_DRAWINGS: dict[str, Any] = SMALL | {"epochs": 1, "defaults": True, "sample_predictions": 1}


class Events(Callback):
    """Records the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_train_start(self, state: TrainState) -> None:
        self.calls.append(f"train start {state.epoch}")

    def on_epoch_start(self, state: TrainState) -> None:
        self.calls.append(f"epoch start {state.epoch}")

    def on_step_end(self, state: TrainState) -> None:
        assert state.loss is not None and state.loss.ndim == 0 and not state.loss.requires_grad
        self.calls.append(f"step {state.step}")

    def on_epoch_end(self, state: TrainState) -> None:
        self.calls.append(f"epoch end {state.epoch}")

    def on_train_end(self, state: TrainState) -> None:
        self.calls.append(f"train end {state.epoch}")

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        self.calls.append(f"exception {type(error).__name__}")


@pytest.mark.integration
class TestTraining:
    def test_the_order_of_events(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        events = Events()
        pw.train(pets, tmp_path / "run", callbacks=[events], **SMALL | {"epochs": 2})
        steps = [call for call in events.calls if call.startswith("step")]
        per_epoch = len(steps) // 2
        assert steps == [f"step {number + 1}" for number in range(2 * per_epoch)] and per_epoch > 1
        assert events.calls == [
            "train start 0",
            "epoch start 0", *steps[:per_epoch], "epoch end 1",
            "epoch start 1", *steps[per_epoch:], "epoch end 2",
            "train end 2",
        ]  # fmt: skip

    def test_callbacks_add_to_the_defaults(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        events = Events()
        others = [name for name in CALLBACKS if name not in DEFAULT_CALLBACKS]
        run = pw.train(pets, tmp_path / "run", callbacks=[*others, events], **WITH_DRAWINGS)
        assert others and run.config.callbacks == tuple(others)
        assert events.calls[-1] == "train end 1"
        for name in ("history.png", "architecture.png", "samples.gif", "metrics.csv", "model.safetensors"):
            assert (run.path / name).is_file(), name

    def test_a_failing_callback_stops_the_training(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class Failing(Callback):
            def on_step_end(self, state: TrainState) -> None:
                raise ValueError("my callback is wrong")

        events = Events()
        with pytest.raises(ValueError, match="my callback is wrong"):
            pw.train(pets, tmp_path / "run", callbacks=[events, Failing()], **SMALL)
        assert events.calls == ["train start 0", "epoch start 0", "step 1", "exception ValueError"]

    def test_an_interrupt_reaches_callbacks(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class Interrupting(Callback):
            def on_exception(self, state: TrainState, error: BaseException) -> None:
                raise RuntimeError("a second error")

            def on_epoch_start(self, state: TrainState) -> None:
                raise KeyboardInterrupt

        events = Events()
        with pytest.raises(KeyboardInterrupt):
            pw.train(pets, tmp_path / "run", callbacks=[Interrupting(), events], **SMALL)
        assert events.calls == ["train start 0", "exception KeyboardInterrupt"]

    @pytest.mark.parametrize("when", ["on_step_end", "on_epoch_end"])
    def test_should_stop_ends_after_the_epoch(self, pets: pw.DatasetIndex, tmp_path: Path, when: str) -> None:
        def stop(state: TrainState) -> None:
            state.should_stop = True

        callback, events = Callback(), Events()
        setattr(callback, when, stop)
        run = pw.train(pets, tmp_path / "run", callbacks=[callback, events], **SMALL)
        assert len(run.read_metrics()) == 1
        assert events.calls[-2:] == ["epoch end 1", "train end 1"]
        # It can be continued.
        assert len(pw.train(pets, run.path, resume=True, defaults=False).read_metrics()) == 4

    def test_early_stopping_by_name(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        spec = {"name": "early_stopping", "patience": 1, "min_delta": 0.9}
        run = pw.train(pets, tmp_path / "run", callbacks=[spec], **SMALL)
        assert run.config.callbacks == (spec,)
        # The first epoch exceeds no earlier one; the second one is no improvement.
        assert len(run.read_metrics()) == 2
        resumed = pw.train(pets, run.path, resume=True, callbacks=[spec], defaults=False)
        assert len(resumed.read_metrics()) == 2 and resumed.config.callbacks == (spec,)

    @pytest.mark.parametrize(
        ("failing", "drawings"),
        [
            (["sample_predictions.prediction_grid"], ["samples/epoch_000.png", "samples/epoch_001.png"]),
            (
                [
                    "sample_predictions.read_image_and_mask",
                    "history.plot_history",
                    "architecture.draw_architecture",
                ],
                ["samples", "history.png", "architecture.png"],
            ),
        ],
        ids=["samples", "all"],
    )
    def test_a_drawing_that_fails_is_a_warning(
        self,
        pets: pw.DatasetIndex,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        failing: list[str],
        drawings: list[str],
    ) -> None:
        class Mode(Callback):
            def on_train_start(self, state: TrainState) -> None:
                modes.append(state.model.training)

        def fail(*_: object, **__: object) -> None:
            raise OSError("no space left")

        modes: list[bool] = []
        for function in failing:
            monkeypatch.setattr(f"pixelwise.training.callbacks.{function}", fail)
        names = ["sample_predictions"] if len(failing) == 1 else DEFAULT_CALLBACKS
        run = pw.train(pets, tmp_path / "run", callbacks=[*names, Mode()], **WITH_DRAWINGS | {"defaults": False})
        warnings = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
        assert warnings == {f"{drawing}: not drawn (OSError: no space left)" for drawing in drawings}
        assert (run.path / "model.safetensors").is_file() and len(run.read_metrics()) == 1
        assert modes == [True], "the model is in training mode again"

    def test_a_decoder_without_stages(
        self, pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class LastFeature(nn.Module):
            """A 1x1 convolution of the deepest feature: it has neither `stages` nor `skips`."""

            def __init__(self, in_channels: Sequence[int], classes: int) -> None:
                super().__init__()
                self.head = nn.Conv2d(in_channels[-1], classes, 1)

            def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
                return nn.functional.interpolate(self.head(features[-1]), size)

        DECODERS.register("last-feature", LastFeature)
        try:
            run = pw.train(pets, tmp_path / "run", decoder="last-feature", **WITH_DRAWINGS)
        finally:
            DECODERS.unregister("last-feature")
        assert (run.path / "architecture.png").is_file()
        assert not any("not drawn" in message for message in caplog.messages)


@pytest.mark.integration
class TestDrawings:
    """Epochs after which images are drawn."""

    def test_powers_of_two_and_the_last_and_best_epoch(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plots: list[int] = []
        monkeypatch.setattr(
            "pixelwise.training.callbacks.history.plot_history", lambda rows, *args, **kwargs: plots.append(len(rows))
        )
        run = pw.train(
            pets, tmp_path / "run", callbacks=["sample_predictions", "history_plot"], **SMALL | {"epochs": 7}
        )
        scores = [row["val_miou"] or 0.0 for row in run.read_metrics()]
        best = scores.index(max(scores)) + 1
        assert [path.name for path in run.sample_images(7)] == [
            f"epoch_{epoch:03d}.png" for epoch in sorted({0, 1, 2, 4, 7, best})
        ]
        assert plots == [1, 2, 4, 7]

    def test_a_long_training_has_few(self) -> None:
        assert sum(map(is_drawing_epoch, range(1000))) == 11
        assert not is_drawing_epoch(200) and is_drawing_epoch(128)

    def test_an_interrupt_leaves_the_best_model_and_its_drawings(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class InterruptStep(Callback):
            def on_step_end(self, state: TrainState) -> None:
                if state.epoch == 3:
                    raise KeyboardInterrupt

        run_path = tmp_path / "run"
        names = ["sample_predictions", "history_plot"]
        with pytest.raises(KeyboardInterrupt):
            pw.train(pets, run_path, callbacks=[*names, InterruptStep()], **SMALL)
        run = pw.Run.open(run_path)
        scores = [row["val_miou"] or 0.0 for row in run.read_metrics()]
        assert len(scores) == 3
        best = scores.index(max(scores)) + 1
        config = pw.Predictor.load(run_path).config
        assert config.metrics["epoch"] == best and config.temperature != 1.0
        assert run.sample_image(best).exists() and run.history_image.exists() and run.samples_animation.exists()
        # It continues, and the drawings are replaced by those of the complete training.
        resumed = pw.train(pets, run_path, resume=True, callbacks=names, defaults=False)
        assert len(resumed.read_metrics()) == 4 and resumed.sample_image(4).exists()


@pytest.mark.integration
class TestLength:
    def test_patience_is_early_stopping(
        self, pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = SMALL | {"epochs": 30, "lr": 1e-9, "encoder_training": "none"}
        run = pw.train(pets, tmp_path / "run", patience=2, **settings)
        scores = [row["val_miou"] or 0.0 for row in run.read_metrics()]
        assert len(scores) == scores.index(max(scores)) + 1 + 2 < 30
        before = files_with_times(run.path)
        with caplog.at_level("INFO", logger="pixelwise"):
            resumed = pw.train(pets, run.path, resume=True, defaults=False)
        assert len(resumed.read_metrics()) == len(scores), "the patience is over after a resume too"
        assert f"{run.path}: stopped after epoch {len(scores)}, because its patience is over" in caplog.text
        assert files_with_times(run.path) == before
        longer = pw.train(pets, run.path, resume=True, patience=3, defaults=False)
        assert len(longer.read_metrics()) > len(scores)

    def test_a_time_budget(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        settings = {name: value for name, value in SMALL.items() if name != "epochs"}
        run = pw.train(pets, tmp_path / "run", time_budget="2s", **settings)
        rows = run.read_metrics()
        assert run.config.time_budget == 2.0 and rows[-1]["val_miou"] is not None
        assert [row["epoch"] for row in rows] == [*range(1, len(rows) + 1)]
        assert (run.path / "model.safetensors").exists()
        with pytest.raises(ConfigError, match="its length is a time, so `epochs` has no effect; set `time_budget`"):
            pw.train(pets, run.path, resume=True, epochs=99)
        with pytest.raises(ConfigError, match="`epochs` and `time_budget` are two ways to set the length"):
            pw.train(pets, tmp_path / "other", time_budget=2, **SMALL)

    def test_a_time_budget_that_is_spent_before_the_training(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        settings = {name: value for name, value in SMALL.items() if name != "epochs"}
        run = pw.train(pets, tmp_path / "run", time_budget=60, spent_seconds=100, **settings)
        (row,) = run.read_metrics()
        assert row["step"] == 1 and row["val_miou"] is not None
        assert pw.train(pets, run.path, resume=True).read_metrics() == [row], "the run is complete"


class TestRegistry:
    def test_the_defaults_are_registered(self) -> None:
        assert set(DEFAULT_CALLBACKS) < set(CALLBACKS)

    @pytest.mark.parametrize("name", list(CALLBACKS))
    def test_every_callback_can_be_built(self, name: str) -> None:
        assert isinstance(CALLBACKS.build(name)(), Callback)

    def test_a_callback_can_be_registered(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        made: list[Events] = []

        @register_callback("events")
        def make() -> Events:
            made.append(Events())
            return made[-1]

        try:
            pw.train(pets, tmp_path / "run", callbacks=["events"], **SMALL | {"epochs": 1})
        finally:
            CALLBACKS.unregister("events")
        assert made[0].calls[-1] == "train end 1"

    def test_parameters_are_checked(self) -> None:
        with pytest.raises(ConfigError, match=r"callback 'early_stopping': patience: .*greater than or equal to 1"):
            CALLBACKS.parse({"name": "early_stopping", "patience": 0})


def state_with(scores: list[float | None]) -> TrainState:
    rows: list[Row] = [{"val_loss": 0.5, "val_miou": score} for score in scores]
    return TrainState(run=None, data=None, model=None, sample_records=[], history=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([], 0), ([0.1], 1), ([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([None, 0.0], 2), ([None], 1), ([0.0, None], 1)],
    ids=str,
)
def test_the_best_epoch_is_the_first_of_the_highest(scores: list[float | None], best: int) -> None:
    assert state_with(scores).best_epoch == best


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "stops"),
    [
        ([0.1], 1, 0.0, False),
        ([0.1, 0.1], 1, 0.0, True),
        ([0.1, 0.11], 1, 0.0, False),
        ([0.1, 0.11], 1, 0.05, True),
        ([0.1, 0.14, 0.18], 2, 0.05, False),
        ([0.3, 0.2, 0.25], 2, 0.0, True),
        ([0.3, 0.2, 0.25], 3, 0.0, False),
        ([None, None], 1, 0.0, True),
        ([None, 0.0], 1, 0.0, False),
    ],
    ids=str,
)
def test_early_stopping(scores: list[float | None], patience: int, min_delta: float, stops: bool) -> None:
    state = state_with(scores)
    EarlyStopping(patience, min_delta).on_epoch_end(state)
    assert state.should_stop is stops


@pytest.mark.parametrize(
    ("scores", "stops"), [([None, None, 0.3], False), ([None, 0.3, None, None], False), ([None, 0.3, None, 0.2], True)]
)
def test_early_stopping_waits_for_a_validation(scores: list[float | None], stops: bool) -> None:
    """None is an epoch without a validation, and the patience is two epochs."""
    state = state_with(scores)
    for row, score in zip(state.history, scores, strict=True):
        row["val_loss"] = None if score is None else 0.5
    EarlyStopping(patience=2).on_epoch_end(state)
    assert state.should_stop is stops
