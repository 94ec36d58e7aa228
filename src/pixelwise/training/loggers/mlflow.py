"""The logger for MLflow."""

import time
from collections.abc import Sequence
from typing import Any

from pixelwise.errors import ConfigError, first_line
from pixelwise.registry import Params
from pixelwise.training.loggers._run_ids import read_id, write_id
from pixelwise.training.loggers.base import RunLogger
from pixelwise.training.state import TrainState

_STATUS = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}
"""Status in Lightning → status in MLflow."""

_MAX_PARAM = 500
"""Maximum number of characters of a setting. Servers of old versions do not accept more."""


class MLflowParams(Params):
    """Parameters of `MLflowLogger`.

    Attributes:
        experiment: name of the experiment. It is created if it does not exist.
        tracking_uri: address of the server or store. By default that of MLFLOW_TRACKING_URI, or MLflow's local store.
    """

    experiment: str = "pixelwise"
    tracking_uri: str | None = None


class MLflowLogger(RunLogger):
    """Write settings, metrics and images to MLflow. A resumed training continues its MLflow run.

    Args:
        state: the state of the training.
        experiment: see `MLflowParams`.
        tracking_uri: see `MLflowParams`.

    Raises:
        ConfigError: The server does not respond, or the store cannot be opened.
    """

    def __init__(self, state: TrainState, experiment: str = "pixelwise", tracking_uri: str | None = None) -> None:
        # Imported here because it takes a second and is an optional dependency.
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        super().__init__(state.run.path.name)
        try:
            self.client = MlflowClient(tracking_uri)
            self.run_id = self._open_run(read_id(state.run, "mlflow"), experiment)
        except MlflowException as error:
            raise ConfigError(f"`loggers`: mlflow: {first_line(error)}; check its tracking_uri") from None
        write_id(state.run, "mlflow", self.run_id)

    def _open_run(self, stored: str | None, experiment: str) -> str:
        """Continue a run or create one. Return its identifier."""
        if stored is not None:
            self.client.update_run(stored, status="RUNNING")
            return stored
        existing = self.client.get_experiment_by_name(experiment)
        identifier = self.client.create_experiment(experiment) if existing is None else existing.experiment_id
        return str(self.client.create_run(identifier, run_name=self._name).info.run_id)

    @property
    def version(self) -> str:
        """Return MLflow's identifier of the run."""
        return self.run_id

    def log_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings. Those that are in the MLflow run already, after a resume, are not changed.

        Args:
            settings: the settings by name.
        """
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        new = [Param(name, str(value)[:_MAX_PARAM]) for name, value in settings.items() if name not in known]
        self.client.log_batch(self.run_id, params=new)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write metrics.

        Args:
            metrics: values by name.
            step: the number of the epoch.
        """
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        values = [Metric(name, float(value), now, step or 0) for name, value in metrics.items()]
        self.client.log_batch(self.run_id, metrics=values)

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Write images as artifacts.

        Args:
            key: the folder of the images.
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of the epoch.
        """
        for index, image in enumerate(images):
            self.client.log_image(self.run_id, image, f"{key}/epoch_{step or 0:03d}_{index}.png")

    def finalize(self, status: str) -> None:
        """Mark the run as finished, failed or killed.

        Args:
            status: "success", "failed" or "aborted".
        """
        self.client.set_terminated(self.run_id, _STATUS.get(status, "FINISHED"))
