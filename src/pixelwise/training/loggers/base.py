"""The interface of loggers. It is that of Lightning Fabric, so that every Fabric or Lightning logger can be used."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning_fabric.loggers.logger import Logger

__all__ = ["ImageLogger", "Logger"]


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
