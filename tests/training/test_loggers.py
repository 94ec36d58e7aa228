"""Loggers: the registry, metrics.csv, TensorBoard events, and Fabric's own loggers."""

from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning_fabric.loggers.csv_logs import CSVLogger as FabricCSVLogger
from lightning_fabric.loggers.logger import Logger
from PIL import Image

import pixelwise as pw
from pixelwise.errors import ConfigError
from pixelwise.runs.run_dir import Run
from pixelwise.training import extensions
from pixelwise.training.callbacks import Callback
from pixelwise.training.loggers import LOGGERS, ImageLogger, default_loggers, register_logger
from pixelwise.training.loggers.csv import CSVLogger, metric_columns
from pixelwise.training.loggers.tensorboard import tag_of
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL
from tests.training.test_trackers import TRACKERS

SHORT: dict[str, Any] = SMALL | {"epochs": 2}


class MemoryLogger(Logger):
    """Keeps what it gets."""

    def __init__(self, fail_at: str = "") -> None:
        self.fail_at = fail_at
        self.calls: list[str] = []
        self.params: dict[str, Any] = {}
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "memory"

    @property
    def version(self) -> int:
        return 0

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fail_at:
            raise OSError("the server does not answer")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        assert isinstance(params, dict)
        self.params = params
        self._called("log_hyperparams")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, metrics))
        self._called("log_metrics")

    def finalize(self, status: str) -> None:
        self._called(f"finalize {status}")


@pytest.fixture
def state(pets: pw.DatasetIndex, tmp_path: Path) -> TrainState:
    run = Run(tmp_path / "run", pw.Config(encoder_weights="none"))
    run.start()
    return TrainState(run, pets, model=None, sample_records=[])  # type: ignore[arg-type]


@pytest.mark.integration
class TestTraining:
    def test_a_logger_gets_settings_and_rows(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        log = MemoryLogger()
        run = pw.train(pets, tmp_path / "run", loggers=[log], **SHORT)
        assert log.params == run.config.model_dump(mode="json")
        rows = run.read_metrics()
        assert [step for step, _ in log.rows] == [1, 2]
        for (_, metrics), row in zip(log.rows, rows, strict=True):
            assert metrics == pytest.approx({name: value for name, value in row.items() if value is not None})
        assert log.calls == ["log_hyperparams", "log_metrics", "log_metrics", "finalize success"]

    @pytest.mark.parametrize("fail_at", ["log_hyperparams", "log_metrics"])
    def test_a_logger_that_raises_ends_the_training(self, pets: pw.DatasetIndex, tmp_path: Path, fail_at: str) -> None:
        class Errors(Callback):
            def on_exception(self, state: TrainState, error: BaseException) -> None:
                errors.append(error)

        errors: list[BaseException] = []
        failing, other = MemoryLogger(fail_at), MemoryLogger()
        with pytest.raises(OSError, match="does not answer") as caught:
            pw.train(pets, tmp_path / "run", loggers=[other, failing], callbacks=[Errors()], **SHORT)
        assert errors == [caught.value]
        assert failing.calls[-2:] == [fail_at, "finalize failed"] and other.calls[-1] == "finalize failed"
        # The run can be resumed, and its lock is released.
        assert len(pw.train(pets, tmp_path / "run", resume=True, defaults=False).read_metrics()) == 2

    def test_a_failing_finalize_does_not_hide_the_error(
        self, pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Interrupted(Callback):
            def on_epoch_end(self, state: TrainState) -> None:
                raise KeyboardInterrupt

        first, second = MemoryLogger("finalize aborted"), MemoryLogger()
        with pytest.raises(KeyboardInterrupt):
            pw.train(pets, tmp_path / "run", loggers=[first, second], callbacks=[Interrupted()], **SHORT)
        assert second.calls[-1] == "finalize aborted"
        assert any("finalize" in message and "does not answer" in message for message in caplog.messages)

    def test_a_logger_of_fabric(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        log = FabricCSVLogger(tmp_path / "fabric", name="pets", version=0, flush_logs_every_n_steps=1)
        pw.train(pets, tmp_path / "run", loggers=[log], **SHORT)
        lines = (tmp_path / "fabric" / "pets" / "version_0" / "metrics.csv").read_text().splitlines()
        assert len(lines) == 3 and "val_loss" in lines[0]

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, for MLflow's own queries
    def test_every_registered_logger_beside_the_default_callbacks(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        settings = {**SHORT, "epochs": 1, "defaults": True, "sample_predictions": 1}
        # Trackio reads the place of its store once, when it is imported: test_trackers.py has its test.
        names = [
            name for name in LOGGERS if name != "trackio" and find_spec(LOGGERS[name].traits.get("requires", "re"))
        ]
        specs: list[Any] = [{"name": "wandb", "mode": "offline"} if name == "wandb" else name for name in names]
        run = pw.train(pets, tmp_path / "run", loggers=specs, **settings)
        assert (run.path / "metrics.csv").is_file() and (run.path / "samples.gif").is_file()
        assert len(list(run.tensorboard_folder.iterdir())) == 1
        if "wandb" in names:
            pytest.importorskip("wandb").teardown()  # ends its service process

    def test_a_registered_logger_with_parameters_is_recorded_and_resumed(
        self, pets: pw.DatasetIndex, tmp_path: Path
    ) -> None:
        made: list[MemoryLogger] = []

        def make(state: TrainState) -> MemoryLogger:
            made.append(MemoryLogger())
            return made[-1]

        register_logger("memory", make)
        try:
            run = pw.train(pets, tmp_path / "run", loggers=["memory"], **SHORT)
            assert run.config.loggers == (*default_loggers(), "memory")
            pw.train(pets, tmp_path / "run", resume=True, epochs=3, defaults=False)
        finally:
            LOGGERS.unregister("memory")
        assert [step for log in made for step, _ in log.rows] == [1, 2, 3]

    def test_metrics_csv_is_always_written(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        config = pw.Config(**{name: SHORT[name] for name in pw.Config.model_fields if name in SHORT}, loggers=())
        run = pw.train(pets, tmp_path / "run", config, defaults=False)
        assert len(run.read_metrics()) == 2 and not run.tensorboard_folder.exists()


class TestRegistry:
    @pytest.mark.parametrize("name", [name for name in LOGGERS if name not in TRACKERS])
    def test_every_logger_follows_the_protocol(self, name: str, state: TrainState) -> None:
        log = LOGGERS.build(name)(state)
        assert isinstance(log, Logger)
        assert isinstance(log.name, str) and log.version is not None
        log.log_hyperparams(state.run.config.model_dump(mode="json"))
        log.log_metrics({"epoch": 1.0, "step": 4.0, "val_miou": 0.5}, step=1)
        if isinstance(log, ImageLogger):
            log.log_image("samples", [np.zeros((4, 4, 3), np.uint8)], step=1)
        log.save()
        log.finalize("success")

    def test_tensorboard_is_optional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pixelwise.training.loggers.find_spec", lambda name: None)
        monkeypatch.setattr(extensions, "find_spec", lambda name: None)
        assert default_loggers() == ("csv",)
        with pytest.raises(ConfigError, match=r"`loggers`: 'tensorboard' .*pip install"):
            extensions.check_specs(pw.Config(encoder_weights="none", loggers=("tensorboard",)))


class TestCSV:
    def row(self, epoch: int) -> dict[str, float]:
        return {"epoch": epoch, "step": 2 * epoch, "train_loss": 0.1 * epoch, "val_miou": 1 / 3}

    def test_columns(self, state: TrainState) -> None:
        log = CSVLogger(state)
        log.log_metrics(self.row(1), step=1)
        lines = (state.run.path / "metrics.csv").read_text().splitlines()
        assert lines[0] == (
            "epoch,step,seconds,train_seconds,train_loss,val_loss,val_accuracy,val_miou,iou_pet,iou_background,iou_border,"
            "images_per_second,learning_rate"
        )
        assert lines[1] == "1,2,,,0.1,,,0.3333333333333333,,,,,"
        assert lines[0] == ",".join(metric_columns(state.data.classes))

    def test_a_column_of_its_own(self, state: TrainState) -> None:
        log = CSVLogger(state)
        for epoch in (1, 2):
            log.log_metrics(self.row(epoch) | {"boundary_iou": 0.25}, step=epoch)
        assert [row["boundary_iou"] for row in state.run.read_metrics()] == [0.25, 0.25]

    def test_a_resume_replaces_rows_after_the_checkpoint(self, state: TrainState) -> None:
        first = CSVLogger(state)
        for epoch in (1, 2, 3):
            first.log_metrics(self.row(epoch), step=epoch)
        before = state.run.read_metrics()
        CSVLogger(state).log_metrics(self.row(2) | {"train_loss": 9.0}, step=2)
        rows = state.run.read_metrics()
        assert rows[0] == before[0] and len(rows) == 2 and rows[1]["train_loss"] == 9.0


@pytest.fixture(scope="module")
def events(tiny_run: pw.Run) -> Iterator[Any]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    loaded = accumulator.EventAccumulator(str(tiny_run.tensorboard_folder))
    loaded.Reload()
    yield loaded


class TestTensorBoard:
    def test_it_has_the_rows(self, events: Any, tiny_run: pw.Run) -> None:
        rows = tiny_run.read_metrics()
        names = {name for name, value in rows[0].items() if value is not None} - {"epoch", "step"}
        assert set(events.Tags()["scalars"]) == set(map(tag_of, names))
        assert {"loss/train", "loss/val", "miou/val", "iou/pet"} <= set(events.Tags()["scalars"])
        for name in names:
            series = [(event.step, event.value) for event in events.Scalars(tag_of(name))]
            expected = [(int(row["epoch"] or 0), row[name]) for row in rows if row[name] is not None]
            assert [step for step, _ in series] == [step for step, _ in expected]
            assert [value for _, value in series] == pytest.approx([value for _, value in expected], rel=1e-6)

    def test_it_has_the_sample_drawings(self, events: Any, tiny_run: pw.Run, tmp_path: Path) -> None:
        images = events.Images("samples")
        assert [event.step for event in images] == [1, 2]
        (tmp_path / "stored.png").write_bytes(images[-1].encoded_image_string)
        with Image.open(tmp_path / "stored.png") as stored, Image.open(tiny_run.sample_image(2)) as drawn:
            assert stored.width == 600 < drawn.width, "a copy at less than half of the size"
            expected = drawn.convert("RGB").resize(stored.size, Image.Resampling.LANCZOS)
            assert np.abs(np.array(stored.convert("RGB"), int) - np.array(expected, int)).mean() < 1

    def test_it_has_the_settings(self, events: Any) -> None:
        (tag,) = events.Tags()["tensors"]
        text = events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        assert tag.startswith("config") and "image_size: 64" in text
