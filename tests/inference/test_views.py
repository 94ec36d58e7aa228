"""Tests of the views of an image: whole or tiles, their scale, and their agreement on images that fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.mask_format import ObjectScale
from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import ConfigError
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.tiling import BATCH_SIZE
from pixelwise.inference.views import TilesView, training_scale
from pixelwise.models.model import SegmentationModel
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

CLASSES = ("pet", "background", "border")


class ColorModel(nn.Module):
    """Three classes whose logits are the channels of a 3x3 mean: a pixel depends on nothing farther away."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.config = model.config

    def forward(self, images: Tensor) -> Tensor:
        padded = nn.functional.pad(images.float(), (1, 1, 1, 1), mode="replicate")
        return nn.functional.avg_pool2d(padded, 3, 1) / 30


def local_predictor(**options: Any) -> Predictor:
    """Return a predictor whose pixels depend on their neighbors only."""
    return Predictor(ColorModel(make_model(CLASSES)), "cpu", "32-true", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(128, 128, (64, 64)), (129, 128, (128, 64)), (100, 300, (64, 128)), (40, 50, (64, 64)), (190, 230, (128, 128))],
)
def test_a_large_image_has_larger_windows_if_the_model_takes_them(
    height: int, width: int, window: tuple[int, int]
) -> None:
    """The number of pixels in a forward pass, and each pixel of the mask, are those of windows of the model's size."""
    model = ColorModel(make_model(CLASSES))
    small = Predictor(model, "cpu", "32-true", view="tiles", scale=1.0)  # type: ignore[arg-type]
    model.config = model.config.model_copy(update={"window_factor": 2})
    large = Predictor(model, "cpu", "32-true", view="tiles", scale=1.0)  # type: ignore[arg-type]
    shapes: list[torch.Size] = []
    assert isinstance(large.image_view, TilesView)
    forward = large.image_view.forward
    large.image_view.forward = lambda images: shapes.append(images.shape) or forward(images)  # type: ignore[func-returns-value]
    image = make_image(height, width)
    assert (large(image).mask == small(image).mask).mean() >= 0.999
    assert {tuple(shape[2:]) for shape in shapes} == {window}
    assert max(shape[0] * shape[2] * shape[3] for shape in shapes) <= BATCH_SIZE * 64 * 64


def make_predictor(task: Task = MULTICLASS, temperature: float = 1.0, **fields: Any) -> Predictor:
    """Return a predictor of windows of 64 pixels with fixed random weights."""
    model = make_model(CLASSES, task)
    model.config = model.config.model_copy(update={"view": "tiles", "temperature": temperature, **fields})
    return Predictor(model, "cpu", "32-true")


def test_an_image_of_one_window_has_the_mask_of_the_whole_image(predictor: Predictor) -> None:
    image = make_image(64, 64)
    tiled = Predictor(predictor.model, "cpu", "32-true", "tiles", 1.0)
    assert np.array_equal(tiled(image).mask, predictor(image).mask)
    assert torch.equal(tiled.logits([image])[0], predictor.logits([image])[0])


def test_tiles_of_a_local_model_agree_with_the_whole_image() -> None:
    """The model of the whole image has the image's own size, so both see each pixel at the same scale."""
    image = make_image(190, 230)
    whole = local_predictor()
    with torch.no_grad():
        expected = whole.model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].argmax(0).numpy()
    mask = local_predictor(view="tiles", scale=1.0)(image).mask
    assert len(np.unique(expected)) == 3
    assert np.mean(mask == expected) >= 0.999


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=repr)
def test_a_constant_texture_has_no_seam(task: Task) -> None:
    """Zeros around each window change its predictions at the border. The blend must hide them."""
    predictor = make_predictor(task)
    image = np.full((64 * 3, 64 * 4, 3), (180, 90, 40), np.uint8)
    probabilities = predictor(image, probabilities=True).probabilities
    assert probabilities is not None
    inside = probabilities[:, 32:-32, 32:-32]
    steps = max(np.abs(np.diff(inside, axis=axis)).max() for axis in (1, 2))
    alone = predictor.image_view
    assert isinstance(alone, TilesView)
    window = alone.probabilities(torch.from_numpy(image[:64, :64]).permute(2, 0, 1)[None])[0].numpy()
    seam = max(np.abs(window[:, 0] - window[:, -1]).max(), np.abs(window[:, :, 0] - window[:, :, -1]).max())
    assert seam > 3 * steps, "without the blend, windows side by side would have a visible step"
    assert steps < 0.02


@pytest.mark.parametrize("shape", [(200, 150), (40, 300), (30, 20), (1, 1)], ids=str)
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_masks_have_the_size_of_the_image(shape: tuple[int, int], scale: float) -> None:
    predictor = make_predictor(scale=scale)
    prediction = predictor(make_image(*shape), probabilities=True)
    assert prediction.mask.shape == shape
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities.sum(0), 1, atol=1e-4)
    logits = predictor.logits([make_image(*shape)])[0]
    assert logits.shape == (3, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def test_a_batch_equals_single_images() -> None:
    predictor = make_predictor()
    images = [make_image(50, 60, 1), make_image(150, 100, 2), make_image(64, 64, 3), make_image(20, 70, 4)]
    together = predictor.logits(images)
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(logits, predictor.logits([image])[0], atol=1e-4, rtol=1e-4)


def test_blended_probabilities_have_the_temperature_of_the_model() -> None:
    """The probabilities of windows are blended after division by the temperature, as those of one window are."""
    image = make_image(64, 100)
    window = image[:, :64]
    hot = make_predictor(temperature=4.0)
    probabilities = hot(image, probabilities=True).probabilities
    alone = hot(window, probabilities=True).probabilities
    cold = make_predictor()(window, probabilities=True).probabilities
    assert probabilities is not None and alone is not None and cold is not None
    np.testing.assert_allclose(probabilities[:, :, :30], alone[:, :, :30], atol=0.005)
    assert np.abs(alone - cold).max() > 0.05


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({"view": "tiles", "scale": 0.25}, 0.25),
        ({"view": "whole", "object_scale": ObjectScale(256.0, 90.0)}, 0.25),
        ({"view": "whole"}, 1.0),
    ],
)
def test_the_scale_is_that_of_the_training_images(fields: dict[str, Any], scale: float) -> None:
    config = make_predictor(**fields).model.config
    assert training_scale(config) == scale
    view = Predictor(make_predictor(**fields).model, "cpu", view="tiles").image_view
    assert view.working_size(400, 800) == (round(400 * scale), round(800 * scale))


def test_a_tiled_model_can_be_used_on_whole_images(predictor: Predictor) -> None:
    image = make_image(100, 200)
    tiled = make_predictor()
    whole = Predictor(tiled.model, "cpu", "32-true", view="whole")
    assert whole.logits([image])[0].shape[1:] == (64, 64)
    assert np.array_equal(whole(image).mask, predictor(image).mask)
    assert not np.array_equal(tiled(image).mask, predictor(image).mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: local_predictor(view="tile"), r"^`view`: 'tile' is unknown; choose from: whole, tiles$"),
        (lambda: local_predictor(scale=0.5), r"^`scale` has no effect on whole images"),
        (lambda: local_predictor(view="tiles", scale=0), r"^`scale` is 0; it must be greater than 0 and at most 8$"),
        (lambda: local_predictor(view="tiles", scale=9), r"^`scale` is 9; "),
    ],
)
def test_wrong_views_are_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
