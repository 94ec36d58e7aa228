"""Each decoder on each kind of encoder: CNNs with five and with four stages, a ViT and a Swin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS, MULTILABEL, TASKS, Task
from pixelwise.errors import ConfigError
from pixelwise.inference.predictor import Predictor
from pixelwise.losses import get_loss, list_losses
from pixelwise.models.decoders import DECODERS, build_decoder
from pixelwise.models.encoder import Encoder
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.models.timm_models import default_blocks

SMALL: dict[str, dict[str, Any]] = {
    "fpn": {"widths": (16, 16, 8, 8)},
    "pix2pix": {"min_filters": 8, "max_filters": 16},
    "smp/unet": {"channels": (16, 16, 8, 8, 8)},
    "smp/unetplusplus": {"channels": (16, 16, 8, 8, 8)},
    "smp/manet": {"channels": (16, 16, 8, 8, 8)},
    "smp/fpn": {"pyramid_channels": 32, "segmentation_channels": 32},
    "smp/segformer": {"channels": 16},
    "smp/deeplabv3plus": {"channels": 16},
    "smp/upernet": {"channels": 16},
    "smp/dpt": {"channels": 16, "feature_channels": (16, 16, 16, 16)},
}
"""Parameters that make a decoder small."""

SIZES = {
    "mobilenetv3_small_050": (61, 97),
    "convnext_atto": (64, 96),
    "vit_tiny_patch16_224": (64, 64),
    "swin_tiny_patch4_window7_224": (64, 64),
}
"""Encoder → height and width of the images. The first takes any size, the last two only square images of one size."""


def small(name: str) -> dict[str, Any]:
    return {"name": name, **SMALL.get(name, {})}


@pytest.fixture(scope="module", params=SIZES)
def encoder(request: pytest.FixtureRequest) -> Iterator[tuple[Encoder, list[Tensor], tuple[int, int]]]:
    """Return an encoder with random weights, its features of two images, and the size of the images."""
    torch.manual_seed(0)
    size = SIZES[request.param]
    encoder = Encoder(request.param, default_blocks(request.param, 64), image_size=64).eval()
    with torch.no_grad():
        features = encoder(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)))
    yield encoder, features, size


@pytest.mark.parametrize("name", DECODERS)
def test_a_training_step_reaches_every_weight(
    name: str, encoder: tuple[Encoder, list[Tensor], tuple[int, int]]
) -> None:
    """The mask has ignored pixels, and no pixel of the last class."""
    body, features, size = encoder
    torch.manual_seed(0)
    decoder = build_decoder(small(name), body.out_channels, 3)
    logits = decoder(features, size)
    assert logits.shape == (2, 3, *size) and logits.dtype == torch.float32
    mask = torch.randint(2, (2, *size), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    mask[0, :20] = 255
    value = get_loss("ce+dice", MULTICLASS)(logits, mask)
    value.backward()
    assert torch.isfinite(value)
    for parameter_name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        # All of MAnet's few squeezed channels can be negative before their ReLU.
        assert parameter.grad.abs().sum() > 0 or "SE_" in parameter_name, parameter_name


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_all_losses_train_a_decoder(name: str, task: Task) -> None:
    """Ignored pixels, an absent class, and a batch of one image."""
    torch.manual_seed(0)
    channels, sizes = [8, 8, 8, 8], [(8, 12), (4, 6), (2, 3), (1, 2)]
    decoder = build_decoder(small(name), channels, 3)
    features = [torch.randn(1, width, *size) for width, size in zip(channels, sizes, strict=True)]
    mask = torch.zeros(1, *task.mask_shape(3, 29, 45), dtype=torch.uint8)
    mask[..., 5:15, 5:30] = 1
    mask[..., :4, :] = 255
    if task is MULTILABEL:
        mask[:, 2] *= mask[:, 2] == 255
    for loss in list_losses(task):
        decoder.zero_grad()
        get_loss(loss, task)(decoder(features, (29, 45)), mask).backward()
        norms = [parameter.grad.norm() for parameter in decoder.parameters() if parameter.grad is not None]
        assert torch.stack(norms).isfinite().all() and torch.stack(norms).sum() > 0, loss


@pytest.mark.parametrize("name", DECODERS)
def test_a_loaded_model_equals_the_saved_one(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = "vit_tiny_patch16_224" if name == "smp/dpt" else "mobilenetv3_small_050"
    model = create_model(encoder, small(name), 2, image_size=64, encoder_weights="none")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    model(images)  # changes the statistics of batch norms
    model.eval().save(tmp_path)
    loaded = SegmentationModel.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(model(images), loaded(images))
    assert loaded.config.decoder == model.config.decoder


def test_a_vit_has_features_of_four_depths_and_an_older_model_keeps_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", "fpn", 2, image_size=64, encoder_weights="none")
    assert model.config.encoder_layers == ("blocks.2", "blocks.5", "blocks.8", "blocks.11")
    assert model.encoder.feature_names == model.config.encoder_layers
    with torch.no_grad():
        features = model.encode(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8))
    assert len({float(feature.sum()) for feature in features}) == 4
    older = SegmentationModel(model.config.model_copy(update={"encoder_layers": None}))
    assert older.encoder.feature_names == ("blocks.9", "blocks.10", "blocks.11")
    older.save(tmp_path)
    assert SegmentationModel.load(tmp_path).encoder.feature_names == older.encoder.feature_names


def test_blocks_of_a_vit_can_be_named() -> None:
    encoder = Encoder("vit_tiny_patch16_224", ("blocks.0", "blocks.3"), image_size=64)
    assert [tuple(feature.shape) for feature in encoder(torch.zeros(1, 3, 64, 64))] == [(1, 192, 4, 4)] * 2
    assert not any(name.startswith("model.blocks.4") for name, _ in encoder.backbone.named_parameters())
    with pytest.raises(ConfigError, match=r"must go from shallow to deep, each once: blocks\.3, blocks\.0"):
        Encoder("vit_tiny_patch16_224", ("blocks.3", "blocks.0"), image_size=64)


@pytest.mark.parametrize(
    ("encoder_name", "name"),
    [
        ("vit_tiny_patch16_224", "smp/dpt"),
        ("swin_tiny_patch4_window7_224", "smp/upernet"),
        ("convnext_atto", "smp/unet"),
    ],
)
def test_images_of_odd_sizes_are_predicted_at_their_own_size(encoder_name: str, name: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    model = create_model(encoder_name, small(name), 2, image_size=64, encoder_weights="none")
    image = np.random.default_rng(0).integers(0, 256, (61, 97, 3), np.uint8)
    prediction = Predictor(model, "cpu", "32-true")(image)
    assert prediction.mask.shape == (61, 97) and set(np.unique(prediction.mask)) <= {0, 1}


@pytest.mark.parametrize("name", [name for name in DECODERS if name.startswith("smp/")])
def test_a_pair_that_cannot_work_is_refused_with_the_fix(name: str) -> None:
    with pytest.raises(ConfigError, match=r"needs 4 or 5 features, but the encoder has 3; set another `enc"):
        blocks = ("blocks.0", "blocks.1", "blocks.2")
        create_model("vit_tiny_patch16_224", name, 2, image_size=64, encoder_weights="none", encoder_layers=blocks)
