"""Test-time augmentation: the mean of the predictions of an image and of its mirror image."""

from collections.abc import Callable

from torch import Tensor

from pixelwise.models.config import ModelConfig


class FlipAverage:
    """A network whose probabilities are the mean of those of an image and of its mirror image.

    It takes twice as long as the network alone. It is wrong for classes that differ between left and right, such as the
    left and the right lung.

    Args:
        network: a function of images (N, channels, H, W) uint8. It returns logits (N, C, H, W).
        config: the configuration of the model.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], config: ModelConfig) -> None:
        self.network, self.task, self.temperature = network, config.task, config.temperature

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits of the mean probabilities, (N, C, H, W) float32.

        Args:
            images: (N, channels, H, W) uint8.
        """
        probabilities = self._probabilities(images) + self._probabilities(images.flip(-1)).flip(-1)
        return self.task.inverse_activate(probabilities / 2) * self.temperature

    def _probabilities(self, images: Tensor) -> Tensor:
        return self.task.activate(self.network(images).float() / self.temperature)
