"""The interface of loggers. It is that of Lightning Fabric, so that every Fabric or Lightning logger can be used."""

from abc import abstractmethod
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning_fabric.loggers.logger import Logger

__all__ = ["ImageLogger", "Logger", "RunLogger", "name_images"]


@runtime_checkable
class ImageLogger(Protocol):
    """A logger with the method `log_image`, which Lightning's loggers for images also have."""

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Record images.

        Args:
            key: the name of the series of images.
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of completed epochs.
        """


class RunLogger(Logger):
    """The base class of the loggers of this package. It logs one run.

    Args:
        name: the name of the run.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """Return the name of the run."""
        return self._name

    @property
    def version(self) -> int | str:
        """Return 0, because a run has only one version. Tracking servers have an identifier instead."""
        return 0

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write the settings.

        Args:
            params: the settings by name.
            args: ignored.
            kwargs: ignored.
        """
        self.log_settings(vars(params) if isinstance(params, Namespace) else params)

    @abstractmethod
    def log_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings.

        Args:
            settings: the settings by name.
        """


def name_images(key: str, images: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return pairs (name, image). One image has the name `key`, several have the names key/0, key/1, …

    >>> name_images("samples", ["cat", "dog"])
    [('samples/0', 'cat'), ('samples/1', 'dog')]
    """
    return [(key if len(images) == 1 else f"{key}/{index}", image) for index, image in enumerate(images)]
