"""TODO: module."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.models.decoders.base import _resized


class Pix2PixDecoder(nn.Module):
    """The tutorial's decoder: pix2pix upsample blocks with skip concatenation.

    Each block is a 3x3 transposed convolution of stride 2 without bias, batch norm and ReLU, to the size of the
    next skip, which is then concatenated; the last is a transposed convolution to the logits. Filters double
    with depth from 64 to at most 512. Isola et al. 2017, "Image-to-Image Translation with Conditional
    Adversarial Networks"; https://www.tensorflow.org/tutorials/images/segmentation.

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.

    >>> decoder = Pix2PixDecoder([96, 144, 192, 576, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    4660323
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        *skips, width = channels
        self.skips = tuple(reversed(range(len(skips))))
        self.stages = nn.ModuleList()
        for level in reversed(range(len(skips))):
            filters = min(64 * 2**level, 512)
            self.stages.append(Pix2PixBlock(width, filters))
            width = filters + skips[level]
        self.logits = nn.ConvTranspose2d(width, classes, kernel_size=3, stride=2, padding=1)
        nn.init.xavier_uniform_(self.logits.weight)
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        *skips, x = features
        joined = [x]
        for block, skip in zip(self.stages, reversed(skips), strict=True):
            joined = [block(joined, skip.shape[-2:]), skip]
        return _transposed(self.logits, joined, size)


class Pix2PixBlock(nn.Module):
    """A transposed convolution of stride 2 that starts at normal(0, 0.02), batch norm (as Keras sets it), ReLU."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, filters, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, 0.02)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, joined: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Tensors (N, c_i, h, w) whose channels add up to `inputs` → (N, filters, *size)."""
        return F.relu(self.norm(_transposed(self.conv, joined, size)), inplace=True)


def _transposed(conv: nn.ConvTranspose2d, joined: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """The convolution of the concatenated tensors, upsampled by two to exactly `size`: odd sizes too.

    A convolution is linear in its channels, so each tensor passes it by itself and the results are added. That
    saves copying, and where a skip comes from a frozen encoder, the half of the gradient that nobody needs.
    Encoders whose levels do not halve get the last bit by interpolation.
    """
    height, width = joined[0].shape[-2:]
    halves = 2 * height - 1 <= size[0] <= 2 * height and 2 * width - 1 <= size[1] <= 2 * width
    wanted = size if halves else (2 * height, 2 * width)
    padding = [wanted[0] - 2 * height + 1, wanted[1] - 2 * width + 1]
    weights = conv.weight.split([tensor.shape[1] for tensor in joined])
    x = F.conv_transpose2d(joined[0], weights[0], conv.bias, stride=2, padding=1, output_padding=padding)
    for tensor, weight in zip(joined[1:], weights[1:], strict=True):
        x += F.conv_transpose2d(tensor, weight, stride=2, padding=1, output_padding=padding)
    return x if halves else _resized(x, size)
