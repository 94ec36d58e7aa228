"""The interface of loggers. It is that of Lightning Fabric, so that every Fabric or Lightning logger can be used."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning_fabric.loggers.logger import Logger

__all__ = ["ImageLogger", "Logger", "settings_by_name"]


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


def settings_by_name(params: dict[str, Any] | Namespace) -> dict[str, Any]:
    """Return the argument of `Logger.log_hyperparams` as a dict.

    >>> settings_by_name(Namespace(lr=0.003))
    {'lr': 0.003}
    """
    return vars(params) if isinstance(params, Namespace) else params
