"""Files that version 0.1 wrote are read: runs, plans, the cache."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import pixelwise as pw
from pixelwise.data.spec import DatasetSpec

pytestmark = pytest.mark.integration


def test_a_run_predicts_the_same_masks(version_0_1: Path) -> None:
    predictor = pw.Predictor.load(version_0_1 / "run", device="cpu", precision="32-true")
    expected = sorted((version_0_1 / "expected").glob("*.png"))
    assert len(expected) == 2
    for path in expected:
        mask = np.array(Image.open(path))
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(predictor(version_0_1 / "dataset" / "images" / path.name).mask, mask)


def test_a_run_is_evaluated(version_0_1: Path) -> None:
    run = pw.Run.open(version_0_1 / "run")
    data = run.read_dataset_spec().load(version_0_1 / "dataset")
    assert data.classes == ("background", "foreground")
    assert pw.evaluate(run, data, split="train", device="cpu").metrics.image_count == 10


def test_a_run_has_its_settings_by_their_new_names(version_0_1: Path) -> None:
    config = pw.Run.open(version_0_1 / "run").config
    assert (config.image_size, config.eval_scale, config.val_from, config.val_fraction) == (32, 1.0, "train", 0.3)
    assert (config.augmentation, config.decoder, config.class_weights) == ("flip", "fpn", "inverse_sqrt")
    assert (config.lr_schedule, config.precision, config.normalization) == ("onecycle", "32-true", "unit")
    assert (config.encoder_padding, config.encoder_weights, config.skip_unreadable) == ("same", "none", True)


def test_a_run_resumes_from_the_old_cache(version_0_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_CACHE", str(version_0_1 / "cache"))
    cache = version_0_1 / "cache" / "prepared"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.bin")}
    assert len(before) == 6
    old = pw.Run.open(version_0_1 / "run").read_metrics()
    data = pw.Run.open(version_0_1 / "run").read_dataset_spec().load(version_0_1 / "dataset")
    run = pw.train(data, version_0_1 / "run", resume=True, epochs=3, device="cpu")
    rows = run.read_metrics()
    new_columns = dict.fromkeys(rows[0].keys() - old[0].keys())
    assert rows[:2] == [row | new_columns for row in old] and [row["epoch"] for row in rows] == [1, 2, 3]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.bin")} == before, "no entry is built again"
    assert yaml.safe_load((version_0_1 / "run" / "config.yaml").read_text(encoding="utf-8"))["format"] == 2


def test_a_plan_is_read(version_0_1: Path) -> None:
    plan = pw.Plan.read(version_0_1 / "plan.yaml")
    assert {"image_size", "augmentation", "eval_scale", "val_fraction"} <= set(plan.settings)
    config = pw.Config.from_preset(base=plan.settings)
    assert (config.image_size, config.encoder_training, config.encoder_weights) == (128, "none", "bundled")
    assert plan.data == DatasetSpec.of(plan.data.load(version_0_1 / "dataset"))


def test_data_yaml_is_read_with_old_and_new_keys(version_0_1: Path) -> None:
    spec = DatasetSpec.read(version_0_1 / "run" / "data.yaml")
    assert spec.kind == "index" and spec.classes["foreground"].values == ("255",)
    new = version_0_1 / "new.yaml"
    new.write_text(spec.to_yaml(), encoding="utf-8")
    assert "colour" not in new.read_text(encoding="utf-8") and DatasetSpec.read(new) == spec
