"""The decoder of TensorFlow's tutorial: pix2pix upsampling blocks with skip connections."""

from collections.abc import Sequence

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelwise.models.decoders.base import DECODERS, Channels, resize_bilinear
from pixelwise.registry import Params


class Pix2PixParams(Params):
    """Parameters of `Pix2PixDecoder`."""

    min_filters: Channels = Field(64, description="Filters of the shallowest block. They double with depth.")
    max_filters: Channels = Field(512, description="Maximum number of filters of a block.")


@DECODERS.register("pix2pix", params=Pix2PixParams)
class Pix2PixDecoder(nn.Module):
    """Upsampling blocks with skip concatenation, as in TensorFlow's segmentation tutorial.

    Each block is a 3x3 transposed convolution of stride 2 without bias, batch norm and ReLU, to the size of the next
    skip, which is then concatenated. The last layer is a transposed convolution to the logits. Isola et al. 2017,
    "Image-to-Image Translation with Conditional Adversarial Networks";
    https://www.tensorflow.org/tutorials/images/segmentation.

    Args:
        in_channels: number of channels of each feature, from shallow to deep.
        classes: number of logits per pixel.
        min_filters: filters of the shallowest block. They double with depth.
        max_filters: maximum number of filters of a block.

    >>> decoder = Pix2PixDecoder([96, 144, 192, 576, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    4660323
    """

    def __init__(self, in_channels: Sequence[int], classes: int, min_filters: int = 64, max_filters: int = 512) -> None:
        super().__init__()
        *skip_channels, channels = in_channels
        self.skips = tuple(reversed(range(len(skip_channels))))
        self.stages = nn.ModuleList()
        for index in self.skips:
            filters = min(min_filters * 2**index, max_filters)
            self.stages.append(Pix2PixBlock(channels, filters))
            channels = filters + skip_channels[index]
        self.logits = nn.ConvTranspose2d(channels, classes, kernel_size=3, stride=2, padding=1)
        nn.init.xavier_uniform_(self.logits.weight)
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (N, classes, *size) from features (N, in_channels[i], h_i, w_i)."""
        *skips, x = features
        inputs = [x]
        for block, skip in zip(self.stages, reversed(skips), strict=True):
            inputs = [block(inputs, skip.shape[-2:]), skip]
        return _conv_transpose(self.logits, inputs, size)


class Pix2PixBlock(nn.Module):
    """A transposed convolution of stride 2 that starts with normal(0, 0.02), batch norm with Keras' epsilon, ReLU.

    Args:
        in_channels: number of channels of all inputs together.
        out_channels: number of output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, 0.02)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, inputs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return (N, out_channels, *size).

        Args:
            inputs: tensors (N, c_i, h, w) whose channels add up to `in_channels`.
            size: height and width of the output in pixels.
        """
        return F.relu(self.norm(_conv_transpose(self.conv, inputs, size)), inplace=True)


def _conv_transpose(conv: nn.ConvTranspose2d, inputs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Return the transposed convolution of the concatenated inputs, upsampled by two to exactly `size`.

    A convolution is linear in its channels, so each input is convolved alone and the results are added. This saves
    the copy of a concatenation, and the gradient of a skip that comes from a frozen encoder. If `size` is not twice
    the input's size (or one less), the output is interpolated.
    """
    height, width = inputs[0].shape[-2:]
    doubles = 2 * height - 1 <= size[0] <= 2 * height and 2 * width - 1 <= size[1] <= 2 * width
    target = size if doubles else (2 * height, 2 * width)
    padding = [target[0] - 2 * height + 1, target[1] - 2 * width + 1]
    weights = conv.weight.split([tensor.shape[1] for tensor in inputs])
    x = F.conv_transpose2d(inputs[0], weights[0], conv.bias, stride=2, padding=1, output_padding=padding)
    for tensor, weight in zip(inputs[1:], weights[1:], strict=True):
        x += F.conv_transpose2d(tensor, weight, stride=2, padding=1, output_padding=padding)
    return x if doubles else resize_bilinear(x, size)
