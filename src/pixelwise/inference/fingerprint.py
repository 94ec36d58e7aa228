"""The hash that identifies a model in the marks of its predictions."""

import hashlib

import torch

from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.model import SegmentationModel


def fingerprint(model: SegmentationModel | SegmentationEnsemble, options: str = "") -> str:
    """Return a hash of everything that determines the masks of an image.

    Args:
        model: the model. Its weights and its configuration count, without its metrics.
        options: the options of the predictor, see `Predictor.options`.
    """
    hashed = hashlib.blake2b(options.encode(), digest_size=16)
    for part in model.modules():
        if isinstance(part, SegmentationModel):
            hashed.update(part.config.model_dump_json(exclude={"metrics"}).encode())
    for name, tensor in model.state_dict().items():
        hashed.update(name.encode())
        hashed.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy())
    return hashed.hexdigest()
