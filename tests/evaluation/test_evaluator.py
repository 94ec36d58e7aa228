"""Tests of evaluation: counts by numpy at the images' own size, result files, unreadable files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.data.input_size import View
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import ConfigError, DataError, OutputExistsError, RunError
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference import make_prediction
from pixelwise.inference.bands import resize_to_mask
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.views import training_scale
from pixelwise.metrics import build_metric
from pixelwise.models.model import SegmentationModel


@pytest.fixture
def run(tiny_run: pw.Run, tmp_path: Path) -> pw.Run:
    """Copy the model and settings of the finished run, so that a test can write to it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "model.json", "model.safetensors"):
        shutil.copy(tiny_run.path / name, folder)
    return pw.Run.open(folder)


def count_with_numpy(run: pw.Run, pets: pw.DatasetIndex, view: View | None = None) -> npt.NDArray[np.int64]:
    """Count the confusion matrix of the test split by numpy alone, one image after another."""
    predictor = Predictor.load_run(run.path, view=view)
    confusion = np.zeros((3, 3), np.int64)
    for record in pets.test:
        assert isinstance(record.image, Path) and isinstance(record.mask, Path)
        with Image.open(record.mask) as trimap:
            true_mask = np.array(trimap).astype(int) - 1
        prediction = predictor(record.image).mask
        for true in range(3):
            for predicted in range(3):
                confusion[true, predicted] += np.count_nonzero((true_mask == true) & (prediction == predicted))
    return confusion


def test_metrics_equal_counts_by_numpy(run: pw.Run, pets: pw.DatasetIndex) -> None:
    metrics = pw.evaluate(run, pets, "test").metrics
    expected = count_with_numpy(run, pets)
    confusion = np.array(metrics.confusion)
    # Each pixel of each image once, at the image's own size.
    pixels = sum(read_image(record.image)[..., 0].size for record in pets.test)
    assert confusion.sum() == pixels
    assert np.array_equal(confusion.sum(1), expected.sum(1))
    # A batch may round differently from a single image: one pixel in thousands.
    assert np.abs(confusion - expected).sum() <= pixels / 500
    hits = np.diag(confusion)
    ious = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    assert metrics.accuracy == pytest.approx(hits.sum() / pixels, abs=1e-12)
    assert metrics.mean_iou == pytest.approx(ious.mean(), abs=1e-12)
    for index, values in enumerate(metrics.classes.values()):
        assert values.iou == pytest.approx(ious[index], abs=1e-12)
        assert values.dice == pytest.approx(2 * hits[index] / (confusion[index].sum() + confusion[:, index].sum()))
        assert values.recall == pytest.approx(hits[index] / confusion[index].sum())
        assert values.pixels == confusion[index].sum()
    assert metrics.image_count == len(pets.test)
    assert metrics.resolution == "original"


def test_a_model_of_tiles_is_evaluated_with_tiles(run: pw.Run, pets: pw.DatasetIndex) -> None:
    model = SegmentationModel.load(run.path)
    model.config = model.config.model_copy(update={"view": "tiles", "scale": 0.5, "size": 32})
    model.save(run.path)
    metrics = pw.evaluate(run, pets, "test").metrics
    expected = count_with_numpy(run, pets)
    confusion = np.array(metrics.confusion)
    assert np.abs(confusion - expected).sum() <= confusion.sum() / 500
    small = pw.evaluate(run, pets, "test", resolution="model").metrics
    assert small.resolution == "scale 0.5"
    sizes = [read_image(record.image).shape[:2] for record in pets.test]
    counted = np.array(small.confusion).sum()
    assert counted == sum(round(height / 2) * round(width / 2) for height, width in sizes)


def test_a_model_of_whole_images_is_evaluated_with_windows(run: pw.Run, pets: pw.DatasetIndex) -> None:
    whole = pw.evaluate(run, pets, "test")
    tiles = pw.evaluate(run, pets, "test", out="auto", view="tiles")
    scale = training_scale(SegmentationModel.load(run.path).config)
    assert (whole.view, whole.scale, tiles.view, tiles.scale) == ("whole", None, "tiles", scale)
    confusion = np.array(tiles.metrics.confusion)
    assert np.abs(confusion - count_with_numpy(run, pets, "tiles")).sum() <= confusion.sum() / 500
    assert np.abs(confusion - np.array(whole.metrics.confusion)).sum() > confusion.sum() / 100
    assert tiles.path is not None and tiles.page is not None
    stored = json.loads(tiles.path.read_text(encoding="utf-8"))
    assert (stored["view"], stored["scale"]) == ("tiles", scale)
    assert f"view tiles at scale {scale:.3g}" in tiles.page.read_text(encoding="utf-8")
    larger = pw.evaluate(run, pets, "test", resolution="model", view="tiles", scale=0.9)
    assert (larger.scale, larger.metrics.resolution) == (0.9, "scale 0.9")
    with pytest.raises(ConfigError, match="`scale` has no effect on whole images"):
        pw.evaluate(run, pets, "test", scale=0.9)


def test_each_image_is_counted_once(run: pw.Run, pets: pw.DatasetIndex) -> None:
    predictor = Predictor.load_run(run.path)
    alone = np.zeros((3, 3), np.int64)
    for record in pets.test:
        alone += compute_confusion_matrix(predictor, [record], pets.read_spec).numpy()
    together = compute_confusion_matrix(predictor, pets.test, pets.read_spec).numpy()
    assert np.array_equal(alone.sum(1), together.sum(1))
    assert np.abs(alone - together).sum() <= together.sum() / 500


def test_more_images_than_one_batch(run: pw.Run, pets: pw.DatasetIndex) -> None:
    predictor = Predictor.load_run(run.path)
    many = [*pets.train, *pets.test]
    assert len(many) > 16
    parts = compute_confusion_matrix(predictor, many[:11], pets.read_spec) + compute_confusion_matrix(
        predictor, many[11:], pets.read_spec
    )
    together = compute_confusion_matrix(predictor, many, pets.read_spec)
    assert together.sum() == parts.sum()
    assert (together - parts).abs().sum() <= together.sum() / 500


def test_model_resolution(run: pw.Run, pets: pw.DatasetIndex) -> None:
    metrics = pw.evaluate(run, pets, "test", out="auto", resolution="model").metrics
    assert metrics.resolution == "64x64"
    assert np.sum(metrics.confusion) == len(pets.test) * 64 * 64
    stored = json.loads((run.path / "evaluation-test.json").read_text())
    assert stored["resolution"] == "64x64"


def test_ignored_pixels_are_not_counted(run: pw.Run, pets: pw.DatasetIndex) -> None:
    ignoring = replace(pets, read_spec=ReadSpec(LabelMap("index", {1: 0, 2: 1, 3: 255})))
    confusion = pw.evaluate(run, pets, "test").metrics.confusion
    assert pw.evaluate(run, ignoring, "test").metrics.confusion == [confusion[0], confusion[1], [0, 0, 0]]


def test_json_file_has_all_metrics(run: pw.Run, pets: pw.DatasetIndex) -> None:
    result = pw.evaluate(run, pets, "test", out="auto")
    assert result.path == run.path / "evaluation-test.json"
    stored = json.loads(result.path.read_text(encoding="utf-8"))
    metrics = result.metrics
    assert set(stored) == {
        "accuracy", "miou", "classes", "confusion", "images", "resolution", "split", "left_out",
        "evaluated_on", "warning", "note", "intervals", "boundary", "calibration", "lowest_label_quality",
        "ms_per_image", "device", "tta", "view", "scale", "model", "computation",
    }  # fmt: skip
    assert list(stored["classes"]) == list(pets.classes)
    for name, values in stored["classes"].items():
        assert set(values) == {"iou", "dice", "precision", "recall", "pixels"}
        assert values["iou"] == metrics.classes[name].iou
    assert stored["confusion"] == metrics.confusion
    assert (stored["images"], stored["resolution"]) == (len(pets.test), "original")
    assert (stored["split"], stored["left_out"]) == ("test", 0)
    assert (stored["accuracy"], stored["miou"]) == (metrics.accuracy, metrics.mean_iou)


def test_nothing_is_written_by_default(run: pw.Run, pets: pw.DatasetIndex) -> None:
    before = sorted(run.path.rglob("*"))
    assert pw.evaluate(run, pets, "test").path is None
    assert sorted(run.path.rglob("*")) == before


def test_other_splits(run: pw.Run, pets: pw.DatasetIndex) -> None:
    assert pw.evaluate(run, pets, "train").metrics.image_count == len(pets.train)
    with pytest.raises(DataError, match=r"no 'val' split; splits with images: train, test"):
        pw.evaluate(run, pets, "val", out="auto")
    assert not (run.path / "evaluation-val.json").exists()


def test_existing_out_is_refused(run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"metrics\.json: exists already; choose another `out`"):
        pw.evaluate(run, pets, "test", out=out)
    assert out.read_text() == "mine"
    result = pw.evaluate(run, pets, "test", out=tmp_path / "deeper" / "metrics.json")
    assert result.path == tmp_path / "deeper" / "metrics.json"
    assert json.loads(result.path.read_text())["split"] == "test"
    assert not (run.path / "evaluation-test.json").exists()


def test_evaluations_are_numbered(run: pw.Run, pets: pw.DatasetIndex) -> None:
    first = pw.evaluate(run, pets, "test", out="auto")
    before = (run.path / "evaluation-test.json").read_bytes()
    assert pw.evaluate(run.path, pets, "test", out="auto").metrics == first.metrics
    pw.evaluate(str(run.path), pets, "test", out="auto")
    assert (run.path / "evaluation-test.json").read_bytes() == before
    names = sorted(path.name for path in run.path.glob("evaluation-*"))
    assert names == [
        f"evaluation-test{number}.{suffix}" for number in ("-2", "-3", "") for suffix in ("csv", "html", "json")
    ]


def test_classes_must_equal_those_of_the_model(run: pw.Run, pets: pw.DatasetIndex) -> None:
    reordered = replace(pets, classes=("background", "pet", "border"))
    with pytest.raises(DataError, match=r"background, pet, border.*trained on pet, background, border"):
        pw.evaluate(run, reordered, "test", out="auto")
    assert not list(run.path.glob("evaluation-*"))


def test_directory_without_run_is_refused(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run directory"):
        pw.evaluate(tmp_path, pets)


def test_unreadable_files_raise_or_are_skipped(
    run: pw.Run, pets: pw.DatasetIndex, pets_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(pets_folder, tmp_path / "pets"))
    assert isinstance(pets.test[4].mask, Path)
    bad = folder / "annotations" / "trimaps" / pets.test[4].mask.name
    bad.write_bytes(bad.read_bytes()[:60])
    data = pw.load_dataset(folder)
    with pytest.raises(DataError, match=bad.name):
        pw.evaluate(run, data, "test")
    result = pw.evaluate(run, data, "test", out="auto", skip_unreadable=True)
    expected = pw.evaluate(run, replace(pets, test=pets.test[:4] + pets.test[5:]), "test").metrics
    # Batches of other images may round differently: one pixel in thousands.
    difference = np.abs(np.array(result.metrics.confusion) - np.array(expected.confusion)).sum()
    assert result.metrics.image_count == expected.image_count == 9 and difference <= np.sum(expected.confusion) / 500
    (error,) = result.skipped
    assert bad.name in str(error)
    assert result.path is not None
    assert json.loads(result.path.read_text())["left_out"] == 1
    with pytest.raises(DataError, match=rf"no image of the test split can be used: .*{bad.name}"):
        pw.evaluate(run, replace(data, test=data.test[4:5]), "test", skip_unreadable=True)


def test_large_masks_are_counted_in_bands(run: pw.Run, pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load_run(run.path, "cpu", "32-true")
    whole = compute_confusion_matrix(predictor, pets.test[:2], pets.read_spec)
    monkeypatch.setattr("pixelwise.evaluation.counting._COUNTED_PIXELS", 1000)
    assert torch.equal(compute_confusion_matrix(predictor, pets.test[:2], pets.read_spec), whole)


def test_a_lack_of_memory_fails_one_image(run: pw.Run, pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    to_mask, calls = resize_to_mask, 0

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7200000000 bytes")
        return to_mask(*args, **kwargs)

    monkeypatch.setattr(make_prediction, "resize_to_mask", fail_once)
    result = pw.evaluate(run, pets, "test", skip_unreadable=True)
    (error,) = result.skipped
    assert str(error).startswith(f"{pets.test[2].image}: not enough memory for ")
    assert result.metrics.image_count == len(pets.test) - 1


class TestMetricsOnRequest:
    def test_results_equal_those_of_the_metric_alone(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        spec = {"name": "boundary_iou", "width": 0.05}
        result = pw.evaluate(run, pets, "test", out="auto", metrics=[spec, "image_iou"])
        predictor = Predictor.load_run(run.path)
        expected = [build_metric(each, pets.classes, MULTICLASS) for each in (spec, "image_iou")]
        for record in pets.test:
            image, mask = read_image_and_mask(record, pets.read_spec)
            (prediction,) = predictor.predict_batch([image])
            for metric in expected:
                metric.update(torch.from_numpy(mask), torch.from_numpy(prediction.mask))
        assert result.extra == pytest.approx(expected[0].compute() | expected[1].compute(), abs=2e-3)
        assert {"boundary_iou", "boundary_iou_pet", "image_iou", "image_iou_border"} <= set(result.extra)
        assert result.path is not None
        assert json.loads(result.path.read_text())["extra"] == result.extra

    def test_parameters_have_an_effect(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        narrow, wide = (
            pw.evaluate(run, pets, metrics=[{"name": "boundary_iou", "width": width}]).extra["boundary_iou"]
            for width in (0.01, 0.2)
        )
        assert narrow != wide

    def test_unknown_and_repeated_metrics_are_refused(self, run: pw.Run, pets: pw.DatasetIndex) -> None:
        with pytest.raises(ConfigError, match="unknown metric 'boundary'"):
            pw.evaluate(run, pets, metrics=["boundary"])
        with pytest.raises(ConfigError, match="'image_iou' is listed twice"):
            pw.evaluate(run, pets, metrics=["image_iou", "image_iou"])
