"""The logger for TensorBoard: settings, metrics and images as events."""

from collections.abc import Sequence
from typing import Any

import yaml

from pixelwise.training.loggers.base import RunLogger, name_images
from pixelwise.training.state import TrainState

_TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "val_accuracy": "accuracy/val",
    "val_miou": "miou/val",
    "seconds": "time/seconds",
    "train_seconds": "time/train_seconds",
    "images_per_second": "time/images_per_second",
    "learning_rate": "learning_rate",
}
"""Column of metrics.csv → tag. TensorBoard groups tags by the part before the "/"."""


def tag_of(name: str) -> str:
    """Return the TensorBoard tag of a metric. The IoU of each class is in the group "iou".

    >>> tag_of("val_loss"), tag_of("iou_cat"), tag_of("boundary_iou")
    ('loss/val', 'iou/cat', 'boundary_iou')
    """
    return _TAGS.get(name) or (f"iou/{name.removeprefix('iou_')}" if name.startswith("iou_") else name)


class TensorBoardLogger(RunLogger):
    """Write events to tensorboard/ in the run directory. After a resume, the events of repeated epochs are replaced.

    Args:
        state: the state of the training, with its run directory and epoch.
    """

    def __init__(self, state: TrainState) -> None:
        # Imported here because it takes a second and is an optional dependency.
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(state.run.path.name)
        self._folder = state.run.tensorboard_folder
        self.writer = SummaryWriter(str(self._folder), purge_step=state.epoch + 1)

    @property
    def log_dir(self) -> str:
        """Return the directory of the events."""
        return str(self._folder)

    def log_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings as a text event with the tag "config".

        Args:
            settings: the settings by name.
        """
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        self.writer.add_text("config", f"```\n{text}```")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write one scalar for each metric.

        Args:
            metrics: values by name, see `tag_of`. "epoch" and "step" are left out, because they are positions on the
                x-axis.
            step: the number of the epoch.
        """
        for name, value in metrics.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(tag_of(name), value, step)
        self.save()

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None) -> None:
        """Write images.

        Args:
            key: the tag of the image. Several images have the tags key/0, key/1, …
            images: (H, W, 3) uint8 RGB arrays.
            step: the number of the epoch.
        """
        for name, image in name_images(key, images):
            self.writer.add_image(name, image, step, dataformats="HWC")
        self.save()

    def save(self) -> None:
        """Flush buffered events to the file."""
        self.writer.flush()

    def finalize(self, status: str) -> None:
        """Close the file of events.

        Args:
            status: "success", "failed" or "aborted". It is ignored.
        """
        self.writer.close()
