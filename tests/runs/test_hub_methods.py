"""A run in a folder for the hub: the card's facts come from the files of the run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import pixelwise as pw
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.hub_methods import find_evaluation
from pixelwise.runs.split_file import read_split


@pytest.fixture
def run(tiny_run: pw.Run, tmp_path: Path) -> pw.Run:
    """Copy the run."""
    return pw.Run.open(shutil.copytree(tiny_run.path, tmp_path / "run"))


def write_evaluation(run: pw.Run, name: str, **changes: object) -> None:
    """Write an evaluation of the run's model with other fields."""
    config = SegmentationModel.load(run.path).config
    content = {
        "miou": 0.5,
        "accuracy": 0.9,
        "classes": {label: {"iou": 0.5} for label in config.classes},
        "images": 10,
        "resolution": "original",
        "split": "test",
        "evaluated_on": "the test split of the data set",
        "warning": None,
        "note": None,
        "intervals": {"miou": None, "classes": {}},
        "calibration": {"temperature": config.temperature},
    }
    (run.path / name).write_text(json.dumps(content | changes), encoding="utf-8")


def test_the_card_has_the_scores_that_evaluate_wrote(run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    evaluation = pw.evaluate(run, pets, out="auto")
    folder = run.save_pretrained(tmp_path / "model", repo="me/pets", data_license="cc0-1.0")
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "model.json", "model.safetensors", "sample.png",
    ]  # fmt: skip
    card: Any = ModelCard.load(folder / "README.md")
    score = next(result for result in card.data.eval_results if result.metric_type == "mean_iou")
    assert score.metric_value == pytest.approx(evaluation.metrics.mean_iou, abs=1e-4)
    assert (score.dataset_name, score.dataset_split) == ("oxford-iiit-pet", "test")
    parts = [row.part for row in read_split(run.path) or ()]
    assert parts.count("train") > 0 and parts.count("val") > 0
    line = f"| images | {parts.count('train')} to train, {parts.count('val')} to choose the best epoch |"
    assert line in card.text.splitlines()
    assert "hf://me/pets" in card.text
    assert "| training data | cc0-1.0 |" in card.text
    assert str(run.path.parent) not in card.text  # paths of this machine are private
    assert (folder / "sample.png").read_bytes() in [
        image.read_bytes() for image in run.sample_images(run.config.epochs)
    ]


def test_the_saved_model_predicts_as_the_run(run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    folder = run.save_pretrained(tmp_path / "model", sample=False)
    assert not (folder / "sample.png").exists()
    image = str(pets.test[0].image)
    assert (pw.Predictor.load(folder)(image).mask == pw.Predictor.load(run.path)(image).mask).all()


def test_the_test_split_comes_before_the_val_split(run: pw.Run) -> None:
    config = SegmentationModel.load(run.path).config
    assert find_evaluation(run.path, config) is None
    write_evaluation(run, "evaluation-val.json", split="val", miou=0.6)
    found = find_evaluation(run.path, config)
    assert found is not None and found["miou"] == 0.6
    write_evaluation(run, "evaluation-test.json", miou=0.4)
    found = find_evaluation(run.path, config)
    assert found is not None and found["miou"] == 0.4


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": {"temperature": 99.0}},
        {"classes": {"other": {"iou": 0.5}}},
        {"warning": "10 of these images were trained on"},
        {"split": "train"},
        {"calibration": None},
    ],
)
def test_an_evaluation_of_another_model_or_on_training_images_is_not_used(
    run: pw.Run, changes: dict[str, object]
) -> None:
    write_evaluation(run, "evaluation-test.json", **changes)
    assert find_evaluation(run.path, SegmentationModel.load(run.path).config) is None


def test_a_damaged_evaluation_is_not_used(run: pw.Run) -> None:
    (run.path / "evaluation-test.json").write_text("{", encoding="utf-8")
    assert find_evaluation(run.path, SegmentationModel.load(run.path).config) is None
