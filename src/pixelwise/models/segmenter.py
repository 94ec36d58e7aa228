"""The whole model: uint8 photos in, logits out; and its two files, model.safetensors and model.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixelwise.config import Config
from pixelwise.data.records import MaskEncoding, Reading
from pixelwise.errors import ConfigError, RunError, unknown_name
from pixelwise.models.decoders import DECODERS
from pixelwise.models.encoder import Encoder, Padding, check_encoder, check_sizes
from pixelwise.models.memory import FeatureMemory
from pixelwise.models.weights import EncoderWeights, load_encoder_weights

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"


class ModelCard(BaseModel):
    """Everything needed to build the model again and to feed it: what model.json holds.

    `mean` and `std` are on the scale 0..255, one a channel: (red, green, blue), or a TIFF's bands; `bits` is how many
    of 16 bits a channel photos make use of (see `read_image`); `size` is the side that photos are resized to;
    `palette` has one (red, green, blue) in 0..255 a class; `multilabel` says that a pixel can be of several classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bits: int = 16
    multilabel: bool = False
    encoder: str
    layers: tuple[str, ...] | None
    padding: Padding
    decoder: str
    metrics: dict[str, float | None] = {}


def classify(logits: Tensor, multilabel: bool) -> Tensor:
    """What logits say of each pixel: (..., C, H, W) float → (..., H, W) uint8, the index of the likeliest class.

    Multi-label: (..., C, H, W) uint8, 1 for each class that is likelier there than not.

    >>> classify(torch.tensor([[[2.0]], [[3.0]]]), multilabel=False)
    tensor([[1]], dtype=torch.uint8)
    """
    return ((logits > 0) if multilabel else logits.argmax(-3)).to(torch.uint8)


class Segmenter(nn.Module):
    """Normalise ▸ encode ▸ decode ▸ logits.

    Args:
        card: how to build it.
        weights: the encoder's pretrained tensors by timm's names, or None to start at random.

    `forward` takes (N, 3, H, W) uint8 RGB in [0, 255], or as many channels as `card.mean` has, and gives (N, C, H, W)
    float logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: ModelCard, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.card = card
        self.memory: FeatureMemory | None = None
        # Not in the weights file: the card holds them, and a thing is stored once.
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1), persistent=False)
        self.encoder = Encoder(card.encoder, card.layers, card.padding, card.size, weights, len(card.mean))
        self.decoder = DECODERS[card.decoder](self.encoder.channels, len(card.classes))
        # Convolutions run faster with channels last, on CPUs in bfloat16 twice so.
        self.to(memory_format=torch.channels_last)

    def encode(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) uint8 RGB in [0, 255] → the encoder's features (N, c_i, h_i, w_i), shallow to deep."""
        return self.encoder((images.to(self.mean.dtype) - self.mean) / self.std)

    def remember_features(self) -> None:
        """While training on a CPU, encode each picture once; for a frozen encoder, and photos that at most flip."""
        self.memory = FeatureMemory(self.encode)

    def forward(self, images: Tensor) -> Tensor:
        memory = self.memory if self.training and images.device.type == "cpu" else None
        features = self.encode(images) if memory is None else memory(images)
        return self.decoder(features, (images.shape[-2], images.shape[-1]))

    def normalise_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise pixels by these from now on, one a channel on the scale 0..255."""
        self.card = self.card.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        self.mean.copy_(torch.tensor(self.card.mean).view(1, -1, 1, 1))
        self.std.copy_(torch.tensor(self.card.std).view(1, -1, 1, 1))

    @staticmethod
    def build(
        config: Config,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        reading: Reading | None = None,
    ) -> "Segmenter":
        """A new model of a config's encoder and decoder, with its pretrained encoder weights.

        `reading` says which photos it will see: how many channels, whether multi-label; None for RGB and one class a
        pixel. For photos that are not RGB, `normalise_by` has to say how, from the data.
        """
        reading = reading or Reading(MaskEncoding("shapes"))
        channels = reading.channels
        check_encoder(config.encoder)
        check_sizes(config.encoder, config.size, config.whole_size)
        source = load_encoder_weights(config.encoder, config.encoder_weights)
        pixels = source if config.pixels == "encoder" else EncoderWeights(None, mean=(0.0,) * 3, std=(255.0,) * 3)
        if channels != 3:
            pixels = EncoderWeights(None, mean=(127.5,) * channels, std=(127.5,) * channels)
        card = ModelCard(
            classes=classes,
            palette=palette,
            size=config.whole_size,
            mean=pixels.mean,
            std=pixels.std,
            bits=reading.bits,
            multilabel=reading.multilabel,
            encoder=config.encoder,
            layers=config.layers,
            padding=config.padding,
            decoder=config.decoder,
        )
        model = Segmenter(card, source.tensors)
        if config.freeze_encoder:
            model.encoder.freeze()
        elif source.tensors is not None:
            model.encoder.fine_tune()
        return model

    def save(self, folder: Path, metrics: dict[str, float | None] | None = None) -> None:
        """Write model.safetensors and model.json into a folder, each in one step."""
        card = self.card.model_copy(update={"metrics": metrics or {}})
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / f"{WEIGHTS_FILE}.part")
        (folder / f"{CARD_FILE}.part").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / f"{WEIGHTS_FILE}.part").replace(folder / WEIGHTS_FILE)
        (folder / f"{CARD_FILE}.part").replace(folder / CARD_FILE)

    @staticmethod
    def load(folder: Path) -> "Segmenter":
        """Build the model that `save` wrote, in evaluation mode; RunError names the file that is missing or broken."""
        try:
            card = ModelCard.model_validate_json((folder / CARD_FILE).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS_FILE)
        except FileNotFoundError as error:
            raise RunError(f"{error.filename or folder}: no model here; train one with pixelwise train") from None
        except ValidationError as error:
            finding = error.errors()[0]
            what = ".".join(map(str, finding["loc"])) or CARD_FILE
            raise RunError(f"{folder}: the model cannot be read ({what}: {finding['msg']})") from None
        except (OSError, UnicodeDecodeError, SafetensorError) as error:
            raise RunError(f"{folder}: the model cannot be read ({str(error).splitlines()[0]})") from None
        if card.decoder not in DECODERS:
            raise RunError(f"{folder / CARD_FILE}: {unknown_name('decoder', card.decoder, DECODERS)}")
        try:
            model = Segmenter(card)
        except ConfigError as error:
            raise RunError(f"{folder / CARD_FILE}: {error}") from None
        own = {name: tensor.shape for name, tensor in model.state_dict().items()}
        if own != {name: tensor.shape for name, tensor in tensors.items()}:
            raise RunError(f"{folder / WEIGHTS_FILE}: not the weights of the model that {CARD_FILE} describes")
        model.load_state_dict(tensors)
        return model.eval()
