"""The interface of loggers: that of Lightning Fabric, so that every Fabric or Lightning logger can be used."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning_fabric.loggers.logger import Logger

__all__ = ["ImageLogger", "Logger"]


@runtime_checkable
class ImageLogger(Protocol):
    """A logger that accepts images, by the method that Lightning's loggers have for it."""

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Record images.

        Args:
            key: the name of the series.
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of the epoch.
        """
