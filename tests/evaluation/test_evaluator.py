"""Honest figures: checked against counts made by hand, at the images' own size."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.cli.app import main
from pixelwise.data.io.image import read_image
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import DataError, RunError
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference.predictor import Predictor
from pixelwise.reporting.console import print_metrics


@pytest.fixture
def run(tiny_run: pw.Run, tmp_path: Path) -> pw.Run:
    """A copy of the finished run's model and settings, to be written to."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "model.json", "model.safetensors"):
        shutil.copy(tiny_run.path / name, folder)
    return pw.Run.open(folder)


def counted(run: pw.Run, pets: pw.DatasetIndex) -> np.ndarray:
    """The confusion matrix of the test split by numpy alone, one image after another."""
    predictor = Predictor.load(run.path)
    confusion = np.zeros((3, 3), np.int64)
    for record in pets.test:
        assert record.mask is not None
        with Image.open(record.mask) as trimap:
            truth = np.array(trimap).astype(int) - 1
        predicted = predictor(record.image).mask
        for true in range(3):
            for other in range(3):
                confusion[true, other] += np.count_nonzero((truth == true) & (predicted == other))
    return confusion


def test_figures_equal_those_counted_by_hand(run: pw.Run, pets: pw.DatasetIndex) -> None:
    metrics = pw.evaluate(run, pets, "test")
    confusion = counted(run, pets)
    found = np.array(metrics.confusion)
    # Each pixel of each image once, at its own size.
    pixels = sum(read_image(record.image)[..., 0].size for record in pets.test)
    assert found.sum() == pixels
    assert np.array_equal(found.sum(1), confusion.sum(1))
    # A batch may round differently from an image alone: a pixel in thousands.
    assert np.abs(found - confusion).sum() <= pixels / 500
    hits = np.diag(found)
    ious = hits / (found.sum(0) + found.sum(1) - hits)
    assert metrics.accuracy == pytest.approx(hits.sum() / pixels, abs=1e-12)
    assert metrics.mean_iou == pytest.approx(ious.mean(), abs=1e-12)
    for index, figures in enumerate(metrics.classes.values()):
        assert figures.iou == pytest.approx(ious[index], abs=1e-12)
        assert figures.dice == pytest.approx(2 * hits[index] / (found[index].sum() + found[:, index].sum()))
        assert figures.recall == pytest.approx(hits[index] / found[index].sum())
        assert figures.pixels == found[index].sum()
    assert metrics.image_count == len(pets.test)
    assert metrics.resolution == "original"


def test_each_image_counts_once(run: pw.Run, pets: pw.DatasetIndex) -> None:
    predictor = Predictor.load(run.path)
    alone = sum(compute_confusion_matrix(predictor, [record], pets.read_spec).numpy() for record in pets.test)
    together = compute_confusion_matrix(predictor, pets.test, pets.read_spec).numpy()
    assert np.array_equal(alone.sum(1), together.sum(1))
    assert np.abs(alone - together).sum() <= together.sum() / 500


def test_more_images_than_a_batch_holds(run: pw.Run, pets: pw.DatasetIndex) -> None:
    predictor = Predictor.load(run.path)
    many = [*pets.train, *pets.test]
    assert len(many) > 16
    parts = compute_confusion_matrix(predictor, many[:11], pets.read_spec) + compute_confusion_matrix(
        predictor, many[11:], pets.read_spec
    )
    whole = compute_confusion_matrix(predictor, many, pets.read_spec)
    assert whole.sum() == parts.sum()
    assert (whole - parts).abs().sum() <= whole.sum() / 500


def test_at_the_models_resolution(run: pw.Run, pets: pw.DatasetIndex) -> None:
    metrics = pw.evaluate(run, pets, "test", resolution="model")
    assert metrics.resolution == "64x64"
    assert np.sum(metrics.confusion) == len(pets.test) * 64 * 64
    stored = json.loads((run.path / "evaluation-test.json").read_text())
    assert stored["resolution"] == "64x64"


def test_pixels_to_ignore_do_not_count(run: pw.Run, pets: pw.DatasetIndex) -> None:
    ignoring = replace(pets, read_spec=ReadSpec(LabelMap("index", {1: 0, 2: 1, 3: 255})))
    metrics = pw.evaluate(run, ignoring, "test")
    whole = pw.evaluate(run, pets, "test")
    assert metrics.confusion == [whole.confusion[0], whole.confusion[1], [0, 0, 0]]


def test_the_json_is_as_described(run: pw.Run, pets: pw.DatasetIndex) -> None:
    metrics = pw.evaluate(run, pets, "test")
    stored = json.loads((run.path / "evaluation-test.json").read_text(encoding="utf-8"))
    assert {"accuracy", "miou", "classes", "confusion", "images", "resolution"} <= stored.keys()
    assert list(stored["classes"]) == list(pets.classes)
    for name, figures in stored["classes"].items():
        assert set(figures) == {"iou", "dice", "precision", "recall", "pixels"}
        assert figures["iou"] == metrics.classes[name].iou
    assert stored["confusion"] == metrics.confusion
    assert (stored["images"], stored["resolution"]) == (len(pets.test), "original")
    assert (stored["accuracy"], stored["miou"]) == (metrics.accuracy, metrics.mean_iou)


def test_other_splits(run: pw.Run, pets: pw.DatasetIndex) -> None:
    assert pw.evaluate(run, pets, "train").image_count == len(pets.train)
    with pytest.raises(DataError, match=r"no 'val' split; splits with images: train, test"):
        pw.evaluate(run, pets, "val")
    assert not (run.path / "evaluation-val.json").exists()


def test_an_out_that_is_there_is_refused(run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    out.write_text("mine")
    with pytest.raises(DataError, match=r"figures\.json: is already there"):
        pw.evaluate(run, pets, "test", out=out)
    assert out.read_text() == "mine"
    pw.evaluate(run, pets, "test", out=tmp_path / "deeper" / "figures.json")
    assert json.loads((tmp_path / "deeper" / "figures.json").read_text())["split"] == "test"
    assert not (run.path / "evaluation-test.json").exists()


def test_evaluations_are_numbered(run: pw.Run, pets: pw.DatasetIndex) -> None:
    first = pw.evaluate(run, pets, "test")
    before = (run.path / "evaluation-test.json").read_bytes()
    assert pw.evaluate(run.path, pets, "test") == first
    pw.evaluate(str(run.path), pets, "test")
    assert (run.path / "evaluation-test.json").read_bytes() == before
    names = sorted(path.name for path in run.path.glob("evaluation-*"))
    assert names == ["evaluation-test-2.json", "evaluation-test-3.json", "evaluation-test.json"]


def test_other_classes_than_the_models(run: pw.Run, pets: pw.DatasetIndex) -> None:
    turned = replace(pets, classes=("background", "pet", "border"))
    with pytest.raises(DataError, match=r"background, pet, border.*trained on pet, background, border"):
        pw.evaluate(run, turned, "test")
    assert not list(run.path.glob("evaluation-*"))


def test_no_run(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run"):
        pw.evaluate(tmp_path, pets)


def test_an_absent_class_has_no_iou_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    confusion = torch.tensor([[8, 0, 2], [0, 0, 0], [1, 0, 9]])
    metrics = pw.Metrics.from_confusion(confusion, ("pet", "background", "border"), MULTICLASS, 1, "original")
    assert metrics.absent_classes == ("background",)
    assert metrics.classes["background"].iou is None
    assert metrics.mean_iou == pytest.approx((8 / 11 + 9 / 12) / 2)
    print_metrics(metrics, "test")
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if "background" in line and "absent:" not in line]
    assert "absent" in row
    assert "absent: background" in printed.splitlines()[-1]
    assert "73.86%" in printed.splitlines()[-1]


def test_bad_files_are_an_error_or_left_out_and_counted(
    run: pw.Run, pets: pw.DatasetIndex, pets_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(pets_folder, tmp_path / "pets"))
    bad = folder / "annotations" / "trimaps" / pets.test[4].mask.name
    bad.write_bytes(bad.read_bytes()[:60])
    found = pw.load_dataset(folder)
    with pytest.raises(DataError, match=bad.name):
        pw.evaluate(run, found, "test")
    skipped: list[DataError] = []
    metrics = pw.evaluate(run, found, "test", skipped=skipped)
    rest = pw.evaluate(run, replace(pets, test=pets.test[:4] + pets.test[5:]), "test")
    # Batches of other images may round differently: a pixel in thousands.
    apart = np.abs(np.array(metrics.confusion) - np.array(rest.confusion)).sum()
    assert metrics.image_count == rest.image_count == 9 and apart <= np.sum(rest.confusion) / 500
    assert len(skipped) == 1 and bad.name in str(skipped[0])
    run.write_dataset_spec(DatasetSpec.of(pets))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(run.path), str(folder), "--skip-bad", "--out", str(tmp_path / "found.json")])
    assert ended.value.code == 1 and f"left out: {bad}" in capsys.readouterr().err
    assert json.loads((tmp_path / "found.json").read_text())["left_out"] == 1
    with pytest.raises(DataError, match="no image of the test split can be used"):
        pw.evaluate(run, replace(found, test=found.test[4:5]), "test", skipped=[])
