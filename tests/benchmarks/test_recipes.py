"""The parts of training recipes that pixelwise does not have."""

from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pixelwise.data.augmentations import build_transform
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.models.decoders import build_decoder


@pytest.fixture
def parts(script: Callable[[str], Any]) -> Any:
    """The module."""
    return script("_recipe_parts")


Start = Callable[..., tuple[Any, Any]]


@pytest.fixture
def start(parts: Any) -> Start:
    """Return a function of parts that returns a training, and its transform of images of 32 px."""

    def start_with(**values: Any) -> tuple[Any, Any]:
        training = parts.RecipeTraining(parts.Parts(**values), {"augmentation": {"name": "crop", "color": 0.0}})
        with training.registered():
            return training, build_transform(training.settings["augmentation"], 32)

    return start_with


def gradient() -> tuple[Tensor, Tensor]:
    """Return an image of 40 px that is brighter to the right, and a mask of class 0 with one pixel of class 1."""
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[39, 39] = 1
    return torch.arange(40, dtype=torch.uint8).mul(6).expand(3, 40, 40).contiguous(), mask


def test_recipes_have_known_settings_and_parts(script: Callable[[str], Any], parts: Any) -> None:
    known = {field.name for field in fields(parts.Parts)}
    for name in ("pets", "camvid"):
        for recipe in (each for group in script("recipes").load_recipes(name).values() for each in group.values()):
            assert set(recipe) <= {"images", "settings", "parts"} and set(recipe.get("parts", {})) <= known
            training = parts.RecipeTraining(parts.Parts(**recipe.get("parts", {})), recipe.get("settings", {}))
            with training.registered():
                script("recipes").settings_of({"settings": training.settings}, 225, 1.0, None)
    used = set(script("recipes").QUICK["all parts"]["parts"]) | {"smoothing"}
    assert used == known


def test_flips_alternate(start: Start) -> None:
    _, transform = start(alternate_flips=True)
    is_mirrored = [bool(image[0, 0, 0] > image[0, 0, -1]) for image, _ in (transform(*gradient()) for _ in range(6))]
    assert is_mirrored in ([True, False] * 3, [False, True] * 3)


def test_views_repeat_while_the_encoder_is_frozen(start: Start) -> None:
    training, transform = start(views=2)
    images = [transform(*gradient())[0] for _ in range(4)]
    assert torch.equal(images[0], images[2]) and torch.equal(images[1], images[3])
    assert not torch.equal(images[0], images[1])
    training.done = 0.5
    assert not torch.equal(transform(*gradient())[0], transform(*gradient())[0])


def test_crops_hold_rare_classes(start: Start) -> None:
    torch.manual_seed(0)
    held = [int((start(rare_crops=rate)[1](*gradient())[1] == 1).sum() > 0) for rate in (0.0, 1.0) for _ in range(20)]
    assert sum(held[:20]) < 10 and sum(held[20:]) >= 10


def test_rare_components_are_pasted(start: Start) -> None:
    training, transform = start(paste=1.0)
    image, mask = gradient()
    training.transform.sources, training.transform.rare = [(image * 0 + 9, mask.flip(0, 1) + 0)], [1]
    _, pasted = transform(image, torch.full_like(mask, 2))
    assert set(pasted.unique().tolist()) <= {0, 1, 2} and (pasted == 2).float().mean() > 0.9


def test_rare_classes_are_those_of_few_pixels(parts: Any) -> None:
    assert parts.find_rare(torch.tensor([900, 20, 80])) == [1]
    assert parts.find_rare(torch.tensor([500, 400, 300])) == [2]


def test_edges_and_late_terms_are_added_to_the_loss(start: Start) -> None:
    logits, mask = torch.randn(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[..., 4:] = 1
    training, _ = start(edge_weight=1.0, late="lovasz")
    edges = torch.zeros(1, 8, 8)
    edges[..., 2:6] = 1
    expected = cross_entropy(logits, mask, 1 + edges)
    assert torch.isclose(training.loss(logits, mask), expected)
    training.done = 0.8
    assert training.loss(logits, mask) > expected + 0.01


def test_a_boundary_head_has_its_own_loss(start: Start, parts: Any) -> None:
    training, _ = start(boundary_head=0.5, context=True, dropout=0.5)
    with training.registered():
        decoder: Any = build_decoder(training.settings["decoder"], [8, 8], classes=3)
    logits = decoder([torch.randn(2, 8, 4, 4), torch.randn(2, 8, 2, 2)], (8, 8))
    mask = torch.zeros(2, 8, 8, dtype=torch.uint8)
    plain = training.loss(logits, mask)
    training.head = decoder.logits
    assert training.loss(logits, mask) > plain
    assert decoder.context is not None and decoder.logits.dropout.p == 0.5


def test_the_mean_model_follows_the_model(start: Start) -> None:
    training, _ = start(average=0.9)
    model = torch.nn.Linear(1, 1, bias=False)
    state: Any = SimpleNamespace(
        model=model,
        step=0,
        data=SimpleNamespace(classes=("a",)),
        datasets=[range(4)],
        run=SimpleNamespace(config=SimpleNamespace(epochs=2, batch_size=3)),
    )
    torch.nn.init.constant_(model.weight, 0.0)
    training.on_train_start(state)
    torch.nn.init.constant_(model.weight, 1.0)
    state.step = 3
    training.on_step_end(state)
    assert training.done == 3 / 4 and training.models["average"].weight.item() == pytest.approx(1 - 4 / 13)
    training.on_train_end(state)
    assert training.models["last"] is model


def test_splits_hold_out_a_quarter(script: Callable[[str], Any], pets_folder: Any) -> None:
    import pixelwise as pw

    data = pw.load_dataset(pets_folder)
    splits = [script("recipes").divide(data, "pets", number) for number in range(3)]
    for split in splits:
        assert len(split.val) == len(data.train) // 4 and len(split.train) + len(split.val) == len(data.train)
        assert not {id(each) for each in split.train} & {id(each) for each in split.val}
