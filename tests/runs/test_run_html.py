"""Tests of the HTML that a notebook shows for a run."""

from pathlib import Path

import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.runs.metrics_file import summarize_history
from pixelwise.runs.run_dir import Run
from tests.visualization.test_html import decode_images


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Start a run whose directory has the characters of HTML."""
    run = Run(tmp_path / "<b>run", pw.Config(epochs=5))
    run.start()
    return run


def test_a_new_run(run: Run) -> None:
    shown = run._repr_html_()
    assert "&lt;b&gt;run" in shown
    assert run.config.encoder in shown and "no epoch is completed" in shown
    assert decode_images(shown) == []


def test_summary_curves_and_newest_samples(run: Run) -> None:
    run.write_metrics([{"epoch": 1, "val_miou": 0.5}, {"epoch": 2, "val_miou": 0.75}, {"epoch": 3, "val_miou": 0.7}])
    Image.new("RGB", (1300, 500), "white").save(run.history_image)
    for epoch, color in ((0, "black"), (2, "white"), (4, "black")):  # epoch 4 is of a training that is repeated
        Image.new("RGB", (900, 600), color).save(run.sample_image(epoch))
    shown = run._repr_html_()
    assert "3 epochs, best validation mIoU 0.750 after epoch 2" in shown
    curves, samples = decode_images(shown)
    assert curves.size == (900, 346)
    assert samples.size == (900, 600) and samples.getpixel((5, 5)) == (255, 255, 255)
    assert len(shown) < 300_000


def test_damaged_metrics_are_reported(run: Run) -> None:
    (run.path / "metrics.csv").write_text("epoch,val_miou\n7,0.5\n", encoding="utf-8")
    assert "metrics.csv: cannot be read" in run._repr_html_()


def test_epochs_without_a_score() -> None:
    assert summarize_history([{"epoch": 1.0, "val_miou": None}]) == "1 epoch"
    assert summarize_history([{"val_miou": 0.5}, {"val_miou": 0.5}]).endswith("0.500 after epoch 1")
