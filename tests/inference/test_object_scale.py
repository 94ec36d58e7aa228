"""Tests of the line about images that are reduced so far that objects are lost."""

import pytest

from pixelwise.data.mask_format import ObjectScale
from pixelwise.inference.object_scale import lost_object_note, lost_object_side
from pixelwise.models.config import ModelConfig
from tests.inference.conftest import make_model


@pytest.fixture
def config() -> ModelConfig:
    """Return the configuration of a model of 64 px that was trained on images of 256 px with objects of 20 px."""
    model = make_model(("background", "cell"))
    model.set_data_facts(None, ObjectScale(256.0, 20.0))
    return model.config


def test_objects_in_a_much_larger_image_are_lost(config: ModelConfig) -> None:
    assert lost_object_side(config, 1024, 1024) == 20 * 64 / 1024
    note = lost_object_note(config, [(256, 256), (1024, 1024), (2048, 512), (600, 600)])
    assert note == (
        "3 images are up to 4x as large as the training images (256 px) and reduced up to 16x: objects as large as in "
        "the training images (20 px) would be 1.2 px wide and are lost; predict images of many such objects with "
        "`view` tiles"
    )
    assert lost_object_note(config, [(1024, 1024)]).startswith("1 image is 4x as large as the training images (256 px)")


def test_mosaics_of_objects_that_stay_visible_are_noted(config: ModelConfig) -> None:
    """Objects of 6 px are not lost, but a model of objects of 25 px hardly finds them."""
    large = config.model_copy(update={"object_scale": ObjectScale(256.0, 100.0)})
    assert lost_object_note(large, [(1024, 1023)]) == ""
    note = lost_object_note(large, [(1024, 1024)])
    assert "objects as large as in the training images (100 px) are hardly visible; " in note


def test_objects_that_stay_visible_are_not_lost(config: ModelConfig) -> None:
    assert lost_object_side(config, 256, 256) is None
    large = config.model_copy(update={"object_scale": ObjectScale(256.0, 100.0)})
    assert lost_object_side(large, 1000, 1000) is None, "objects of 6 px"
    assert lost_object_note(large, [(1000, 1000)]) == ""


def test_small_objects_in_images_of_the_size_of_the_training_are_no_loss(config: ModelConfig) -> None:
    tiny = config.model_copy(update={"object_scale": ObjectScale(256.0, 5.0)})
    assert lost_object_side(tiny, 500, 500) is None, "the model was trained on objects of 1.25 px"
    assert lost_object_side(tiny, 520, 520) is not None


def test_models_without_the_scale_have_no_note() -> None:
    assert lost_object_note(make_model(("a", "b")).config, [(9999, 9999)]) == ""
