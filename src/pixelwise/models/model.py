"""The segmentation model, which computes logits from uint8 images. `model_files` writes and reads its files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pixelwise.data.input_size import HeightWidth, InputSize, View
from pixelwise.data.mask_format import MaskFormat, ObjectScale
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.task import MULTICLASS, Task, get_task
from pixelwise.errors import ConfigError, RunError, first_finding
from pixelwise.models.config import ModelConfig, Padding
from pixelwise.models.decoders import DECODERS, build_decoder
from pixelwise.models.encoder import Encoder
from pixelwise.models.feature_cache import FeatureCache
from pixelwise.models.hub_methods import HubMethods
from pixelwise.models.licenses import check_license, part_licenses
from pixelwise.models.model_files import CONFIG_FILE, WEIGHTS_FILE, read_model_files, write_model_files
from pixelwise.models.pretrained import license_of, load_pretrained_weights
from pixelwise.models.timm_models import check_encoder, default_blocks
from pixelwise.models.weight_limit import limit_weights
from pixelwise.palette import Palette, default_palette
from pixelwise.registry import ComponentSpec

_MAX_UNSAVED_BYTES = 512 << 20
_MAX_UNSAVED_FACTOR = 16
"""Maximum size of the weights of a model that is built to load a file: the greater of this number of bytes and this
multiple of the saved weights.

The saved weights can be smaller than the encoder that is built first, because `encoder_layers` cuts it and its
classifier is not saved. Without a limit, a small file from an untrusted source could name an encoder of gigabytes.
"""


class SegmentationModel(HubMethods, nn.Module):
    """Normalization, encoder and decoder in one module.

    Args:
        config: the configuration of the model.
        weights: the pretrained tensors of the encoder by their names in timm, or None for random weights.

    Attributes:
        config: the configuration, which is stored with the weights.
        encoder: an `Encoder`.
        decoder: a `Decoder`.
        feature_cache: see `enable_feature_cache`. None if it is not enabled.
        mean: (1, channels, 1, 1) float, the mean of pixel values on the scale 0..255.
        std: (1, channels, 1, 1) float, the standard deviation of pixel values on the scale 0..255.

    Raises:
        ConfigError: The encoder or the decoder cannot be built.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.feature_cache: FeatureCache | None = None
        # They are not saved with the weights, because the configuration has them already.
        self.register_buffer("mean", torch.tensor(config.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, -1, 1, 1), persistent=False)
        self.encoder = Encoder(
            config.encoder, config.encoder_layers, config.encoder_padding, config.size, weights, len(config.mean)
        )
        self.decoder = build_decoder(config.decoder, self.encoder.out_channels, len(config.classes))
        # Convolutions are faster with channels last. On CPUs in bfloat16 they are twice as fast.
        self.to(memory_format=torch.channels_last)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's features, from shallow to deep.

        Args:
            images: (N, channels, H, W) uint8 in [0, 255].

        Returns:
            Features (N, c_i, h_i, w_i) float.
        """
        return self.encoder((images.to(self.mean.dtype) - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images.

        Args:
            images: (N, channels, H, W) uint8 in [0, 255], with the number of channels of `mean`. 3 channels are RGB.

        Returns:
            (N, C, H, W) float, one logit per class.
        """
        cache = self.feature_cache if self.training and images.device.type == "cpu" else None
        features = self.encode(images) if cache is None else cache(images)
        return self.decoder(features, (images.shape[-2], images.shape[-1]))

    def enable_feature_cache(self) -> None:
        """Cache the features of each image during training on a CPU.

        Enable it only if the encoder is frozen and the augmentation yields few versions of an image, for example flips.
        """
        self.feature_cache = FeatureCache(self.encode)

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace the mean and the standard deviation of the normalization (pixel − mean) / std.

        Args:
            mean: one value per channel on the scale 0..255.
            std: one value per channel on the scale 0..255.
        """
        self.config = self.config.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        self.mean.copy_(torch.tensor(self.config.mean).view(1, -1, 1, 1))
        self.std.copy_(torch.tensor(self.config.std).view(1, -1, 1, 1))

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature, a divisor of the logits, see `ModelConfig`. `save` stores it.

        Args:
            temperature: a number in [0.01, 100]. 1 changes nothing.
        """
        self.config = self.config.model_copy(update={"temperature": temperature})

    def set_data_facts(self, mask_format: MaskFormat | None, object_scale: ObjectScale | None) -> None:
        """Set the properties of the training data that predictions use, see `ModelConfig`. `save` stores them.

        Args:
            mask_format: the values of the masks.
            object_scale: the size of the objects.
        """
        self.config = self.config.model_copy(update={"mask_format": mask_format, "object_scale": object_scale})

    def save(
        self,
        path: Path,
        metrics: dict[str, float | None] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write model.safetensors and model.json into a directory, see `write_model_files`.

        Args:
            path: an existing directory.
            metrics: metrics of these weights by name, stored in the configuration.
            weights: an earlier `state_dict()` of this model. None for its present weights.
        """
        config = self.config.model_copy(update={"metrics": metrics or {}})
        write_model_files(path, config, weights or self.state_dict())

    @staticmethod
    def load(path: Path) -> "SegmentationModel":
        """Build the model that `save` wrote, in evaluation mode.

        model.json may be missing if model.safetensors has format 2.

        Args:
            path: the directory of the files, or a .safetensors file of format 2 under any name. A model.json beside
                such a file is not read.

        Raises:
            RunError: A file is missing or damaged, or the two files do not belong to the same model.
        """
        config, tensors = read_model_files(path)
        saved = sum(tensor.nbytes for tensor in tensors.values())
        try:
            check_encoder(config.encoder)  # refuses names for which timm would use the network
            # The random initial weights are replaced below, so they must not advance the random state of the process.
            with (
                torch.random.fork_rng(devices=[]),
                limit_weights(max(_MAX_UNSAVED_BYTES, _MAX_UNSAVED_FACTOR * saved)),
            ):
                model = SegmentationModel(config)
        except ConfigError as error:
            raise RunError(f"{path if path.is_file() else path / CONFIG_FILE}: {error}") from None
        expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            weights = path if path.is_file() else path / WEIGHTS_FILE
            raise RunError(f"{weights}: not the weights of the model that its configuration describes")
        model.load_state_dict(tensors)
        return model.eval()


def create_model(
    encoder: str = "tf_efficientnet_lite0",
    decoder: ComponentSpec = "fpn",
    classes: int | Sequence[str] = 2,
    *,
    palette: Palette | None = None,
    image_size: InputSize = 128,
    encoder_weights: ComponentSpec | None = None,
    accept_license: str | None = None,
    encoder_layers: Sequence[str] | None = None,
    encoder_padding: Padding = "native",
    normalization: Literal["encoder", "unit"] = "encoder",
    channels: int = 3,
    pixel_scale: PixelScale | None = None,
    task: str | Task = MULTICLASS,
    view: View = "whole",
    scale: float = 1.0,
    window_factor: int = 1,
) -> SegmentationModel:
    """Return a new model with a pretrained encoder and a random decoder.

    Args:
        encoder: timm's name of the encoder, see `list_encoders`.
        decoder: a name in `list_decoders`, or {"name": name, parameter: value, …}.
        classes: the names of the classes in index order, or the number of classes.
        palette: one (red, green, blue) in 0..255 per class. None selects the default palette.
        image_size: the size to which images are resized for prediction: the side of a square in pixels, or a height and
            a width.
        encoder_weights: "bundled", "hub", "none", or the path of a safetensors file. None selects "bundled" if an
            installed package contains the weights, else "hub".
        accept_license: the license of the encoder's weights that you agree to. Needed only if it restricts their use.
        encoder_layers: names of the layers whose outputs are the features, from shallow to deep. None selects the
            encoder's own stages, or four evenly spaced blocks of a plain transformer, such as ViT.
        encoder_padding: "native", or "same" for TensorFlow's padding.
        normalization: "encoder" for the normalization of the encoder's pretraining, "unit" to scale pixels to [0, 1].
            It has no effect if `channels` is not 3. Pixels are then scaled to [-1, 1].
        channels: number of channels of the images.
        pixel_scale: the conversion of the pixels of image files to 8 bits. None for the default of `PixelScale`.
        task: "multiclass" or "multilabel", or a `Task`.
        view: "whole" to resize whole images to `image_size`, "tiles" for windows of this size, see `ModelConfig`.
        scale: working pixels per image pixel for the view "tiles".
        window_factor: see `ModelConfig`.

    Returns:
        The model in training mode. All its weights are trainable.

    Raises:
        ConfigError: A name is unknown, the parts do not fit together, or the license of the encoder's weights restricts
            their use and is not `accept_license`.
        WeightsError: The encoder's weights are missing or do not fit.

    >>> model = create_model("mobilenetv3_small_050", classes=("cat", "rest"), encoder_weights="none")
    >>> tuple(model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape)
    (1, 2, 64, 64)
    """
    check_encoder(encoder)
    names = tuple(f"class {index}" for index in range(classes)) if isinstance(classes, int) else tuple(classes)
    weights_license = license_of(encoder, encoder_weights)
    check_license(encoder, weights_license, accept_license)
    source = load_pretrained_weights(encoder, encoder_weights)
    mean, std = source.mean, source.std
    if channels != 3:
        mean, std = (127.5,) * channels, (127.5,) * channels
    elif normalization == "unit":
        mean, std = (0.0,) * 3, (255.0,) * 3
    try:
        config = ModelConfig(
            classes=names,
            palette=palette or default_palette(len(names)),
            size=image_size if isinstance(image_size, int) else HeightWidth(*image_size),
            view=view,
            scale=scale,
            window_factor=window_factor,
            mean=mean,
            std=std,
            **asdict(pixel_scale or PixelScale()),
            task=get_task(task),
            encoder=encoder,
            encoder_layers=default_blocks(encoder, image_size) if encoder_layers is None else tuple(encoder_layers),
            encoder_padding=encoder_padding,
            decoder=DECODERS.normalize(decoder),
            licenses=part_licenses(weights_license, decoder),
        )
    except ValidationError as error:
        raise ConfigError(f"this model cannot be made ({first_finding(error)})") from None
    return SegmentationModel(config, source.tensors)
