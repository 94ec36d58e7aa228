"""Evaluations of exported files: the metrics are those of the run, and one line says what a file does not have."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import pixelwise as pw
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.errors import ConfigError, DataError, RunError
from pixelwise.evaluation.model_source import ModelSource
from pixelwise.export import export, parity
from pixelwise.inference.exported.metadata import METADATA_KEY


@pytest.fixture(scope="module")
def small_sizes() -> Iterator[None]:
    """Measure small images only in the exports of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "ODD_SIZES", {"one row": (1, 300), "large": (300, 400)})
        patch.setattr(export, "SIZES", ((24, 32), (30, 20)))
        yield


@pytest.fixture(scope="module")
def file(tiny_run: pw.Run, small_sizes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ONNX file of the tiny run, with probabilities."""
    out = tmp_path_factory.mktemp("exported") / "pets.onnx"
    return pw.export_model(tiny_run.path, out, probabilities=True).path


@pytest.fixture(scope="module")
def of_run(tiny_run: pw.Run, pets: pw.DatasetIndex) -> pw.Evaluation:
    """Evaluate the run on the test split."""
    return pw.evaluate(tiny_run, pets)


def change_data(path: Path, out: Path, data: Any) -> Path:
    """Write a copy of a file with another label map."""
    model = onnx.load(path)
    metadata = json.loads(model.metadata_props[0].value) | {"data": data}
    helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    out.write_bytes(model.SerializeToString())
    return out


def test_the_metrics_are_those_of_the_run(file: Path, of_run: pw.Evaluation, pets: pw.DatasetIndex) -> None:
    found = pw.evaluate(file, pets)
    assert (found.split, found.metrics.image_count, found.metrics.resolution) == ("test", 10, "original")
    # The run can compute in bfloat16, and the file computes in float32.
    assert found.metrics.mean_iou == pytest.approx(of_run.metrics.mean_iou, abs=0.01)
    counts, expected = np.array(found.metrics.confusion), np.array(of_run.metrics.confusion)
    assert counts.sum() == expected.sum() and abs(counts - expected).sum() < 0.02 * expected.sum()
    assert found.boundary == pytest.approx(of_run.boundary, abs=0.02)
    assert found.calibration.error == pytest.approx(of_run.calibration.error, abs=0.02)
    assert found.temperature == of_run.temperature
    assert found.uncalibrated.error == pytest.approx(of_run.uncalibrated.error, abs=0.02)
    for image, other in zip(found.images, of_run.images, strict=True):
        assert image.file == other.file and image.label_quality == pytest.approx(other.label_quality, abs=0.03)
    assert (found.model, found.computation, found.view) == (str(file), "onnxruntime, float32", "whole")
    assert found.note.startswith("an exported file does not list the images of its training, so it is not known")


def test_counts_are_those_of_the_masks(file: Path, pets: pw.DatasetIndex) -> None:
    predictor, counts = pw.Predictor.load(file), np.zeros((3, 3), np.int64)
    for record in pets.test:
        mask = read_image_and_mask(record, pets.read_spec)[1]
        assert isinstance(record.image, Path)
        prediction = predictor(record.image).mask
        np.add.at(counts, (mask[mask < 3], prediction[mask < 3]), 1)
    np.testing.assert_array_equal(pw.evaluate(file, pets).metrics.confusion, counts)


def test_data_by_its_path_is_read_as_in_the_training(file: Path, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    data = ModelSource.open(file).load_data([str(pets.root)])
    assert (data.classes, data.read_spec) == (pets.classes, pets.read_spec)
    stored = json.loads(onnx.load(file).metadata_props[0].value)["data"]
    assert stored["format"] == "oxford-pets" and "root" not in stored and str(pets.root) not in json.dumps(stored)
    with pytest.raises(DataError, match="does not state where its data set is; give `data`"):
        pw.evaluate(file)
    without = change_data(file, tmp_path / "without.onnx", None)
    with pytest.raises(DataError, match=r"without\.onnx: does not state how masks are read"):
        ModelSource.open(without).load_data([str(pets.root)])
    damaged = change_data(file, tmp_path / "damaged.onnx", {"format": "oxford-pets", "kind": "secret"})
    with pytest.raises(RunError, match=r"damaged\.onnx: its label map cannot be read \(.*kind"):
        ModelSource.open(damaged).load_data([str(pets.root)])


def test_files_state_the_model(file: Path, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    copy = tmp_path / "pets.v2.onnx"
    copy.write_bytes(file.read_bytes())
    paths = [pw.evaluate(copy, pets, out="auto").path for _ in range(2)]
    assert paths == [tmp_path / "pets.v2-evaluation-test.json", tmp_path / "pets.v2-evaluation-test-2.json"]
    assert paths[0] is not None
    content = json.loads(paths[0].read_text())
    assert (content["model"], content["computation"]) == (str(copy), "onnxruntime, float32")
    page = paths[0].with_suffix(".html").read_text()
    assert f"<bdi>{copy}</bdi>" in page and "(onnxruntime, float32)" in page
    with paths[0].with_suffix(".csv").open(newline="") as table:
        assert len(list(csv.reader(table))) == 11


def test_a_file_without_probabilities(
    tiny_run: pw.Run, small_sizes: None, of_run: pw.Evaluation, pets: pw.DatasetIndex, tmp_path: Path
) -> None:
    path = pw.export_model(tiny_run.path, tmp_path / "pets.pt2", "torch").path
    found = pw.evaluate(path, pets, out="auto")
    assert found.metrics.mean_iou == pytest.approx(of_run.metrics.mean_iou, abs=0.01)
    assert found.calibration.error is None and not found.suspicious and len(found.worst) == 10
    assert "there is no calibration and no label quality, for which the file must be exported" in found.note
    assert found.computation == "torch, float32"
    assert found.page is not None and "difference" in found.page.read_text()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"resolution": "model"}, "gives masks at the images' own sizes; leave out `resolution`"),
        ({"view": "tiles"}, "has no `view`; leave it out"),
        ({"scale": 0.5}, "has no `scale`; leave it out"),
        ({"tta": True}, "has no `tta`; leave it out"),
        ({"device": "cuda"}, "predicts on the CPU; leave out `device`"),
    ],
)
def test_options_of_runs_are_refused(file: Path, pets: pw.DatasetIndex, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pw.evaluate(file, pets, **options)
    assert str(caught.value).startswith(f"{file}: an exported file ") and error in str(caught.value)
    assert "\n" not in str(caught.value) and "the run" in str(caught.value)


def test_other_classes_and_other_images(file: Path, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the classes a, b, c, but the model in .*pets\.onnx was trained on"):
        pw.evaluate(file, replace(pets, classes=("a", "b", "c")))
    with pytest.raises(DataError, match="has no test or val split, and an exported file does not list the images"):
        pw.evaluate(file, replace(pets, test=(), val=()))
    assert pw.evaluate(file, replace(pets, test=(), val=()), "train").metrics.image_count == 12
    with pytest.raises(RunError, match="No such file"):
        pw.evaluate(tmp_path / "gone.onnx", pets)
