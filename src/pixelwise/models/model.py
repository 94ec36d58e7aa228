"""The whole model: uint8 images in, logits out; and its two files, model.safetensors and model.json."""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixelwise.data.task import MULTICLASS, Task, get_task
from pixelwise.errors import ConfigError, RunError, unknown_name
from pixelwise.models.config import ModelConfig
from pixelwise.models.decoders import DECODERS
from pixelwise.models.encoder import Encoder, Padding, check_encoder, check_sizes
from pixelwise.models.feature_cache import FeatureCache
from pixelwise.models.pretrained import PretrainedWeights, load_pretrained_weights
from pixelwise.palette import Palette, default_palette

WEIGHTS_FILE = "model.safetensors"


CONFIG_FILE = "model.json"


class SegmentationModel(nn.Module):
    """Normalize ▸ encode ▸ decode ▸ logits.

    Args:
        config: how to build it.
        weights: the encoder's pretrained tensors by timm's names, or None to start at random.

    `forward` takes (N, 3, H, W) uint8 RGB in [0, 255], or as many channels as `card.mean` has, and gives (N, C, H, W)
    float logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: ModelConfig, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = card
        self.feature_cache: FeatureCache | None = None
        # Not in the weights file: the card holds them, and a thing is stored once.
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1), persistent=False)
        self.encoder = Encoder(
            card.encoder, card.encoder_layers, card.encoder_padding, card.size, weights, len(card.mean)
        )
        self.decoder = DECODERS[card.decoder](self.encoder.out_channels, len(card.classes))
        # Convolutions run faster with channels last, on CPUs in bfloat16 twice so.
        self.to(memory_format=torch.channels_last)

    def encode(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) uint8 RGB in [0, 255] → the encoder's features (N, c_i, h_i, w_i), shallow to deep."""
        return self.encoder((images.to(self.mean.dtype) - self.mean) / self.std)

    def enable_feature_cache(self) -> None:
        """While training on a CPU, encode each image once; for a frozen encoder, and images that at most flip."""
        self.feature_cache = FeatureCache(self.encode)

    def forward(self, images: Tensor) -> Tensor:
        memory = self.feature_cache if self.training and images.device.type == "cpu" else None
        features = self.encode(images) if memory is None else memory(images)
        return self.decoder(features, (images.shape[-2], images.shape[-1]))

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize pixels by these from now on, one a channel on the scale 0..255."""
        self.config = self.config.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        self.mean.copy_(torch.tensor(self.config.mean).view(1, -1, 1, 1))
        self.std.copy_(torch.tensor(self.config.std).view(1, -1, 1, 1))

    def save(self, folder: Path, metrics: dict[str, float | None] | None = None) -> None:
        """Write model.safetensors and model.json into a folder, each in one step."""
        card = self.config.model_copy(update={"metrics": metrics or {}})
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / f"{WEIGHTS_FILE}.part")
        (folder / f"{CONFIG_FILE}.part").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / f"{WEIGHTS_FILE}.part").replace(folder / WEIGHTS_FILE)
        (folder / f"{CONFIG_FILE}.part").replace(folder / CONFIG_FILE)

    @staticmethod
    def load(folder: Path) -> "SegmentationModel":
        """Build the model that `save` wrote, in evaluation mode; RunError names the file that is missing or broken."""
        try:
            card = ModelConfig.model_validate_json((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS_FILE)
        except FileNotFoundError as error:
            raise RunError(f"{error.filename or folder}: no model here; train one with pixelwise train") from None
        except ValidationError as error:
            finding = error.errors()[0]
            what = ".".join(map(str, finding["loc"])) or CONFIG_FILE
            raise RunError(f"{folder}: the model cannot be read ({what}: {finding['msg']})") from None
        except (OSError, UnicodeDecodeError, SafetensorError) as error:
            raise RunError(f"{folder}: the model cannot be read ({str(error).splitlines()[0]})") from None
        if card.decoder not in DECODERS:
            raise RunError(f"{folder / CONFIG_FILE}: {unknown_name('decoder', card.decoder, DECODERS)}")
        try:
            model = SegmentationModel(card)
        except ConfigError as error:
            raise RunError(f"{folder / CONFIG_FILE}: {error}") from None
        own = {name: tensor.shape for name, tensor in model.state_dict().items()}
        if own != {name: tensor.shape for name, tensor in tensors.items()}:
            raise RunError(f"{folder / WEIGHTS_FILE}: not the weights of the model that {CONFIG_FILE} describes")
        model.load_state_dict(tensors)
        return model.eval()


def create_model(
    encoder: str,
    decoder: str,
    classes: Sequence[str],
    palette: Palette | None = None,
    *,
    size: int = 128,
    predict_size: int | None = None,
    encoder_weights: str = "bundled",
    layers: tuple[str, ...] | None = None,
    padding: Padding = "native",
    pixels: str = "encoder",
    freeze_encoder: bool = False,
    channels: int = 3,
    bits: int = 16,
    task: str | Task = MULTICLASS,
) -> SegmentationModel:
    """Return a new model with its pretrained encoder weights."""
    check_encoder(encoder)
    check_sizes(encoder, size, predict_size or size)
    source = load_pretrained_weights(encoder, encoder_weights)
    normalization = source if pixels == "encoder" else PretrainedWeights(None, mean=(0.0,) * 3, std=(255.0,) * 3)
    if channels != 3:
        normalization = PretrainedWeights(None, mean=(127.5,) * channels, std=(127.5,) * channels)
    card = ModelConfig(
        classes=tuple(classes),
        palette=palette or default_palette(len(classes)),
        size=predict_size or size,
        mean=normalization.mean,
        std=normalization.std,
        bit_depth=bits,
        task=get_task(task),
        encoder=encoder,
        encoder_layers=layers,
        encoder_padding=padding,
        decoder=decoder,
    )
    model = SegmentationModel(card, source.tensors)
    if freeze_encoder:
        model.encoder.freeze()
    elif source.tensors is not None:
        model.encoder.freeze_batchnorm_and_depthwise()
    return model
