"""Fold batch norms into the convolutions before them, so that predictions take less time."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pixelwise.data.input_size import to_pair
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.merged_norm import split_norms
from pixelwise.models.model import SegmentationModel
from pixelwise.models.norm_pairs import MAX_DIFFERENCE, find_pairs
from pixelwise.models.timm_models import has_fixed_input_size

_SIDE = 128
"""Maximum side in pixels of the image with which folding is checked, unless an encoder accepts one size only."""


class FoldedModel:
    """A model for predictions whose batch norms are folded while its weights do not change, see `fold_batchnorms`.

    After a change of the weights in place, for example by a training step, the model itself computes the outputs.

    Args:
        model: a model on the CPU in evaluation mode.
    """

    def __init__(self, model: SegmentationModel | SegmentationEnsemble) -> None:
        self._model: nn.Module = model
        self._tensors = [*model.parameters(), *model.buffers()]
        is_versioned = not any(tensor.is_inference() for tensor in self._tensors)
        self._folded = fold_batchnorms(model, _make_images(model)) if is_versioned else model
        self._version = self._compute_version() if is_versioned else 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return the output of the model.

        Args:
            images: (N, channels, H, W) uint8 in [0, 255].

        Returns:
            (N, C, H, W) float32 logits.
        """
        if self._folded is not self._model and self._compute_version() != self._version:
            self._folded = self._model
        output: Tensor = self._folded(images)
        return output

    def _compute_version(self) -> int:
        """Return a number that increases with each change of a tensor in place."""
        return sum(tensor._version for tensor in self._tensors)


def _make_images(model: SegmentationModel | SegmentationEnsemble) -> Tensor:
    """Return a random image for a model, (1, channels, height, width) uint8. It is small if the encoders allow it."""
    encoders = {part.config.encoder for part in model.modules() if isinstance(part, SegmentationModel)}
    height, width = to_pair(model.config.size)
    if not any(map(has_fixed_input_size, encoders)):
        height, width = min(height, _SIDE), min(width, _SIDE)
    shape = (1, len(model.config.mean), height, width)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def fold_batchnorms(model: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of a model for predictions in which batch norms are part of the convolutions before them.

    A batch norm in evaluation mode is a linear function of each channel. Its scale and shift become a part of the
    weights and the bias of the convolution whose output it takes (Jacob et al. 2018, "Quantization and Training of
    Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3.2). One forward pass finds the pairs,
    and another one compares the outputs.

    Args:
        model: a model in evaluation mode. It is not changed. Its other weights are shared with the copy.
        example: an input of the model, on its device.

    Returns:
        The copy. If there is no pair, or the outputs differ by more than rounding, the model itself.
    """
    with torch.no_grad():
        pairs, expected = find_pairs(model, lambda: model(example))
        if not pairs:
            return model
        shared: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        folded = copy.deepcopy(model, shared)
        split_norms(folded)
        for conv_name, norm_name in pairs:
            _fold(folded, conv_name, norm_name)
        difference = (folded(example) - expected).abs().max()
        is_equal = bool(difference <= MAX_DIFFERENCE * expected.abs().max())
    return folded if is_equal else model


def _fold(model: nn.Module, conv_name: str, norm_name: str) -> None:
    """Fold a batch norm into a convolution, in place. The activation in the batch norm, if any, replaces it."""
    conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    # The channels-last layout of the weights must stay, because it is the faster one.
    conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    parent, _, child = norm_name.rpartition(".")
    act = getattr(norm, "act", None)  # timm's batch norms contain the activation that follows them
    setattr(model.get_submodule(parent), child, act if isinstance(act, nn.Module) else nn.Identity())
