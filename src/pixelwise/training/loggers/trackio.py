"""The logger for Trackio."""

import io
import secrets
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from lightning_fabric.loggers.logger import Logger

from pixelwise.errors import ConfigError, first_line
from pixelwise.registry import Params
from pixelwise.training.loggers._run_ids import read_id, write_id
from pixelwise.training.loggers.base import settings_by_name
from pixelwise.training.state import TrainState


class TrackioParams(Params):
    """Parameters of `TrackioLogger`.

    Attributes:
        project: name of the project.
    """

    project: str = "pixelwise"


class TrackioLogger(Logger):
    """Write settings, metrics and images to Trackio. A resumed training continues its run.

    Trackio writes to its local store, or to a server that TRACKIO_SERVER_URL or TRACKIO_SPACE_ID names.

    Args:
        state: the state of the training.
        project: see `TrackioParams`.

    Raises:
        ConfigError: The server or the Space cannot be used.
    """

    def __init__(self, state: TrainState, project: str = "pixelwise") -> None:
        # Imported here because it takes seconds and is an optional dependency.
        import trackio

        stored = read_id(state.run, "trackio")
        # Trackio identifies runs by their names, and directories of several projects can have the same name.
        self._name = stored or f"{state.run.path.name}-{secrets.token_hex(3)}"
        write_id(state.run, "trackio", self._name)
        try:
            with redirect_stdout(io.StringIO()):  # it prints how to start its dashboard
                self.experiment = trackio.init(
                    project, self._name, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
                )
        except Exception as error:  # trackio has no base class for the errors of servers, logins and addresses
            fault = first_line(error).removesuffix(".")
            raise ConfigError(
                f"`loggers`: trackio: {fault}; check TRACKIO_SERVER_URL and TRACKIO_SPACE_ID, or remove them"
            ) from None

    @property
    def name(self) -> str:
        """Return the name of the run in Trackio."""
        return self._name

    @property
    def version(self) -> int:
        """Return 0, because a run has only one version."""
        return 0

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write the settings.

        Args:
            params: the settings by name.
            args: ignored.
            kwargs: ignored.
        """
        self.experiment.config.update(settings_by_name(params))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write metrics.

        Args:
            metrics: values by name. "step" is left out, because Trackio has its own.
            step: the number of the epoch.
        """
        self.experiment.log({name: value for name, value in metrics.items() if name != "step"}, step)

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Write images.

        Args:
            key: the name of the series of images.
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of the epoch.
        """
        import trackio

        for index, image in enumerate(images):
            name = key if len(images) == 1 else f"{key}/{index}"
            self.experiment.log({name: trackio.Image(image)}, step)

    def finalize(self, status: str) -> None:
        """Finish the run.

        Args:
            status: "success", "failed" or "aborted". It is ignored.
        """
        with redirect_stdout(io.StringIO()):
            self.experiment.finish()
