"""A training on data sets with different classes: the model predicts all of them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.joined_spec import JoinedSpec, load_with_spec
from pixelwise.errors import DataError, RunError
from tests.data.joined import draw_shapes
from tests.training.helpers import SMALL


class Trained(NamedTuple):
    """A model that was trained on squares in some images, and on discs in others."""

    run: pw.Run
    data: pw.DatasetIndex
    full: pw.DatasetIndex


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("shapes")
    square = draw_shapes(root / "square", ["square"], count=12, seed=1)
    disc = draw_shapes(root / "disc", ["disc"], count=12, seed=2, background="other")
    full = draw_shapes(root / "full", ["disc", "square"], count=8, seed=3)
    data = pw.join_datasets([pw.load_dataset(square), pw.load_dataset(disc)])
    run = pw.train(data, root / "run", **SMALL | {"epochs": 30, "lr": 3e-3, "augmentation": "flip"})
    return Trained(run, data, pw.load_dataset(full))


def test_both_classes_are_predicted_in_every_image(trained: Trained) -> None:
    """No training image has labels of both, and no pixel is known to be background.

    The IoU of square and disc is 0.83 and 0.88. If unknown classes were background, it would be 0.76 and 0.62.
    """
    full = pw.join_datasets([trained.full], trained.data.classes)
    metrics = pw.evaluate(trained.run, full, "train").metrics
    assert list(metrics.classes) == ["background", "square", "disc"]
    assert min(values.iou or 0.0 for values in metrics.classes.values()) > 0.7


def test_each_data_set_has_validation_images(trained: Trained) -> None:
    rows = trained.run.read_metrics()
    assert all(rows[-1][f"iou_{name}"] is not None for name in trained.data.classes)
    assert max(row["val_miou"] or 0 for row in rows) > 0.6


def test_groups_are_searched_for_if_one_data_set_has_no_val_split(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `train`, so that the validation images of all runs are the same, and no group is in both splits."""

    def search(*_: object) -> None:
        raise DataError("groups are searched for")

    first, second = trained.data.sets
    data = pw.join_datasets([replace(first, train=first.train[2:], val=first.train[:2]), second])
    assert data.val and data.lacks_val
    monkeypatch.setattr("pixelwise.training.splits.assign_groups", search)
    with pytest.raises(DataError, match="groups are searched for"):
        pw.train_seeds(data, tmp_path / "seeds", 2)
    with pytest.raises(DataError, match="groups are searched for"):
        pw.measure_learning_curve(trained.run, data)


def test_a_part_is_evaluated_without_its_unknown_class(trained: Trained) -> None:
    spec = trained.run.read_dataset_spec()
    assert isinstance(spec, JoinedSpec) and list(spec.sets) == ["square", "disc"]
    part = load_with_spec(spec, [trained.data.sets[1].root])
    metrics = pw.evaluate(trained.run, part, "train").metrics
    model = pw.Predictor.load(trained.run.path)
    ignored = 0
    for record in part.train:
        image, mask = part.read(record)
        ignored += int(((mask == 3) & (model(image).mask == 1)).sum())
    assert ignored > 100, "predictions of square, which this data set does not know"
    assert sum(values.pixels for values in metrics.classes.values()) == 12 * 32**2 - ignored
    assert metrics.classes["square"].pixels == 0 and metrics.classes["disc"].pixels > 0


def test_class_weights_count_the_background_of_each_data_set(trained: Trained) -> None:
    dataset = pw.SegmentationDataset(trained.data.train, trained.data.read_spec, 32, cache_images=False)
    counts = dataset.class_pixels(3)
    cached = pw.SegmentationDataset(trained.data.train, trained.data.read_spec, 32).class_pixels(3)
    assert counts.tolist() == cached.tolist() and counts.sum() == 24 * 32**2 and counts[0] > counts[1:].sum()


def test_the_run_is_resumed_with_the_same_data_sets(trained: Trained, tmp_path: Path) -> None:
    first = pw.train(trained.data, tmp_path / "run", **SMALL | {"epochs": 1})
    spec = first.read_dataset_spec()
    again = load_with_spec(spec, [part.root for part in trained.data.sets])
    run = pw.train(again, tmp_path / "run", resume=True, epochs=2)
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
    with pytest.raises(RunError, match=r"epochs already"):
        pw.train(again, tmp_path / "run", resume=True, epochs=1)


def test_samples_show_background(trained: Trained) -> None:
    sheet = np.asarray(pw.preview(trained.data, count=2))
    assert sheet.ndim == 3 and sheet.std() > 5
