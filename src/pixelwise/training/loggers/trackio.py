"""The logger for Trackio."""

import io
import secrets
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from pixelwise.errors import ConfigError, first_line
from pixelwise.registry import Params
from pixelwise.training.loggers._run_ids import read_id, write_id
from pixelwise.training.loggers.base import RunLogger, name_images
from pixelwise.training.state import TrainState


class TrackioParams(Params):
    """Parameters of `TrackioLogger`.

    Attributes:
        project: name of the project.
    """

    project: str = "pixelwise"


class TrackioLogger(RunLogger):
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
        super().__init__(stored or f"{state.run.path.name}-{secrets.token_hex(3)}")
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

    def log_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings.

        Args:
            settings: the settings by name.
        """
        self.experiment.config.update(settings)

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

        for name, image in name_images(key, images):
            self.experiment.log({name: trackio.Image(image)}, step)

    def finalize(self, status: str) -> None:
        """Finish the run.

        Args:
            status: "success", "failed" or "aborted". It is ignored.
        """
        import trackio
        from trackio import context_vars

        with redirect_stdout(io.StringIO()):
            if context_vars.current_run.get() is self.experiment:
                trackio.finish()  # so that Trackio does not finish it again, and print, when the process ends
            else:
                self.experiment.finish()
