"""Loggers of tracking services: what arrives in their stores, and that a resumed training continues its run."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.errors import ConfigError
from pixelwise.training import extensions
from pixelwise.training.extensions import check_specs
from pixelwise.training.loggers import LOGGERS, ImageLogger
from pixelwise.training.loggers._run_ids import FILE, read_id, write_id

TRACKERS = ("mlflow", "wandb", "trackio")
IMAGE = np.full((4, 6, 3), 200, np.uint8)


def takes_images(logger: object) -> bool:
    return isinstance(logger, ImageLogger)


@pytest.fixture
def state(tmp_path: Path) -> Any:
    """Return the parts of a state that loggers use at their construction."""
    (tmp_path / "leaves").mkdir()
    return SimpleNamespace(run=pw.Run(tmp_path / "leaves", pw.Config(epochs=3)), epoch=0)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"`loggers`: '{name}' needs {name}; run pip install 'pixelwise\[{name}\]'"):
        check_specs(pw.Config(loggers=(name,)))


def test_identifiers_are_stored_by_logger(state: Any) -> None:
    assert read_id(state.run, "mlflow") is None
    write_id(state.run, "mlflow", "abc")
    write_id(state.run, "wandb", "def")
    assert json.loads((state.run.path / FILE).read_text()) == {"mlflow": "abc", "wandb": "def"}
    assert read_id(state.run, "mlflow") == "abc"
    (state.run.path / FILE).write_text("damaged")
    assert read_id(state.run, "mlflow") is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, for MLflow's own queries
def test_mlflow(state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # where MLflow writes images
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    build = LOGGERS.build({"name": "mlflow", "experiment": "forest", "tracking_uri": uri})
    logger: Any = build(state)
    assert takes_images(logger)
    logger.log_hyperparams({"lr": 0.003, "loss": {"name": "focal", "gamma": 3}, "epochs": 3})
    logger.log_metrics({"val_miou": 0.5, "epoch": 1}, step=1)
    logger.log_metrics({"val_miou": 0.75, "epoch": 2}, step=2)
    logger.log_image("samples", [IMAGE], step=2)
    assert len(list(tmp_path.rglob("samples/epoch_002_0.png"))) == 1
    logger.finalize("aborted")
    client = logger.client
    assert client.get_run(logger.run_id).info.status == "KILLED"
    resumed: Any = build(state)
    assert resumed.run_id == logger.run_id and resumed.client.get_run(resumed.run_id).info.status == "RUNNING"
    resumed.log_hyperparams({"lr": 0.003, "epochs": 5})  # MLflow refuses other values
    resumed.log_metrics({"val_miou": 0.8}, step=3)
    resumed.finalize("success")
    run = client.get_run(logger.run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "leaves"
    assert run.data.params == {"lr": "0.003", "loss": "{'name': 'focal', 'gamma': 3}", "epochs": "3"}
    history = client.get_metric_history(logger.run_id, "val_miou")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.75), (3, 0.8)]
    assert client.get_experiment(run.info.experiment_id).name == "forest"


@pytest.mark.parametrize("fault", ["No API key configured. Use `wandb login` to log in.", "server is down"])
def test_wandb_without_a_login(fault: str, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def init(**_: Any) -> None:
        raise wandb.errors.UsageError(fault)

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(ConfigError) as error:
        LOGGERS.build("wandb")(state)
    text = fault.removesuffix(".")
    assert str(error.value) == f"`loggers`: wandb: {text}; or set its parameter mode to offline"


def test_trackio_without_a_server(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: Any, **__: Any) -> None:
        raise ValueError("Self-hosted logging requires a write token.\nSee the documentation.")

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    message = r"`loggers`: trackio: Self-hosted logging requires a write token; check TRACKIO_SERVER_URL and"
    with pytest.raises(ConfigError, match=message):
        LOGGERS.build("trackio")(state)


@pytest.mark.slow
def test_wandb_offline(state: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    build = LOGGERS.build({"name": "wandb", "project": "forest", "mode": "offline"})
    logger: Any = build(state)
    assert takes_images(logger)
    logger.log_hyperparams({"lr": 0.003})
    logger.log_metrics({"val_miou": 0.5}, step=1)
    logger.log_metrics({"val_miou": 0.75}, step=2)
    logger.log_image("samples", [IMAGE], step=2)
    assert dict(logger.experiment.config) == {"lr": 0.003}
    assert logger.experiment.summary["val_miou"] == 0.75 and logger.experiment.project == "forest"
    logger.finalize("success")
    (folder,) = (state.run.path / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb")) and list(folder.rglob("samples*.png"))
    assert read_id(state.run, "wandb") == logger.version
    wandb.teardown()  # ends its service process
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_trackio(
    state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("needs trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    build = LOGGERS.build({"name": "trackio", "project": "forest"})
    logger: Any = build(state)
    logger.log_hyperparams({"lr": 0.003})
    logger.log_metrics({"val_miou": 0.5, "step": 7}, step=1)
    logger.log_image("samples", [IMAGE], step=1)
    logger.finalize("success")
    resumed: Any = build(state)
    assert resumed.name == logger.name and logger.name.startswith("leaves-")
    resumed.log_metrics({"val_miou": 0.75}, step=2)
    resumed.finalize("success")
    import trackio

    trackio._cleanup_current_run()  # Trackio calls it when the process ends
    assert capfd.readouterr().out == ""
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("forest", logger.name)
    assert [(row["step"], row["val_miou"]) for row in rows if "val_miou" in row] == [(1, 0.5), (2, 0.75)]
    assert len(list((tmp_path / "trackio").rglob("*.png"))) == 1
