"""Cross-validation and repeated trainings: each image is held out once, groups resume, the models predict together."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.errors import ConfigError, DataError, OutputExistsError, RunError
from pixelwise.runs.group import RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.training.repeats import train_folds, train_seeds
from tests.conftest import TINY

SETTINGS: dict[str, Any] = {**TINY, "epochs": 1, "callbacks": [], "seed": 3}


@pytest.fixture(scope="module")
def folds(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> RunGroup:
    """Train two folds once. Tests that change them copy them first."""
    return train_folds(pets, tmp_path_factory.mktemp("groups") / "folds", 2, **SETTINGS)


@pytest.fixture
def copied(folds: RunGroup, tmp_path: Path) -> RunGroup:
    shutil.copytree(folds.path, tmp_path / "folds")
    return RunGroup.open(tmp_path / "folds")


def probabilities_of(path: Path, image: np.ndarray) -> np.ndarray:
    probabilities = pw.Predictor.load(path)(image, probabilities=True).probabilities
    assert probabilities is not None
    return probabilities


def test_each_image_is_validated_in_one_fold(folds: RunGroup, pets: pw.DatasetIndex) -> None:
    held_out = []
    for path, member in zip(folds.paths, folds.members, strict=True):
        rows = [line.split(",") for line in (path / "split.csv").read_text().splitlines()[1:]]
        val = [name for name, part, *_ in rows if part == "val"]
        assert len(val) == member.val_images and member.train_images + member.val_images == len(pets.train)
        held_out += val
    assert len(held_out) == len(set(held_out)) == len(pets.train)


def test_the_score_of_all_images_is_that_of_the_summed_counts(folds: RunGroup) -> None:
    assert folds.is_complete and folds.pooled is not None
    tables = [member.metrics for member in folds.members if member.metrics]
    total = np.sum([table["confusion"] for table in tables], axis=0)
    hits = np.diag(total)
    expected = hits / (total.sum(0) + total.sum(1) - hits)
    assert folds.pooled.mean_iou == pytest.approx(expected.mean())
    assert folds.pooled.image_count == sum(member.val_images for member in folds.members)
    scores = [table["miou"] for table in tables]
    assert folds.mean_iou.mean == pytest.approx(np.mean(scores))
    assert folds.mean_iou.sd == pytest.approx(np.std(scores, ddof=1))
    assert folds.class_iou["pet"].mean == pytest.approx(np.mean([table["classes"]["pet"]["iou"] for table in tables]))


def test_the_models_of_a_group_predict_together(folds: RunGroup, pets: pw.DatasetIndex) -> None:
    image = pets.read(pets.test[0])[0]
    single = [probabilities_of(path, image) for path in folds.paths]
    together = probabilities_of(folds.path, image)
    # Logits are averaged before they are resized to the image's size, so the values are close but not equal.
    np.testing.assert_allclose(together, np.mean(np.stack(single), axis=0), atol=0.02)
    assert np.abs(single[0] - single[1]).max() > 0.02


def test_a_group_resumes_after_its_complete_runs(copied: RunGroup, pets: pw.DatasetIndex) -> None:
    first, second = copied.paths
    content = json.loads((copied.path / "group.json").read_text())
    content["members"][1]["metrics"] = None
    (copied.path / "group.json").write_text(json.dumps(content))
    shutil.rmtree(second)
    before = (first / "model.safetensors").stat().st_mtime_ns
    resumed = train_folds(pets, copied.path, 2, resume=True, **SETTINGS)
    assert (first / "model.safetensors").stat().st_mtime_ns == before, "a complete run is kept"
    assert resumed == copied, "the second run has the same images, seed and result"
    assert RunGroup.open(copied.path) == resumed


def test_a_group_is_not_continued_as_another_one(copied: RunGroup, pets: pw.DatasetIndex) -> None:
    with pytest.raises(OutputExistsError, match="contains a run"):
        train_folds(pets, copied.path, 2, **SETTINGS)
    with pytest.raises(RunError, match="contains 2 folds; give `folds` the value 2"):
        train_folds(pets, copied.path, 3, resume=True, **SETTINGS)
    with pytest.raises(RunError, match="contains 2 folds; give `folds` the value 2"):
        train_seeds(pets, copied.path, 2, resume=True, **SETTINGS)
    with pytest.raises(RunError, match="contains 2 folds"):
        pw.train(pets, copied.path, resume=True)
    with pytest.raises(ConfigError, match="cannot change `epochs`"):
        train_folds(pets, copied.path, 2, resume=True, **{**SETTINGS, "epochs": 5})
    smaller = pw.load_dataset(pets.root)
    object.__setattr__(smaller, "train", smaller.train[:-2])
    with pytest.raises(DataError, match="the data set has changed"):
        train_folds(smaller, copied.path, 2, resume=True, **SETTINGS)


def test_seeds_share_their_images_and_differ_in_their_weights(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    group = train_seeds(pets, tmp_path / "seeds", 2, **SETTINGS)
    assert [member.name for member in group.members] == ["seed-3", "seed-4"]
    splits = [(path / "split.csv").read_text() for path in group.paths]
    assert splits[0] == splits[1]
    assert [Run.open(path).config.seed for path in group.paths] == [3, 4]
    losses = [Run.open(path).read_metrics()[0]["train_loss"] for path in group.paths]
    assert losses[0] != losses[1]
    assert group.pooled is None and group.mean_iou.sd is not None


@pytest.mark.parametrize("count", [1, 101])
def test_the_number_of_runs_is_limited(pets: pw.DatasetIndex, tmp_path: Path, count: int) -> None:
    with pytest.raises(ConfigError, match="`folds` must be 2 to 100"):
        train_folds(pets, tmp_path / "out", count)
    with pytest.raises(ConfigError, match="`seeds` must be 2 to 100"):
        train_seeds(pets, tmp_path / "out", count)
    assert not (tmp_path / "out").exists()


def test_a_damaged_group_file_is_named(copied: RunGroup) -> None:
    (copied.path / "group.json").write_text("{}")
    with pytest.raises(RunError, match=r"group\.json: cannot be read"):
        RunGroup.open(copied.path)
