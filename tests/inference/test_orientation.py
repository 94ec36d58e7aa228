"""Tests of masks as given for images with an EXIF orientation: they read back as the predicted masks."""

import copy
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from pixelwise.data.analysis.training_facts import find_mask_format
from pixelwise.data.io.exif import rotate_as_stored
from pixelwise.data.load import load_dataset
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from tests.inference.helpers import make_image

ORIENTATIONS = {"a": (6, 40, 60), "b": (8, 40, 60), "c": (3, 40, 60), "d": (6, 50, 50), "e": (1, 40, 60)}
"""Name → EXIF orientation, and height and width of the stored pixels. Only those of a and b show the orientation."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number, (name, (orientation, height, width)) in enumerate(ORIENTATIONS.items()):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(make_image(height, width, number)).save(tmp_path / "images" / f"{name}.jpg", exif=exif)
        mask = np.random.default_rng(number).integers(0, 3, (height, width), dtype=np.uint8)
        Image.fromarray(np.array([3, 7, 9], np.uint8)[mask]).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def trained_on(folder: Path, predictor: Predictor) -> Predictor:
    """Return a predictor whose model has the mask format of the data set, without changing the given model."""
    data = load_dataset(folder)
    model = copy.copy(predictor.model)
    model.config = model.config.model_copy(update={"mask_format": find_mask_format(data, data.train)})
    return Predictor(model, "cpu", "32-true")


def test_masks_as_given_read_back_with_their_images(folder: Path, predictor: Predictor, tmp_path: Path) -> None:
    data, predictor = load_dataset(folder), trained_on(folder, predictor)
    assert data.read_spec.masks_as_stored
    predict_folder(predictor, [folder / "images"], tmp_path / "out", masks="as-given")
    for name in ORIENTATIONS:
        (tmp_path / "out" / f"{name}_mask.png").replace(folder / "masks" / f"{name}.png")
    for record in data.train:
        path = Path(str(record.image))
        expected = predictor(path).mask
        assert len(np.unique(expected)) > 1
        np.testing.assert_array_equal(data.read(record)[1], expected, err_msg=path.name)


def test_masks_of_other_data_sets_are_upright(folder: Path, predictor: Predictor, tmp_path: Path) -> None:
    for name in ORIENTATIONS:
        with Image.open(folder / "images" / f"{name}.jpg") as image:
            size = image.size[::-1] if name in "ab" else image.size
        Image.fromarray(np.random.default_rng(0).integers(0, 3, size[::-1], dtype=np.uint8)).save(
            folder / "masks" / f"{name}.png"
        )
    data, predictor = load_dataset(folder), trained_on(folder, predictor)
    assert not data.read_spec.masks_as_stored
    predict_folder(predictor, [folder / "images"], tmp_path / "out", masks="as-given")
    with Image.open(tmp_path / "out" / "c_mask.png") as written:
        np.testing.assert_array_equal(np.asarray(written), predictor(folder / "images" / "c.jpg").mask)


def test_every_kind_of_source_has_its_orientation(folder: Path, predictor: Predictor) -> None:
    predictor, path = trained_on(folder, predictor), folder / "images" / "a.jpg"
    expected = predictor(path)
    assert expected.orientation == 6
    stored = np.array([3, 7, 9], np.uint8)[rotate_as_stored(expected.mask, 6)]
    with Image.open(path) as image:
        content = path.read_bytes()
        predictions = [*predictor([str(path), content, io.BytesIO(content), image]), predictor(image)]
    predictions += [item for _, item in predictor.iter_predictions([path])]  # type: ignore[misc]
    for prediction in predictions:
        np.testing.assert_array_equal(np.asarray(prediction.mask_images("as-given")[""]), stored)
        np.testing.assert_array_equal(np.asarray(prediction.mask_images("index")[""]), expected.mask)
    upright = predictor(expected.image).mask_images("as-given")[""]
    np.testing.assert_array_equal(np.asarray(upright), np.array([3, 7, 9], np.uint8)[expected.mask])
