"""Trainings whose network sees windows of the images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.io import image, image_windows
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.inference.tiling import TileGrid, crop_windows
from pixelwise.models.model import SegmentationModel
from pixelwise.planning.rules import make_plan
from pixelwise.training.start_from import inherited_settings
from tests.data.test_window_files import write
from tests.thin_structures import draw_thin_structures
from tests.training.helpers import SMALL, Interrupt, assert_same_run, value

TILES: dict[str, Any] = SMALL | {"view": "tiles", "scale": 0.5, "image_size": 32, "batch_size": 64, "epochs": 1}


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> pw.DatasetIndex:
    return pw.load_dataset(draw_thin_structures(tmp_path_factory.mktemp("thin") / "data", 6, (150, 110)))


@pytest.fixture(scope="module")
def run(thin: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    return pw.train(thin, tmp_path_factory.mktemp("runs") / "tiles", **TILES)


def test_the_model_stores_its_view(run: pw.Run) -> None:
    config = SegmentationModel.load(run.path).config
    assert (config.view, config.scale, config.size) == ("tiles", 0.5, 32)
    assert (run.config.view, run.config.scale) == ("tiles", 0.5)


def test_an_epoch_has_a_bounded_number_of_windows(run: pw.Run) -> None:
    (row,) = run.read_metrics()
    assert row["step"] == 4, "256 windows"


def test_the_validation_is_that_of_blended_windows(run: pw.Run, thin: pw.DatasetIndex) -> None:
    """The metrics of the last epoch are those of the blended probabilities of the model at the working scale."""
    predictor, (row,) = pw.Predictor.load_run(run.path, "cpu", "32-true"), run.read_metrics()
    held_out = {line.split(",")[0] for line in (run.path / "split.csv").read_text().splitlines() if ",val" in line}
    task, total = predictor.task, predictor.task.zero_matrix(3)
    found = 0
    for record in thin.train:
        if f"images/{Path(str(record.image)).name}" not in held_out:
            continue
        found += 1
        pixels, mask = thin.read(record)
        grid = TileGrid(55, 75, (32, 32))
        small = resize_image(pixels, (55, 75))
        logits = predictor.forward(crop_windows(small, grid.windows, (32, 32)))
        weights = torch.from_numpy(np.exp(-0.5 * ((np.arange(32) - 15.5) / 4) ** 2)).float()
        blended, norm = torch.zeros(3, 55, 75), torch.zeros(55, 75)
        for window, probabilities in zip(grid.windows, task.activate(logits), strict=True):
            part = (slice(window.top, window.top + 32), slice(window.left, window.left + 32))
            blended[:, *part] += probabilities * weights[:, None] * weights
            norm[part] += weights[:, None] * weights
        prediction = (blended / norm).argmax(0).to(torch.uint8)
        total += task.confusion(resize_mask(mask, (55, 75))[None], prediction[None], 3)
    assert found == 1
    iou = total.diag() / (total.sum(0) + total.sum(1) - total.diag())
    assert value(row, "iou_background") == pytest.approx(float(iou[0]), abs=2e-3)


def test_a_resumed_training_has_the_same_windows(run: pw.Run, thin: pw.DatasetIndex, tmp_path: Path) -> None:
    whole = pw.train(thin, tmp_path / "whole", **TILES | {"epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        pw.train(thin, tmp_path / "parts", **TILES | {"epochs": 2, "callbacks": [Interrupt(2)]})
    assert_same_run(whole, pw.train(thin, tmp_path / "parts", resume=True, defaults=False))


def test_a_training_starts_from_a_run_of_tiles(run: pw.Run, thin: pw.DatasetIndex, tmp_path: Path) -> None:
    again = pw.train(thin, tmp_path / "again", **{**SMALL, "epochs": 1, "batch_size": 64, "start_from": str(run.path)})
    assert (again.config.view, again.config.scale) == ("tiles", 0.5)
    assert SegmentationModel.load(again.path).config.scale == 0.5
    assert "view" not in inherited_settings(run.path, "whole") and inherited_settings(run.path)["view"] == "tiles"


def test_training_without_the_cache(thin: pw.DatasetIndex, tmp_path: Path) -> None:
    run = pw.train(thin, tmp_path / "run", **TILES, cache_images=False)
    assert value(run.read_metrics()[0], "val_miou") > 0


def test_evaluation_uses_the_view_of_the_run(run: pw.Run, thin: pw.DatasetIndex) -> None:
    result = pw.evaluate(run, thin, "val")
    assert result.metrics.accuracy is not None


def test_the_plan_of_tiles_is_timed(thin: pw.DatasetIndex) -> None:
    report = pw.inspect(thin.root)
    settings = {"view": "tiles", "image_size": 64, "encoder": "test_efficientnet", "encoder_weights": "none"}
    plan = make_plan(report, settings)
    assert plan.seconds is not None and plan.seconds > 0
    assert "windows an epoch" in plan.reasons["epochs"] and "on this machine" in plan.reasons["epochs"]


def test_settings_of_the_other_view_are_an_error() -> None:
    with pytest.raises(pw.ConfigError, match=r"`scale` 0\.5 needs `view` tiles"):
        Config(scale=0.5)
    with pytest.raises(pw.ConfigError, match=r"`eval_scale` 1\.5 needs `view` whole"):
        Config(view="tiles", eval_scale=1.5)
    plan = {"view": "whole", "image_size": 192, "eval_scale": 1.25}
    assert Config.from_preset(base=plan, view="tiles").eval_scale == 1


def test_images_that_are_too_large_to_be_decoded_are_validated_in_parts(
    thin: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number, record in enumerate(thin.train):
        for folder, pixels in zip(("images", "masks"), thin.read(record), strict=True):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write(tmp_path / "data" / folder / f"{number}.tif", pixels)
    expected = pw.inspect(thin.root)
    monkeypatch.setattr(image, "MAX_PIXELS", 2000)
    monkeypatch.setattr(image_windows, "LARGE_PIXELS", 2000)
    monkeypatch.setattr(image_windows, "_MIN_LARGE_BYTES", 0)
    report = pw.inspect(tmp_path / "data")
    assert [each.pixels for each in report.classes] == [each.pixels for each in expected.classes]
    with caplog.at_level("INFO", logger="pixelwise"):
        run = pw.train(report.data, tmp_path / "run", **TILES | {"defaults": True, "sample_predictions": 1})
    assert "too large to be validated as a whole" in caplog.text and "failed" not in caplog.text
    (row,) = run.read_metrics()
    assert 0 <= value(row, "val_miou") <= 1 and run.sample_image(1).exists()
    config = SegmentationModel.load(run.path).config
    assert config.mask_format is not None and config.object_scale is not None
    assert config.object_scale.image_side == pytest.approx((150 * 110) ** 0.5)
