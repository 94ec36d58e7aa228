"""Weighted sums of losses by their text."""

import pytest
import torch

from pixelwise.config import Config
from pixelwise.data.task import MULTICLASS, MULTILABEL, TASKS, Task
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES, get_loss, list_losses
from tests.losses.helpers import gradient, make_batch


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ce", "cross_entropy"),
        ("1*ce", "cross_entropy"),
        ("ce+dice", "cross_entropy+dice"),
        (" 0.50 * ce + lovasz ", "0.5*cross_entropy+lovasz"),
        (".5*bce+1e-3*boundary", "0.5*bce+0.001*boundary"),
        ("2e+1*ce+dice", "20*cross_entropy+dice"),
        ("ce+tversky(alpha=0.5, beta=0.7)", "cross_entropy+tversky(alpha=0.5)"),
        ("lovasz(per_image=true)+ce", "lovasz(per_image=true)+cross_entropy"),
        ("focal(gamma=2)", "focal"),
    ],
)
def test_a_text_has_a_shortest_form_that_means_the_same(text: str, canonical: str) -> None:
    assert LOSSES.normalize(text) == canonical == LOSSES.normalize(canonical)
    assert Config(loss=text).loss == canonical
    assert Config.model_validate_json(Config(loss=text).model_dump_json()).loss == canonical


def test_parameters_of_a_single_term_become_a_mapping() -> None:
    assert LOSSES.normalize("focal(gamma=3)") == {"name": "focal", "gamma": 3.0}


def test_a_sum_is_the_weighted_sum_of_its_terms() -> None:
    for task, text in ((MULTICLASS, "0.5*ce+3*focal(gamma=1)+lovasz"), (MULTILABEL, "0.5*bce+3*focal(gamma=1)+lovasz")):
        logits, mask = make_batch(task)
        first = get_loss("ce" if task is MULTICLASS else "bce", task)
        focal, lovasz = get_loss({"name": "focal", "gamma": 1}, task), get_loss("lovasz", task)
        expected = 0.5 * first(logits, mask) + 3 * focal(logits, mask) + lovasz(logits, mask)
        torch.testing.assert_close(get_loss(text, task)(logits, mask), expected)


@pytest.mark.parametrize(
    ("text", "name", "task"), [("ce+dice", "cross_entropy_dice", MULTICLASS), ("bce+dice", "bce_dice", MULTILABEL)]
)
def test_the_sum_equals_the_loss_with_a_name_of_its_own(text: str, name: str, task: Task) -> None:
    logits, mask = make_batch(task)
    weights = task.pixel_weights(mask, torch.tensor([0.5, 0.3, 0.2]))
    for pixel_weights in (None, weights):
        one, other = (get_loss(each, task)(logits, mask, pixel_weights) for each in (text, name))
        torch.testing.assert_close(one, other)


def test_the_scale_of_pixel_weights_has_no_influence() -> None:
    logits, mask = make_batch()
    weights = torch.rand(mask.shape) + 0.1
    loss = get_loss("ce+lovasz+0.1*boundary+ohem", MULTICLASS)
    torch.testing.assert_close(loss(logits, mask, weights), loss(logits, mask, weights * 100))
    assert not torch.isclose(loss(logits, mask, weights), loss(logits, mask))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_sum_of_all_losses_leaves_out_ignored_pixels(task: Task) -> None:
    loss = get_loss("+".join(list_losses(task)), task)
    logits, mask = make_batch(task)
    weights = torch.rand(mask.shape)
    for pixel_weights in (None, weights):
        grad = gradient(loss, logits, mask, pixel_weights)
        assert (grad[0, :, :2] == 0).all() and (grad[0, :, 2:] != 0).any() and grad.isfinite().all()
        mask_255 = torch.full_like(mask, 255)
        assert loss(logits, mask_255, pixel_weights) == 0
        assert (gradient(loss, logits, mask_255, pixel_weights) == 0).all()


def test_traits_of_a_sum_are_those_of_all_terms() -> None:
    assert LOSSES["ce+dice"].traits["tasks"] == ("multiclass",)
    assert LOSSES["dice+lovasz"].traits["tasks"] == ("multiclass", "multilabel")
    assert LOSSES["dice+lovasz"].traits["balances_classes"] is True
    assert LOSSES["ce+lovasz"].traits["balances_classes"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ce+", r"loss 'ce\+' is not a sum of losses; write NAME\+NAME, WEIGHT\*NAME"),
        ("ce+dyce", r"unknown loss 'dyce' \(did you mean 'dice'\?\)"),
        ("ce*2", r"loss 'ce\*2' is not a sum of losses"),
        ("0*ce+dice", "the weight of ce must be above 0; leave the term out"),
        ("ce+focal(gama=2)", "loss 'focal' has no parameter 'gama'; it has gamma"),
        ("ce+focal(2)", "'2' is not PARAMETER=VALUE; write for example gamma=3"),
        ("ce+bce", "cross_entropy is for multiclass masks and bce is for multilabel masks; choose losses for the same"),
    ],
)
def test_a_wrong_text_is_refused_with_the_fix(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LOSSES.parse(text)
    with pytest.raises(ConfigError, match=message):
        Config(loss=text)


def test_parameters_beside_a_sum_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'ce\+focal' is a sum, which has no parameters; write them in its terms"):
        LOSSES.parse({"name": "ce+focal", "gamma": 3})


def test_a_sum_for_other_masks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss 'cross_entropy\+dice' is not for this data.*set `loss` to dice"):
        get_loss("ce+dice", MULTILABEL)
