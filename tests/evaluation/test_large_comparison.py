"""Evaluation of images that are too large to be decoded: the counts are those of decoded images."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.data.io import image, image_windows
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.evaluation import large_comparison, tally
from pixelwise.evaluation.comparison import Comparisons
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.evaluation.resolution import Resolution
from pixelwise.inference import views
from pixelwise.models.model import create_model
from tests.data.test_window_files import write
from tests.export.helpers import make_config, write_file

HEIGHT, WIDTH = 210, 170
SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2, 9: 255}))


@pytest.fixture
def record(tmp_path: Path) -> Record:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:23], mask[150:152, 160:162], mask[200:] = 1, 2, 9
    return Record(write(tmp_path / "image.tif", pixels), write(tmp_path / "mask.tif", mask))


def predictor(scale: float) -> pw.Predictor:
    torch.manual_seed(0)
    model = create_model("test_efficientnet", classes=("a", "b", "c"), encoder_weights="none", image_size=32)
    return pw.Predictor(model, "cpu", "32-true", view="tiles", scale=scale)


def lower_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(image_windows, "LARGE_PIXELS", 20_000)
    monkeypatch.setattr(image_windows, "_MIN_LARGE_BYTES", 0)


@pytest.mark.parametrize("resolution", ["original", "model"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_counts_are_those_of_the_decoded_image(
    record: Record, scale: float, resolution: Resolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = predictor(scale)
    expected = compute_confusion_matrix(model, [record], SPEC, resolution)
    lower_the_limit(monkeypatch)
    monkeypatch.setattr(views, "MAX_STRIP_BYTES", 20_000)  # several strips
    counts = compute_confusion_matrix(model, [record], SPEC, resolution)
    assert counts.sum() == expected.sum() and (counts - expected).abs().sum() <= 0.002 * counts.sum(), "rounding"


def test_what_is_kept_of_a_large_image(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    model = predictor(1.0)
    (whole,) = Comparisons(model, [record], SPEC, "original")
    lower_the_limit(monkeypatch)
    monkeypatch.setattr(large_comparison, "SMALL_SIDE", HEIGHT // 2)
    monkeypatch.setattr(large_comparison, "SAMPLED_LOGITS", 1000)
    monkeypatch.setattr(tally, "_PROBABILITY_PIXELS", 1200)
    (kept,) = Comparisons(model, [record], SPEC, "original")
    assert not isinstance(whole, pw.DataError) and not isinstance(kept, pw.DataError)
    assert kept.image.shape == (105, 85, 3)
    assert np.array_equal(kept.image, whole.image[1::2, 1::2])
    assert torch.equal(kept.mask, whole.mask[1::2, 1::2])
    step = -(-HEIGHT // kept.logits.shape[1])
    assert step > 1 and torch.allclose(kept.logits, whole.logits[:, ::step, ::step], atol=1e-4)
    assert torch.equal(kept.model_mask, whole.model_mask[::step, ::step])
    sums = []
    for compared in (whole, kept):
        each = tally.Tally(model.task, model.classes, (), 1.0)
        each.add(0, compared)
        sums.append(each)
    assert [each.large for each in sums] == [0, 1]
    assert (sums[0].images[0].counts - sums[1].images[0].counts).max() <= 50
    assert sums[1].images[0].label_quality == pytest.approx(sums[0].images[0].label_quality, abs=0.2)
    assert sums[1].worst[0].image.shape == (105, 85, 3)


def test_a_damaged_file_is_an_error_of_its_image(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_the_limit(monkeypatch)
    assert isinstance(record.image, Path)
    record.image.write_bytes(record.image.read_bytes()[:60_000])
    (result,) = Comparisons(predictor(1.0), [record], SPEC, "original")
    assert isinstance(result, pw.DataError) and "image.tif" in str(result)


@pytest.mark.parametrize(("resolution", "rows"), [("original", HEIGHT), ("model", HEIGHT // 2)])
def test_the_progress_counts_64_rows_of_each_strip(
    record: Record, resolution: Resolution, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower_the_limit(monkeypatch)
    model = predictor(0.5)
    monkeypatch.setattr(views, "MAX_STRIP_BYTES", 5_000)
    totals: list[int] = []
    order: list[str] = []

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        for item in items:
            totals.append(total)
            order.append("step")
            yield item

    forward = model.image_view.logit_rows

    def logit_rows(*arguments: Any) -> Iterator[tuple[range, torch.Tensor]]:
        for row in forward(*arguments):
            order.append("row")
            yield row

    monkeypatch.setattr(model.image_view, "logit_rows", logit_rows)
    (result,) = Comparisons(model, [record], SPEC, resolution, row_progress=progress)
    assert not isinstance(result, pw.DataError)
    steps = model.image_view.strips(WIDTH) * -(-rows // 64)
    assert steps >= 4 and totals == [steps] * steps
    assert order.index("row") < order.index("step") < len(order) - 1 - order[::-1].index("row"), "while it runs"


def test_an_exported_file_does_not_read_images_in_parts(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower_the_limit(monkeypatch)
    file = pw.ExportedPredictor.load(write_file(tmp_path / "model.onnx", make_config()))
    (result,) = Comparisons(file, [record], SPEC, "original")
    assert isinstance(result, pw.DataError) and str(result).startswith(f"{record.image}: is too large to be decoded")
    assert "evaluate the run" in str(result)
