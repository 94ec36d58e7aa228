"""The text of each public result at the prompt: one short line without arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.data.class_spec import ClassSpec
from pixelwise.data.schema import Annotation, PolygonMask
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import MULTICLASS
from pixelwise.evaluation.extrapolation import Gain
from pixelwise.inference.objects import find_objects
from pixelwise.metrics.calibration import Calibration
from pixelwise.planning.plan import Plan
from pixelwise.training.learning_curve import LearningCurve
from pixelwise.training.lr_finder import LearningRateCurve
from pixelwise.tuning.result import TrialResult, Tuning
from tests.reporting.test_evaluation_report import make_evaluation
from tests.runs.test_group import make_group

OUT = Path("out")


def trial(number: int, miou: float | None) -> TrialResult:
    return TrialResult(number, OUT, {"lr": 0.002}, "complete" if miou else "pruned", miou)


def plan() -> Plan:
    data = DatasetSpec(format="folders", kind="index", classes={"leaf": ClassSpec(values=("1",), color="#ff0000")})
    return Plan(data, {"epochs": 3, "loss": {"name": "focal", "gamma": 3.0}}, {"epochs": "a reason"}, 185.0)


TEXTS = [
    (
        pw.Metrics.from_confusion(torch.tensor([[3, 1], [0, 4]]), ["cat", "rest"], MULTICLASS, 1, "original"),
        "Metrics(mIoU 0.775, accuracy 0.875 on 1 image; IoU: cat 0.750, rest 0.800)",
    ),
    (
        pw.Metrics.from_confusion(torch.zeros(2, 2).long(), ["cat", "rest"], MULTICLASS, 0, "original"),
        "Metrics(mIoU –, accuracy – on 0 images; IoU: cat –, rest –)",
    ),
    (
        pw.Metrics.from_confusion(torch.eye(10).long(), [*"abcdefghij"], MULTICLASS, 1200, "original"),
        "Metrics(mIoU 1.000, accuracy 1.000 on 1,200 images; IoU: a 1.000, b 1.000, c 1.000, d 1.000, e 1.000, "
        "f 1.000, g 1.000, h 1.000, 2 more classes)",
    ),
    (Calibration((1, 2), (0.1, 0.2), (0.3, 0.4), 0.125), "Calibration(error=0.125)"),
    (plan(), "Plan(epochs=3, loss={name: focal, gamma: 3.0}, about 3 min)"),
    (make_group("seeds", [[6, 2], [2, 10]], None), "RunGroup('runs/pets', 1 of 2 seeds, mIoU 0.657)"),
    (
        LearningCurve((10, 20), (0.5, 0.625), 8, Gain(40, 0.02, -0.01, 0.05), OUT),
        "LearningCurve(mIoU by training images: 10: 0.500, 20: 0.625; twice the images (40): about +0.020 "
        "(-0.010 to +0.050 with 90 % probability))",
    ),
    (
        LearningRateCurve((1e-5, 1.0), (0.5, 0.4), (0.5, 0.4), 0.003, OUT),
        f"LearningRateCurve(suggestion=0.003, path={OUT!r})",
    ),
    (
        Tuning(OUT, pw.Config(), {}, (trial(0, 0.5), trial(1, 0.75), trial(2, None)), 8),
        "Tuning('out', 3 trials, best is trial 1: mIoU 0.750 with lr=0.002)",
    ),
    (Tuning(OUT, pw.Config(), {}, (trial(0, None),), 8), "Tuning('out', 1 trial, no trial is complete)"),
    (
        pw.PackResult("shards", ("train-000000.tar",) * 999, 5000, 123, (pw.DataError("a.png: broken"),)),
        "PackResult(out='shards', shards=999, samples=5000, bytes=123, skipped=1)",
    ),
    (
        pw.PredictResult(("a", "b"), [{"photo": "a.png"}] * 7, (pw.DataError("b.png: broken"),), 2),
        "PredictResult(images=7, failed=1, resumed=2)",
    ),
    (find_objects(np.eye(3, dtype=np.uint8), MULTICLASS, 2, (0,)), "ObjectTable(1 object)"),
    (
        pw.Record(OUT, PolygonMask((Annotation(0, (np.zeros((99, 2)),)),) * 9, "labels.json, image 1")),
        f"Record(image={OUT!r}, mask=PolygonMask(name='labels.json, image 1', background=0, base=None), stratum=None, "
        "group=None)",
    ),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=[type(value).__name__ for value, _ in TEXTS])
def test_text(value: object, text: str) -> None:
    assert repr(value) == text


def test_an_evaluation_and_its_images() -> None:
    evaluation = make_evaluation()
    assert repr(evaluation) == f"Evaluation(test: {evaluation.headline})"
    assert evaluation.headline.startswith("mIoU 0.")
    assert repr(replace(evaluation, warning="trained on them")).endswith("; trained on them)")
    score = "ImageScore(file='images/0.jpg', group=None, pixels=900, correct=800, label_quality=0.5)"
    assert repr(evaluation.images[0]) == score
    assert repr(evaluation.worst[0]) == "ImageExample(index=1, score=0.25)"


def test_a_run_reads_its_metrics(tmp_path: Path) -> None:
    run = pw.Run(tmp_path, pw.Config(encoder="resnet18"))
    start = f"Run({str(tmp_path)!r}, resnet18, "
    assert repr(run) == f"{start}no epoch is completed)"
    run.write_metrics([{"epoch": 1.0, "val_miou": 0.5}, {"epoch": 2.0, "val_miou": 0.75}])
    assert repr(run) == f"{start}2 epochs, best validation mIoU 0.750 after epoch 2)"
    (tmp_path / "metrics.csv").write_text("epoch\n7\n", encoding="utf-8")
    assert repr(run) == f"{start}metrics.csv cannot be read)"


def test_a_data_set_of_many_classes(pets: pw.DatasetIndex) -> None:
    names = tuple(f"c{number}" for number in range(150))
    assert "classes=('c0', 'c1', 'c2'," in repr(replace(pets, classes=names))
    assert "'c11', … 138 more), train=12" in repr(replace(pets, classes=names))


def test_a_predictor_and_the_state_of_a_training(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    model = pw.create_model("resnet18", classes=pets.classes, image_size=64, encoder_weights="none")
    assert repr(pw.Predictor(model, "cpu", tta=True)) == "Predictor(resnet18, 3 classes, 64x64, cpu, tta=True)"
    run = pw.Run(tmp_path, pw.Config(encoder="resnet18"))
    assert repr(pw.TrainState(run, pets, model, (), step=7)) == f"TrainState({run!r}, step 7)"
