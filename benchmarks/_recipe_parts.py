"""Parts of training recipes that pixelwise does not have, for `recipes.py`: they were tried and not kept.

They are connected to `pixelwise.train` as other people's components are: a registered augmentation, a registered
decoder, a loss object and a callback.
"""

import copy
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise.config import DECODER_FIRST_FRACTION, START_SIZE_FRACTION
from pixelwise.data.augmentation_params import CropFlipParams
from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.data.task import MULTICLASS
from pixelwise.data.transforms import RandomResizedCrop
from pixelwise.losses import get_loss
from pixelwise.models.decoders import DECODERS
from pixelwise.models.decoders.fpn import FPNDecoder, FPNParams
from pixelwise.models.encoder_table import CODE_LICENSE
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import ComponentSpec
from pixelwise.training.callbacks import Callback
from pixelwise.training.state import TrainState

NAME = "recipe"
"""Name of the augmentation and of the decoder."""

LATE_FROM = 0.7
"""Fraction of the training after which the loss `late` is added."""

RARE_FRACTION = 0.03
"""A class with a smaller fraction of the pixels is rare. If there is none, the rarest class is."""


@dataclass(frozen=True)
class Parts:
    """The parts of a recipe. By default it has none.

    Attributes:
        start_fraction: fraction of the images, at the start, that have `start_size`.
        average: decay of the moving average of the weights (EMA), or 0.
        alternate_flips: mirror each image in every other epoch, instead of at random.
        views: number of fixed random versions of each image while the encoder is frozen, whose features could be
            cached. 0 for a new version each time.
        rare_crops: probability that a crop holds a pixel of a class that is drawn uniformly from those of its image.
        paste: probability that the pixels of a rare class of another image are pasted.
        edge_weight: additional weight of pixels near the border of a class.
        boundary_head: weight of the loss of a head that detects these pixels, or 0.
        smoothing: label smoothing of the cross-entropy.
        late: a loss that is added after `LATE_FROM` of the training.
        context: add the mean of the deepest feature, after a 1x1 convolution, to this feature.
        dropout: dropout of the channels before the logits.
    """

    start_fraction: float = START_SIZE_FRACTION
    average: float = 0.0
    alternate_flips: bool = False
    views: int = 0
    rare_crops: float = 0.0
    paste: float = 0.0
    edge_weight: float = 0.0
    boundary_head: float = 0.0
    smoothing: float = 0.0
    late: str | None = None
    context: bool = False
    dropout: float = 0.0


class RecipeTraining(Callback):
    """The parts of one training, and a callback that connects them to it.

    Args:
        parts: the parts.
        settings: the fields of `Config`. Augmentation, decoder and loss are replaced if a part changes them.

    Attributes:
        settings: the fields of `Config` with these changes.
        done: fraction of the training that is done.
        models: the model after the last step, and with `Parts.average` the mean model, by name.
    """

    def __init__(self, parts: Parts, settings: dict[str, Any]) -> None:
        self.parts, self.done, self.models = parts, 0.0, dict[str, nn.Module]()
        self.head: Head | None = None
        self.transform: RecipeTransform | None = None
        self._total = 1
        self.settings = dict(settings)
        if parts.alternate_flips or parts.views or parts.rare_crops or parts.paste:
            off = {"flip": 0.0} if parts.alternate_flips else {}
            self.settings["augmentation"] = _parameters(settings.get("augmentation", "crop")) | {"name": NAME} | off
        if parts.boundary_head or parts.context or parts.dropout:
            self.settings["decoder"] = _parameters(settings.get("decoder", "fpn")) | {"name": NAME}
        if parts.boundary_head or parts.edge_weight or parts.smoothing or parts.late:
            self.base_loss = get_loss(settings.get("loss", "cross_entropy"), MULTICLASS)
            self.settings["loss"] = self.loss

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Register the augmentation and the decoder in the block."""

        def build_transform(image_size: Any, **parameters: Any) -> RecipeTransform:
            self.transform = RecipeTransform(AUGMENTATIONS["crop"].component(image_size, **parameters), self)
            return self.transform

        def build_decoder(*arguments: Any, **parameters: Any) -> RecipeDecoder:
            return RecipeDecoder(self.parts, *arguments, **parameters)

        scale = AUGMENTATIONS["crop"].traits["source_scale"]
        AUGMENTATIONS.register(NAME, build_transform, params=CropFlipParams, source_scale=scale)
        DECODERS.register(NAME, build_decoder, params=FPNParams, license=CODE_LICENSE)
        try:
            with patch("pixelwise.training.course.START_SIZE_FRACTION", self.parts.start_fraction):
                yield
        finally:
            AUGMENTATIONS.unregister(NAME)
            DECODERS.unregister(NAME)

    def loss(self, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, see `Loss`."""
        parts, edges = self.parts, find_edges(mask)
        weights = pixel_weights
        if parts.edge_weight:
            weights = (1 if weights is None else weights) * (1 + parts.edge_weight * edges)
        if parts.smoothing:
            target = mask.long().masked_fill(mask == IGNORE_INDEX, -100)
            total = F.cross_entropy(logits.float(), target, label_smoothing=parts.smoothing)
        else:
            total = self.base_loss(logits, mask, weights)
        if parts.late and self.done >= LATE_FROM:
            total = total + get_loss(parts.late, MULTICLASS)(logits, mask, None)
        if self.head is not None and self.head.training:
            found = F.interpolate(self.head.edges.float(), mask.shape[-2:], mode="bilinear")[:, 0]
            error = F.binary_cross_entropy_with_logits(found, edges, reduction="none")
            total = total + parts.boundary_head * (error * (1 + 2 * edges)).mean()
        return total

    def on_train_start(self, state: TrainState) -> None:
        """Find the parts of the model and of the data that belong to the recipe."""
        config, images = state.run.config, state.datasets[0]
        self._total = config.epochs * -(-len(images) // config.batch_size)
        if self.parts.boundary_head:
            self.head = state.model.decoder.logits
        if self.parts.average:
            self.models["average"] = copy.deepcopy(state.model).requires_grad_(False)
        if self.parts.paste:
            self.transform.sources = [images.read(index) for index in range(len(images))]
            self.transform.rare = find_rare(images.class_pixels(len(state.data.classes)))

    @torch.no_grad()
    def on_step_end(self, state: TrainState) -> None:
        """Update the mean model."""
        self.done = state.step / self._total
        if self.parts.average:
            decay = min(self.parts.average, (1 + state.step) / (10 + state.step))
            own = state.model.state_dict()
            for name, value in self.models["average"].state_dict().items():
                if value.is_floating_point():
                    value.lerp_(own[name].to(value.dtype), 1 - decay)

    def on_train_end(self, state: TrainState) -> None:
        """Keep the last model."""
        self.models["last"] = state.model


def _parameters(spec: ComponentSpec) -> dict[str, Any]:
    return {} if isinstance(spec, str) else dict(spec)


def find_edges(mask: Tensor, radius: int = 2) -> Tensor:
    """Return 1.0 for the pixels of (N, H, W) masks that are at most `radius` pixels from another class, else 0.0."""
    values, width = mask[:, None].float(), 2 * radius + 1
    largest = F.max_pool2d(values, width, 1, radius)
    smallest = -F.max_pool2d(-values, width, 1, radius)
    return (largest > smallest).float()[:, 0]


def find_rare(class_pixels: Tensor) -> list[int]:
    """Return the rare classes of a data set from the number of pixels of each class, (C,)."""
    rare = (class_pixels < RARE_FRACTION * class_pixels.sum()).nonzero().flatten().tolist()
    return rare or [int(class_pixels.argmin())]


class RecipeTransform(nn.Module):
    """The transform `crop` of the library with the changes of a recipe. It must run in one process: it counts draws."""

    def __init__(self, crop: v2.Compose, training: RecipeTraining) -> None:
        super().__init__()
        parts = self.parts = training.parts
        self.progress = training
        self.crop = v2.Compose(
            [
                ClassCrop(each, parts.rare_crops) if isinstance(each, RandomResizedCrop) else each
                for each in crop.transforms
            ]
        )
        self.counts: dict[int, int] = {}
        self.sources: list[tuple[Tensor, Tensor]] = []
        self.rare: list[int] = []

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the changed image and mask."""
        key = zlib.crc32(image[:, ::8, ::8].contiguous().numpy().tobytes())
        count = self.counts[key] = self.counts.get(key, -1) + 1
        if self.parts.views and self.progress.done < DECODER_FIRST_FRACTION:
            torch.default_generator.manual_seed(key + count % self.parts.views)
        if self.sources and torch.rand(()) < self.parts.paste:
            image, mask = self._paste(image, mask)
        image, mask = self.crop(image, mask)
        if self.parts.alternate_flips and (key ^ count) & 1:
            image, mask = v2.functional.horizontal_flip(image), v2.functional.horizontal_flip(mask)
        return image, mask

    def _paste(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the pixels where another image has a rare class, and 2 px around them."""
        wanted = self.rare[int(torch.randint(len(self.rare), ()))]
        for index in torch.randperm(len(self.sources)).tolist():
            other, other_mask = self.sources[index]
            region = F.max_pool2d((other_mask == wanted)[None].float(), 5, 1, 2)[0] > 0
            if region.any():
                pasted = torch.where(region, other, image), torch.where(region, other_mask, mask)
                return tv_tensors.Image(pasted[0]), tv_tensors.Mask(pasted[1])
        return image, mask


class ClassCrop(RandomResizedCrop):
    """The library's random crop, some of which hold a pixel of a class that is drawn uniformly.

    Args:
        crop: the crop.
        probability: probability that the place of the crop depends on a class.
    """

    def __init__(self, crop: RandomResizedCrop, probability: float) -> None:
        super().__init__(crop.size, crop.scale, crop.ratio)
        self.probability = probability

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Draw a crop, and move it so that the pixel is in its center or at the border of the image."""
        drawn = super().make_params(flat_inputs)
        mask = next(each for each in flat_inputs if isinstance(each, tv_tensors.Mask)).as_subclass(Tensor)
        classes = mask[mask != IGNORE_INDEX].unique()
        if torch.rand(()) >= self.probability or not len(classes):
            return drawn
        places = (mask == classes[torch.randint(len(classes), ())]).nonzero()
        center = places[torch.randint(len(places), ())].tolist()
        for name, side, middle, limit in zip(("top", "left"), ("height", "width"), center, mask.shape, strict=True):
            drawn[name] = min(max(middle - drawn[side] // 2, 0), limit - drawn[side])
        return drawn


class Head(nn.Module):
    """The convolution of the logits, with dropout before it and a second head that detects edges.

    Args:
        logits: the convolution.
        parts: the parts of the recipe.

    Attributes:
        edges: the last (N, 1, h, w) logits of edges, if there is a boundary head.
    """

    def __init__(self, logits: nn.Conv2d, parts: Parts) -> None:
        super().__init__()
        self.logits, self.dropout = logits, nn.Dropout2d(parts.dropout)
        self.boundary = nn.Conv2d(logits.in_channels, 1, 1) if parts.boundary_head else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classes."""
        x = self.dropout(x)
        if self.boundary is not None:
            self.edges = self.boundary(x)
        return self.logits(x)


class RecipeDecoder(FPNDecoder):
    """The decoder "fpn" with the changes of a recipe."""

    def __init__(self, parts: Parts, in_channels: Any, classes: int, **parameters: Any) -> None:
        super().__init__(in_channels, classes, **parameters)
        self.logits = Head(self.logits, parts)
        self.context = nn.Conv2d(in_channels[-1], in_channels[-1], 1, bias=False) if parts.context else None

    def forward(self, features: Any, size: tuple[int, int]) -> Tensor:
        """Return the logits of each pixel, see `FPNDecoder`."""
        if self.context is not None:
            features = [*features[:-1], features[-1] + self.context(features[-1].mean((2, 3), keepdim=True))]
        return super().forward(features, size)
