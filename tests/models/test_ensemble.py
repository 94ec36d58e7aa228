"""The ensemble of models: its probabilities are the means of its members' probabilities."""

from collections.abc import Sequence

import pytest
import torch

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import RunError
from pixelwise.inference.fingerprint import fingerprint
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.model import SegmentationModel, create_model


def make_models(
    task: Task = MULTICLASS, classes: Sequence[Sequence[str]] = (("a", "b", "c"),) * 3
) -> list[SegmentationModel]:
    return [
        create_model("mobilenetv3_small_050", classes=names, image_size=64, encoder_weights="none", task=task).eval()
        for names in classes
    ]


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL])
def test_probabilities_are_averaged(task: Task) -> None:
    torch.manual_seed(0)
    models = make_models(task)
    for number, model in enumerate(models):  # so that the members disagree
        for parameter in list(model.decoder.parameters())[-2:]:
            parameter.data += torch.randn(parameter.shape) * (number + 1)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.stack([task.activate(model(images)) for model in models]).mean(0)
        actual = task.activate(SegmentationEnsemble(models).eval()(images))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(actual, task.activate(models[0](images)), atol=1e-3)


def test_each_model_has_its_own_temperature() -> None:
    torch.manual_seed(0)
    models = make_models()
    models[1].config = models[1].config.model_copy(update={"temperature": 4.0})
    for parameter in list(models[1].decoder.parameters())[-2:]:
        parameter.data += torch.randn(parameter.shape) * 3
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        logits = [model(images) / model.config.temperature for model in models]
        expected = torch.stack([each.softmax(1) for each in logits]).mean(0)
        ensemble = SegmentationEnsemble(models).eval()
        torch.testing.assert_close(ensemble(images).softmax(1), expected, atol=1e-5, rtol=1e-4)
    assert ensemble.config.temperature == 1


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL])
def test_logits_of_certain_probabilities_are_finite(task: Task) -> None:
    certain = torch.tensor([[[1.0]], [[0.0]]])
    logits = task.inverse_activate(certain)
    assert logits.isfinite().all()
    torch.testing.assert_close(task.activate(logits), certain, atol=1e-6, rtol=0)


def test_models_of_other_classes_are_refused() -> None:
    models = make_models(classes=[("a", "b"), ("a", "c")])
    with pytest.raises(RunError, match="differ in `classes`"):
        SegmentationEnsemble(models)


@pytest.mark.parametrize(
    ("field", "value"),
    [("bit_depth", 12), ("pixel_range", (0.0, 1.0)), ("band_ranges", ((0.0, 1.0),) * 3), ("nodata", -1.0)],
)
def test_the_field_of_other_pixel_values_is_named(field: str, value: object) -> None:
    models = make_models(classes=[("a", "b")] * 2)
    models[1].config = models[1].config.model_copy(update={field: value})
    with pytest.raises(RunError, match=f"differ in `{field}`"):
        SegmentationEnsemble(models)


def test_the_fingerprint_depends_on_each_member() -> None:
    torch.manual_seed(0)
    ensemble = SegmentationEnsemble(make_models())
    before = fingerprint(ensemble)
    last = ensemble.models[-1]
    assert isinstance(last, SegmentationModel)
    last.config = last.config.model_copy(update={"temperature": 2.0})
    assert fingerprint(ensemble) != before
