"""An ensemble: several models of the same data set whose probabilities are averaged."""

from collections.abc import Sequence

from torch import Tensor, nn

from pixelwise.errors import RunError
from pixelwise.models.config import ModelConfig
from pixelwise.models.model import SegmentationModel

_EQUAL_FIELDS = (
    "classes", "size", "view", "scale", "task", "bit_depth", "pixel_range", "band_ranges", "nodata",
)  # fmt: skip
"""Fields of `ModelConfig` that all models of an ensemble share, because they have the same inputs and outputs."""


class SegmentationEnsemble(nn.Module):
    """Models that predict together. The probability of a class is the mean of the models' probabilities.

    Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep ensembles".

    Args:
        models: one or more models with equal classes and equal inputs.

    Attributes:
        config: the configuration of the first model, with temperature 1 and without metrics.

    Raises:
        RunError: The models differ in a field of `_EQUAL_FIELDS`, or in their number of channels.

    >>> import torch
    >>> from pixelwise.models.model import create_model
    >>> models = [create_model("mobilenetv3_small_050", encoder_weights="none") for _ in range(2)]
    >>> tuple(SegmentationEnsemble(models)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape)
    (1, 2, 64, 64)
    """

    config: ModelConfig

    def __init__(self, models: Sequence[SegmentationModel]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.config = models[0].config.model_copy(update={"metrics": {}, "temperature": 1.0})
        for model in models[1:]:
            for name in _EQUAL_FIELDS:
                if getattr(model.config, name) != getattr(self.config, name):
                    raise RunError(f"the models of the ensemble differ in `{name}`; load them one by one")
            if len(model.config.mean) != len(self.config.mean):
                raise RunError("the models of the ensemble differ in their number of channels; load them one by one")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits whose probabilities are the means of the models' probabilities.

        The logits of each model are divided by its temperature first.

        Args:
            images: (N, channels, H, W) uint8 in [0, 255].

        Returns:
            (N, C, H, W) float32.
        """
        total = self._probabilities(self.models[0], images)
        for model in self.models[1:]:
            total += self._probabilities(model, images)
        return self.config.task.inverse_activate(total / len(self.models))

    def _probabilities(self, model: nn.Module, images: Tensor) -> Tensor:
        assert isinstance(model, SegmentationModel)
        return self.config.task.activate(model(images).float() / model.config.temperature)
