"""Tests of the HTML that a notebook shows for a prediction."""

import re

import numpy as np

from pixelwise.data.task import MULTILABEL
from pixelwise.inference.prediction import Prediction
from pixelwise.palette import default_palette
from tests.inference.helpers import make_image
from tests.visualization.test_html import decode_images


def test_image_overlay_and_fractions() -> None:
    mask = np.zeros((600, 800), np.uint8)
    mask[:150] = 2
    prediction = Prediction(make_image(600, 800), mask, ("<b>pet", "background", "border"), default_palette(3))
    shown = prediction._repr_html_()
    image, overlay = decode_images(shown)
    assert image.size == overlay.size == (440, 330)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(overlay)).mean() > 20
    assert re.findall(r"</span>(.*?%)", shown) == ["&lt;b&gt;pet 75.0%", "border 25.0%"]
    assert len(shown) < 300_000


def test_the_representation_is_one_line() -> None:
    prediction = Prediction(make_image(60, 80), np.eye(60, 80, dtype=np.uint8), ("rest", "pet"), default_palette(2))
    assert repr(prediction) == "<Prediction 80x60: rest 98.8%, pet 1.2%>"
    names = tuple(f"c{number}" for number in range(150))
    mask = np.tile(np.arange(30, dtype=np.uint8), (60, 3))
    many = Prediction(make_image(60, 90), mask[:, :3], names, default_palette(150))
    assert repr(many) == "<Prediction 3x60: c0 33.3%, c1 33.3%, c2 33.3%>"
    more = repr(Prediction(make_image(60, 90), mask, names, default_palette(150)))
    assert more.endswith("c18 3.3%, c19 3.3%, …>")


def test_a_multilabel_prediction() -> None:
    mask = np.zeros((2, 30, 40), np.uint8)
    mask[0, :15] = mask[1, 10:15] = 1
    prediction = Prediction(make_image(30, 40), mask, ("face", "eye"), default_palette(2), task=MULTILABEL)
    shown = prediction._repr_html_()
    assert len(decode_images(shown)) == 2
    assert "face 50.0%" in shown and "eye 16.7%" in shown


def test_the_noise_of_a_camera_stays_small() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 2, (1500, 2000), np.uint8)
    shown = Prediction(noise, mask, ("a", "b"), default_palette(2))._repr_html_()
    assert len(shown) < 300_000
