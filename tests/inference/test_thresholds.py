"""Thresholds change the mask as the probabilities say, in memory and by rows, and leave the probabilities."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference import large_file
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

IMAGE = make_image(70, 90, 4)


def make_predictor(classes: tuple[str, ...], thresholds: dict[str, float], **options: object) -> Predictor:
    model = make_model(classes, **options)  # type: ignore[arg-type]
    model.set_temperature(1.7)
    return Predictor(model, "cpu", "32-true", thresholds=thresholds)


@pytest.mark.parametrize("threshold", [0.2, 0.45, 0.55, 0.7])
@pytest.mark.parametrize("probabilities", [False, True])
def test_of_two_classes_it_is_the_probability(threshold: float, probabilities: bool) -> None:
    classes = ("background", "leaf")
    before = make_predictor(classes, {})(IMAGE, probabilities=True)
    found = make_predictor(classes, {"leaf": threshold})(IMAGE, probabilities=probabilities)
    assert before.probabilities is not None
    clear = np.abs(before.probabilities[1] - threshold) > 1e-2  # the probabilities are interpolated logits
    np.testing.assert_array_equal(found.mask[clear], (before.probabilities[1] > threshold)[clear])
    assert clear.mean() > 0.8
    if probabilities:
        np.testing.assert_array_equal(found.probabilities, before.probabilities)
    expected = np.where(found.mask == 1, before.probabilities[1], before.probabilities[0])
    np.testing.assert_allclose(found.confidence, expected, atol=1e-5)


def test_of_several_classes_it_is_the_fraction_of_two() -> None:
    classes, thresholds = ("a", "b", "c"), {"a": 0.3, "b": 0.6}
    before = make_predictor(classes, {})(IMAGE, probabilities=True)
    found = make_predictor(classes, thresholds)(IMAGE)
    assert before.probabilities is not None
    odds = np.array([0.3 / 0.7, 0.6 / 0.4, 1]).reshape(3, 1, 1)
    scaled = before.probabilities / odds
    sure = np.sort(scaled, 0)[-1] > 1.02 * np.sort(scaled, 0)[-2]
    np.testing.assert_array_equal(found.mask[sure], scaled.argmax(0)[sure])
    assert sure.mean() > 0.9 and (found.mask != before.mask).any()


def test_of_a_multilabel_model_each_class_has_its_own() -> None:
    classes = ("left", "right", "face")
    before = make_predictor(classes, {}, task=MULTILABEL)(IMAGE, probabilities=True)
    found = make_predictor(classes, {"left": 0.4, "face": 0.6}, task=MULTILABEL)(IMAGE)
    assert before.probabilities is not None
    for index, threshold in enumerate((0.4, 0.5, 0.6)):
        clear = np.abs(before.probabilities[index] - threshold) > 1e-2
        np.testing.assert_array_equal(found.mask[index][clear], (before.probabilities[index] > threshold)[clear])
    assert (found.mask != before.mask).any()


def test_a_half_changes_nothing() -> None:
    classes = ("a", "b", "c")
    before, found = (make_predictor(classes, values)(IMAGE) for values in ({}, {"a": 0.5, "c": 0.5}))
    np.testing.assert_array_equal(found.mask, before.mask)
    assert before.class_confidences is not None and found.class_confidences is not None
    for name in classes:
        assert found.class_confidences[name] == pytest.approx(before.class_confidences[name], abs=1e-5)


def test_wrong_thresholds_are_refused() -> None:
    with pytest.raises(ConfigError, match="`thresholds`: unknown class 'leef'"):
        make_predictor(("background", "leaf"), {"leef": 0.5})
    with pytest.raises(ConfigError, match="that of leaf must be between 0 and 1, and is 1"):
        make_predictor(("background", "leaf"), {"leaf": 1})
    with pytest.raises(ConfigError, match="the thresholds of an exported file are set by its export"):
        Predictor.load("model.onnx", thresholds={"leaf": 0.3})


def test_large_images_and_resumed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, names = tmp_path / "map.tif", ["mask", "csv", "confidence"]
    tifffile.imwrite(path, make_image(130, 90), photometric="rgb", tile=(64, 64), compression="zlib", metadata=None)
    predictor = make_predictor(("pet", "background", "border"), {"pet": 0.3, "border": 0.6})
    small = predict_folder(predictor, [path], tmp_path / "small", write=names)
    monkeypatch.setattr(large_file, "LARGE_PIXELS", 1_000)
    large = predict_folder(predictor, [path], tmp_path / "large", write=names)
    for kind in ("mask", "confidence"):
        with Image.open(tmp_path / "small" / f"map_{kind}.png") as file:
            expected = np.asarray(file)
        found = tifffile.imread(tmp_path / "large" / f"map_{kind}.tif")
        assert np.mean(np.abs(found.astype(int) - expected) <= (2 if kind == "confidence" else 0)) > 0.99
    assert small.report["photos"][0]["shares"] == pytest.approx(large.report["photos"][0]["shares"], abs=5e-3)
    plain = Predictor(predictor.model, "cpu", "32-true")
    with pytest.raises(OutputExistsError, match="was not made by this model"):
        predict_folder(plain, [path], tmp_path / "large", write=names, resume=True)
    assert predict_folder(predictor, [path], tmp_path / "large", write=names, resume=True).resumed == 1


def test_their_order_does_not_matter_to_resume() -> None:
    one, other = (
        make_predictor(("a", "b"), dict(pairs)) for pairs in ([("a", 0.3), ("b", 0.6)], [("b", 0.6), ("a", 0.3)])
    )
    assert one.fingerprint() == other.fingerprint() != make_predictor(("a", "b"), {"a": 0.3}).fingerprint()
