"""The contract of every registered loss, and the registry's functions."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.task import MULTICLASS, MULTILABEL, TASKS, Task
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES, Loss, check_loss, get_loss, list_losses, register_loss
from pixelwise.palette import IGNORE_INDEX
from tests.losses.helpers import gradient, make_batch

CASES = [(name, task) for task in TASKS.values() for name in list_losses(task)]
every_loss = pytest.mark.parametrize(
    ("loss", "task"),
    [(get_loss(*case), case[1]) for case in CASES],
    ids=[f"{name}-{task.name}" for name, task in CASES],
)


MIN_OF_WRONG = {"boundary": 0.45}
"""Minimum loss of a wrong prediction. That of the boundary loss is in pixels: half a pixel for a neighbor."""

NEEDS_PIXEL_LOSS = {"boundary", "ohem"} | {name for name in LOSSES if LOSSES[name].traits.get("balances_classes")}
"""Losses that are used in a sum with a loss of each pixel, because alone their gradients vanish for wrong pixels."""


def name_of_loss(loss: Loss) -> str:
    """Return the name of a loss that is not a sum, by its function."""
    function = getattr(loss, "func", loss)
    return next(name for name in LOSSES if function in (LOSSES[name].component, LOSSES[name].traits.get("multilabel")))


def ignored_logits(task: Task, mask: Tensor, logits: Tensor) -> Tensor:
    """Return the logits that belong to ignored mask values, bool of the logits' shape."""
    ignored = mask == IGNORE_INDEX
    return (ignored[:, None] if task is MULTICLASS else ignored).expand_as(logits)


def confident_logits(task: Task, mask: Tensor, classes: int = 3) -> Tensor:
    """Return logits that predict the mask with certainty."""
    true = mask[:, None] == torch.arange(classes)[:, None, None] if task is MULTICLASS else mask == 1
    return torch.where(true, 30.0, -30.0)


def weights_of_classes(task: Task, mask: Tensor, *weights: float) -> Tensor:
    return task.pixel_weights(mask, torch.tensor(weights) / sum(weights))


# --- the contract


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_a_finite_scalar_with_a_finite_gradient(loss: Loss, task: Task, weighted: bool) -> None:
    for seed, scale in ((0, 1.0), (1, 100.0), (2, 1e4)):
        logits, mask = make_batch(task, seed)
        weights = weights_of_classes(task, mask, 0.5, 0.3, 0.2) if weighted else None
        value = loss(logits * scale, mask, weights)
        assert value.shape == () and value.dtype == torch.float32
        assert torch.isfinite(value) and value > 0
        grad = gradient(loss, logits * scale, mask, weights)
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0 or scale > 1


@every_loss
def test_ignored_pixels_have_no_influence(loss: Loss, task: Task) -> None:
    """Their logits change neither the loss nor a gradient, and get no gradient themselves."""
    logits, mask = make_batch(task)
    ignored = ignored_logits(task, mask, logits)
    other = torch.where(ignored, torch.randn(logits.shape) * 50, logits)
    for weights in (None, torch.rand(mask.shape)):
        assert torch.equal(loss(logits, mask, weights), loss(other, mask, weights))
        one, two = gradient(loss, logits, mask, weights), gradient(loss, other, mask, weights)
        assert torch.equal(one, two)
        assert (one[ignored] == 0).all()
        assert (one[~ignored] != 0).any()
    # The loss equals that of the batch without the ignored rows.
    cut = loss(logits[:, :, 2:], mask[..., 2:, :], None)
    mask[1, ..., :2, :] = IGNORE_INDEX
    assert torch.allclose(loss(logits, mask, None), cut)


@every_loss
def test_correct_logits_cost_nothing_and_wrong_ones_much(loss: Loss, task: Task) -> None:
    _, mask = make_batch(task)
    counted = mask != IGNORE_INDEX
    wrong = torch.where(counted, (mask + 1) % (3 if task is MULTICLASS else 2), mask)
    for weights in (None, torch.rand(mask.shape) / 3, torch.rand(mask.shape) * 10):
        assert abs(loss(confident_logits(task, mask), mask, weights)) < 1e-5
    assert loss(confident_logits(task, wrong), mask, None) > MIN_OF_WRONG.get(name_of_loss(loss), 0.9)
    worse, better = confident_logits(task, mask) * 0.01, confident_logits(task, mask) * 0.02
    assert loss(better, mask, None) < loss(worse, mask, None)


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_of_ignored_pixels_costs_0(loss: Loss, task: Task, weighted: bool) -> None:
    logits, mask = make_batch(task)
    mask.fill_(IGNORE_INDEX)
    weights = torch.ones(mask.shape) if weighted else None
    assert loss(logits, mask, weights).item() == 0
    assert (gradient(loss, logits, mask, weights) == 0).all()


@every_loss
def test_a_batch_of_pixels_without_weight_costs_0(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task)
    weights = torch.zeros(mask.shape)
    assert loss(logits, mask, weights).item() == 0
    assert (gradient(loss, logits, mask, weights) == 0).all()


@every_loss
def test_weights_of_1_equal_no_weights(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task)
    torch.testing.assert_close(loss(logits, mask, torch.ones(mask.shape)), loss(logits, mask, None))


@every_loss
def test_pixels_of_a_class_with_weight_0_have_no_influence(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task)
    weights = weights_of_classes(task, mask, 0.6, 0.0, 0.4)
    without = (weights == 0)[:, None].expand_as(logits) if task is MULTICLASS else weights == 0
    other = torch.where(without, torch.randn(logits.shape) * 20, logits)
    assert torch.equal(loss(logits, mask, weights), loss(other, mask, weights))
    grad = gradient(loss, logits, mask, weights)
    assert (grad[without] == 0).all() and (grad[~without] != 0).any()


@every_loss
def test_pixels_with_more_weight_have_larger_gradients(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task)

    def relative_gradient(weight: float) -> float:
        """Return the gradients in the right half of the images divided by those in the left half."""
        weights = torch.ones(mask.shape)
        weights[..., 4:] = weight
        grad = gradient(loss, logits, mask, weights).abs()
        return float(grad[..., 4:].sum() / grad[..., :4].sum())

    assert relative_gradient(0.1) < relative_gradient(1.0) < relative_gradient(10.0)


@every_loss
def test_a_class_with_more_weight_has_larger_gradients(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task)
    if task is MULTILABEL and LOSSES[name_of_loss(loss)].traits.get("balances_classes"):
        # Each class has its own mask, and the loss is a mean over classes, in which a common factor cancels.
        weights = weights_of_classes(task, mask, 1.0, 5.0, 1.0)
        torch.testing.assert_close(loss(logits, mask, weights), loss(logits, mask, None))
        return

    def relative_gradient(weight: float) -> float:
        """Return the gradients that the second class causes divided by those of the first."""
        grad = gradient(loss, logits, mask, weights_of_classes(task, mask, 1.0, weight, 1.0)).abs()
        if task is MULTILABEL:
            return float(grad[:, 1].sum() / grad[:, 0].sum())
        return float(grad.sum(1)[mask == 1].sum() / grad.sum(1)[mask == 0].sum())

    assert relative_gradient(0.1) < relative_gradient(1.0) < relative_gradient(10.0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_16_bits_are_computed_in_32(loss: Loss, task: Task, dtype: torch.dtype) -> None:
    logits, mask = make_batch(task)
    short = logits.to(dtype)
    value = loss(short, mask, None)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(short.float(), mask, None))
    grad = gradient(loss, short, mask)
    assert grad.dtype == dtype and torch.isfinite(grad).all() and (grad != 0).any()


@pytest.mark.parametrize(
    # The loss of the hardest pixels jumps if another pixel becomes one of them. test_ohem.py compares its gradient.
    ("loss", "task"),
    [pytest.param(get_loss(*case), case[1], id=f"{case[0]}-{case[1].name}") for case in CASES if case[0] != "ohem"],
)
def test_the_gradient_equals_a_difference_quotient(loss: Loss, task: Task) -> None:
    logits, mask = make_batch(task, 4)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    slope = float((gradient(loss, logits, mask) * direction).sum())
    step = 1e-2
    after, before = loss(logits + step * direction, mask, None), loss(logits - step * direction, mask, None)
    assert float(after - before) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=1e-4)


@every_loss
def test_a_tiny_model_overfits_one_batch(loss: Loss, task: Task) -> None:
    if name_of_loss(loss) in NEEDS_PIXEL_LOSS:
        loss = get_loss(f"{'ce' if task is MULTICLASS else 'bce'}+{name_of_loss(loss)}", task)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 12, 12)
    mask = torch.zeros(2, 12, 12, dtype=torch.uint8)
    mask[0, 3:9, 2:8], mask[1, :4], mask[1, 9:, 6:] = 1, 2, 1
    mask[0, 0] = IGNORE_INDEX
    if task is MULTILABEL:
        channels = (mask[:, None] == torch.arange(3)[:, None, None]).to(torch.uint8)
        mask = channels.masked_fill((mask == IGNORE_INDEX)[:, None], IGNORE_INDEX)
    model = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 32, 5, padding=2), nn.ReLU())
    model.append(nn.Conv2d(32, 3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        value = loss(model(images), mask, None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    counted = mask != IGNORE_INDEX
    assert (task.logits_to_mask(model(images))[counted] == mask[counted]).float().mean() > 0.99
    assert value < 0.05


PARAMETERS = [
    (name, task, field)
    for name, task in CASES
    for field in LOSSES[name].params.model_fields
    if name in list_losses(task)
]


CHANGED = {"per_image": (True, True), "max_distance": (1.0, 11.0), "fraction": (0.75, 1e-9), "smoothing": (0.2, 0.99)}
"""Parameter → a value other than the default, and one at the end of the range. Others: the default plus 0.5, and 0."""


@pytest.mark.parametrize(
    ("name", "task", "field"), PARAMETERS, ids=[f"{name}-{field}" for name, _, field in PARAMETERS]
)
def test_every_parameter_has_an_effect_and_a_range(name: str, task: Task, field: str) -> None:
    logits, mask = make_batch(task)
    default = LOSSES[name].params.model_fields[field].default
    other, extreme = CHANGED.get(field, (default + 0.5, 0.0))
    plain, changed = get_loss(name, task), get_loss({"name": name, field: other}, task)
    assert loss_differs(plain, changed, logits, mask)
    assert not loss_differs(plain, get_loss({"name": name, field: default}, task), logits, mask)
    grad = gradient(get_loss({"name": name, field: extreme}, task), *make_batch(task, 1))
    assert torch.isfinite(grad).all()
    if default is not False:
        with pytest.raises(ConfigError, match=f"loss '{name}': {field}: .*greater"):
            get_loss({"name": name, field: -1}, task)


def loss_differs(one: Loss, other: Loss, logits: Tensor, mask: Tensor) -> bool:
    return one(logits, mask).item() != pytest.approx(other(logits, mask).item(), rel=1e-6)


def test_the_names_fit_a_command_line() -> None:
    assert PARAMETERS and LOSSES
    for name in LOSSES:
        assert name == name.lower() and name.replace("_", "").isalnum()


# --- the registry


@pytest.fixture
def mean_logit() -> Iterator[str]:
    """A loss registered from outside, for multilabel masks."""

    @register_loss("mean_logit", tasks=("multilabel",))
    def mean_logit(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        return logits.mean()

    yield "mean_logit"
    LOSSES.unregister("mean_logit")


def test_a_registered_loss_is_listed_and_built(mean_logit: str) -> None:
    assert mean_logit in list_losses() and mean_logit in list_losses("multilabel")
    assert mean_logit not in list_losses(MULTICLASS)
    logits, mask = make_batch(MULTILABEL)
    assert get_loss(mean_logit, MULTILABEL)(logits, mask) == logits.mean()


def test_a_loss_without_tasks_is_for_all() -> None:
    register_loss("anything", lambda logits, mask, pixel_weights=None: logits.sum())
    try:
        check_loss("anything", MULTICLASS)
        check_loss("anything", MULTILABEL)
        assert "anything" in list_losses("multiclass") and "anything" in list_losses("multilabel")
    finally:
        LOSSES.unregister("anything")


def test_a_loss_of_another_task_is_refused_with_those_that_fit() -> None:
    with pytest.raises(ConfigError, match=r"'bce' is not for this data.*each pixel has one class.*cross_entropy, dice"):
        get_loss("bce", MULTICLASS)
    with pytest.raises(
        ConfigError, match=r"'cross_entropy' is not for this data.*several classes.*`loss` to .*bce, bce"
    ):
        check_loss({"name": "cross_entropy"}, MULTILABEL)


def test_unknown_losses_and_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown loss 'focl' \(did you mean 'focal'\?\)"):
        get_loss("focl", MULTICLASS)
    with pytest.raises(ConfigError, match=r"loss 'focal' has no parameter 'alpha'; it has gamma"):
        get_loss({"name": "focal", "alpha": 1}, MULTICLASS)


def test_a_tversky_loss_with_equal_weights_is_dice() -> None:
    logits, mask = make_batch()
    tversky = get_loss({"name": "tversky", "alpha": 0.5, "beta": 0.5}, MULTICLASS)
    torch.testing.assert_close(tversky(logits, mask), get_loss("dice", MULTICLASS)(logits, mask))


def test_a_focal_loss_with_gamma_0_is_the_cross_entropy() -> None:
    logits, mask = make_batch()
    focal = get_loss({"name": "focal", "gamma": 0}, MULTICLASS)
    torch.testing.assert_close(focal(logits, mask), get_loss("cross_entropy", MULTICLASS)(logits, mask))
    for gamma in (0.3, 0.5):
        grad = gradient(get_loss({"name": "focal", "gamma": gamma}, MULTICLASS), logits, mask)
        assert torch.isfinite(grad).all() and (grad[0, :, :2] == 0).all()
