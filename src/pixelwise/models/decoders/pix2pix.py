"""The decoder of TensorFlow's tutorial: pix2pix upsampling blocks with skip connections."""

from collections.abc import Sequence

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelwise.models.decoders.base import DECODERS, Channels, resize_bilinear
from pixelwise.models.encoder_table import CODE_LICENSE
from pixelwise.registry import Params


class Pix2PixParams(Params):
    """Parameters of `Pix2PixDecoder`."""

    min_filters: Channels = Field(64, description="Filters of the shallowest block. They double with depth.")
    max_filters: Channels = Field(512, description="Maximum number of filters of a block.")


@DECODERS.register("pix2pix", params=Pix2PixParams, license=CODE_LICENSE)
class Pix2PixDecoder(nn.Module):
    """Upsampling blocks with skip concatenation, as in TensorFlow's segmentation tutorial.

    Each block has a 3x3 transposed convolution of stride 2 without bias, batch norm, and ReLU. It upsamples to the size
    of the next skip feature, which is then concatenated. The last layer is a transposed convolution to the logits.

    References: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", and
    https://www.tensorflow.org/tutorials/images/segmentation.

    Args:
        in_channels: number of channels of each encoder feature, from shallow to deep.
        classes: number of logits per pixel.
        min_filters: number of filters of the shallowest block. It doubles with depth.
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
        """Decode features to logits.

        Args:
            features: encoder features (N, in_channels[i], h_i, w_i), from shallow to deep.
            size: height and width of the logits in pixels.

        Returns:
            (N, classes, *size) logits.
        """
        *skips, x = features
        inputs = [x]
        for block, skip in zip(self.stages, reversed(skips), strict=True):
            inputs = [block(inputs, skip.shape[-2:]), skip]
        return _conv_transpose(self.logits, inputs, size)


class Pix2PixBlock(nn.Module):
    """A transposed convolution of stride 2, batch norm, and ReLU.

    The weights of the convolution are initialized from a normal distribution with mean 0 and standard deviation 0.02.
    Batch norm has the epsilon of Keras, 0.001.

    Args:
        in_channels: total number of channels of all inputs.
        out_channels: number of output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, 0.02)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, inputs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Apply the block to the concatenation of the inputs.

        Args:
            inputs: tensors (N, c_i, h, w) whose channels add up to `in_channels`.
            size: height and width of the output in pixels.

        Returns:
            (N, out_channels, *size).
        """
        return F.relu(self.norm(_conv_transpose(self.conv, inputs, size)), inplace=True)


def _conv_transpose(conv: nn.ConvTranspose2d, inputs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Return the transposed convolution of the concatenated inputs, with an output of exactly `size`.

    A convolution is linear in its channels, so each input is convolved alone and the results are added. This saves
    the copy of a concatenation. It also saves the gradient of a skip feature from a frozen encoder. The output is
    twice as high and wide as the input, or one pixel less. For any other `size`, it is interpolated.
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
