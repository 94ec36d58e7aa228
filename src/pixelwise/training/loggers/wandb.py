"""The logger for Weights & Biases."""

from collections.abc import Sequence
from typing import Any, Literal

from pixelwise.errors import ConfigError, first_line
from pixelwise.registry import Params
from pixelwise.training.loggers._run_ids import read_id, write_id
from pixelwise.training.loggers.base import RunLogger
from pixelwise.training.state import TrainState


class WandbParams(Params):
    """Parameters of `WandbLogger`.

    Attributes:
        project: name of the project.
        entity: user or team. By default that of the login.
        mode: "online", "offline" (files only, for `wandb sync` later) or "disabled". By default that of WANDB_MODE, or
            "online".
    """

    project: str = "pixelwise"
    entity: str | None = None
    mode: Literal["online", "offline", "disabled"] | None = None


class WandbLogger(RunLogger):
    """Write settings, metrics and images to Weights & Biases. A resumed training continues its run.

    Its files are in the folder wandb/ of the run directory.

    Args:
        state: the state of the training.
        project: see `WandbParams`.
        entity: see `WandbParams`.
        mode: see `WandbParams`.

    Raises:
        ConfigError: There is no login, or the server does not respond.
    """

    def __init__(
        self,
        state: TrainState,
        project: str = "pixelwise",
        entity: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        # Imported here because it takes seconds and is an optional dependency.
        import wandb

        super().__init__(state.run.path.name)
        try:
            self.experiment = wandb.init(
                project=project,
                entity=entity,
                name=self._name,
                dir=str(state.run.path),
                id=read_id(state.run, "wandb"),
                resume="allow",
                mode=mode,
                reinit="create_new",  # other runs of the process, for example of a user's own, stay open
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:  # no login, or the server does not respond
            fault = first_line(error).removesuffix(".")
            raise ConfigError(f"`loggers`: wandb: {fault}; or set its parameter mode to offline") from None
        write_id(state.run, "wandb", self.experiment.id)
        # A resumed training can log an epoch again. W&B's own steps cannot repeat, so the epoch is the axis.
        self.experiment.define_metric("*", step_metric="epoch")

    @property
    def version(self) -> str:
        """Return the identifier of the run on the server."""
        return str(self.experiment.id)

    def log_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings.

        Args:
            settings: the settings by name.
        """
        self.experiment.config.update(settings, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write metrics.

        Args:
            metrics: values by name.
            step: the number of the epoch.
        """
        self.experiment.log(metrics | ({} if step is None else {"epoch": step}))

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Write images.

        Args:
            key: the name of the series of images.
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of the epoch.
        """
        import wandb

        self.experiment.log({key: [wandb.Image(image) for image in images], "epoch": step or 0})

    def finalize(self, status: str) -> None:
        """Finish the run.

        Args:
            status: "success", "failed" or "aborted". The run is marked as failed for the last two.
        """
        self.experiment.finish(exit_code=0 if status == "success" else 1)
