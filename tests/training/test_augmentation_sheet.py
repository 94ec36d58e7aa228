"""The drawing of augmented training images."""

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.augmentations import build_transform, source_size
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks.augmentation_sheet import FILE, IMAGES, VERSIONS, AugmentationSheet
from pixelwise.training.state import TrainState


def make_state(
    data: pw.DatasetIndex, folder: Path, augmentation: Any, epochs: int = 0, mosaic: float = 0
) -> TrainState:
    """Return the state of a training that has not started."""
    config = pw.Config(
        augmentation=augmentation, mosaic=mosaic, encoder="test_efficientnet", encoder_weights="none", image_size=32
    )
    images = SegmentationDataset(
        data.train,
        data.read_spec,
        source_size(augmentation, 32),
        build_transform(augmentation, 32),
        cache_images=False,
    )
    model = config.create_model(data.classes, data.palette, data.read_spec)
    return TrainState(Run(folder, config), data, model, (), (images, images), history=[{"val_miou": 0.5}] * epochs)


def draw(state: TrainState, caplog: pytest.LogCaptureFixture) -> Image.Image | None:
    with caplog.at_level(logging.WARNING):
        AugmentationSheet().on_train_start(state)
    assert not caplog.messages
    file = state.run.path / FILE
    return Image.open(file) if file.exists() else None


def test_rows_are_images_and_columns_are_versions(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = {"name": "crop", "rotate": 45, "rotate_probability": 1, "vertical_flip": 0.5}
    sheet = draw(make_state(pets, tmp_path, spec), caplog)
    assert sheet is not None
    cell, gap, margin = 160, 6, 20
    assert sheet.width == 2 * margin + VERSIONS * cell + (VERSIONS - 1) * gap
    assert IMAGES * cell < sheet.height < IMAGES * cell + 220
    top = 69
    cells = [
        sheet.crop((x, y, x + cell, y + cell)).resize((16, 16)).tobytes()
        for y in range(top, top + IMAGES * (cell + gap), cell + gap)
        for x in range(margin, sheet.width - margin, cell + gap)
    ]
    assert len(cells) == len(set(cells)) == IMAGES * VERSIONS
    assert (tmp_path / FILE).stat().st_size < 500_000


def test_the_drawing_is_the_same_each_time(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = make_state(pets, tmp_path, "crop")
    sheets = [draw(state, caplog) for _ in range(2)]
    assert sheets[0] is not None and sheets[1] is not None
    assert sheets[0].tobytes() == sheets[1].tobytes()


def test_mosaics_are_drawn(pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without an augmentation, all versions of an image are equal but for its mosaics."""
    sheet = draw(make_state(pets, tmp_path, "none", mosaic=1), caplog)
    assert sheet is not None
    cells = [sheet.crop((x, 69, x + 160, 229)).tobytes() for x in range(20, 20 + VERSIONS * 166, 166)]
    assert len(set(cells)) == VERSIONS


def test_nothing_is_drawn_without_an_augmentation_or_in_a_training_that_continues(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert draw(make_state(pets, tmp_path, "none"), caplog) is None
    assert draw(make_state(pets, tmp_path, "crop", epochs=1), caplog) is None


def test_a_failure_is_a_warning(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pixelwise.training.callbacks.augmentation_sheet.save_image", fail)
    AugmentationSheet().on_train_start(make_state(pets, tmp_path, "crop"))
    assert caplog.messages == [f"{FILE}: not drawn (OSError: no space left)"]
