"""Masks with soft edges: an error that states the option, and the nearest value with that option."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError
from tests.data.label_map.helpers import gray, read, resolve_images

HARD = np.zeros((64, 64), np.uint8)
HARD[12:40, 20:50] = 255


def soft(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(2))


def test_the_advice_about_soft_edges_works(tmp_path: Path) -> None:
    image = soft(Image.fromarray(HARD))
    with pytest.raises(DataError) as error:
        resolve_images([image], tmp_path)
    assert "soft edges" in str(error.value) and "set `label_map` 0=background 255=foreground," in str(error.value)
    options = LabelOptions(label_map=(("0", "background"), ("255", "thing")))
    labels = resolve_images([image], tmp_path, options=options)
    assert labels.classes == ("background", "thing")
    np.testing.assert_array_equal(read(tmp_path, labels), np.asarray(image) >= 128)
    assert any("count as the nearest named value" in line for line in labels.messages)


def test_the_advice_about_soft_colors_works(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[12:40, 20:50] = (255, 0, 0)
    image = soft(Image.fromarray(pixels))
    with pytest.raises(DataError) as error:
        resolve_images([image], tmp_path)
    assert "set `label_map` #000000=background #ff0000=foreground," in str(error.value)
    for options, names in (
        (LabelOptions(label_map=(("#000000", "background"), ("#ff0000", "thing"))), FormatResult()),
        (LabelOptions(), FormatResult(names_by_color={0: "background", 0xFF0000: "thing"})),
    ):
        labels = resolve_images([image], tmp_path, options=options, names=names)
        expected = np.asarray(image)[:, :, 0] >= 128
        assert (read(tmp_path, labels) != expected).mean() < 0.005  # colors in the middle


def test_noise_around_named_colors_counts_as_the_color(tmp_path: Path) -> None:
    """A JPEG that was saved as PNG again has noise, but no sign of a JPEG."""
    classes = np.arange(64 * 64).reshape(64, 64) // 1366
    colors = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)])[classes]
    noise = np.random.default_rng(0).integers(-9, 10, colors.shape)
    image = Image.fromarray(np.clip(colors + noise, 0, 255).astype(np.uint8))
    with pytest.raises(DataError, match=r"list the colors in a class_dict\.csv .* `label_map`"):
        resolve_images([image], tmp_path)
    pairs = (("#000000", "background"), ("#ff0000", "a"), ("#0000ff", "b"))
    named = {int(text[1:], 16): name for text, name in pairs}
    for options, names in (
        (LabelOptions(label_map=pairs), FormatResult()),
        (LabelOptions(), FormatResult(names_by_color=named)),
    ):
        labels = resolve_images([image], tmp_path, options=options, names=names)
        np.testing.assert_array_equal(read(tmp_path, labels), classes)


def test_few_values_between_others_are_soft_edges_only_with_few_pixels(tmp_path: Path) -> None:
    options = LabelOptions(label_map=(("0", "background"), ("255", "thing")))
    pixels = np.repeat(np.where(np.arange(100) < 50, 0, 255)[None], 100, 0).astype(np.uint8)
    pixels[:, 49:52] = (64, 128, 191)
    labels = resolve_images([Image.fromarray(pixels)], tmp_path, options=options)
    assert np.array_equal(read(tmp_path, labels)[0], np.arange(100) >= 50)
    pixels[:, 40:60] = np.repeat((64, 128, 191, 220), 5)  # classes that the user has forgotten
    with pytest.raises(DataError, match="has 64, 128, 191, 220, which `label_map` does not name"):
        resolve_images([Image.fromarray(pixels)], tmp_path, options=options)


def test_a_forgotten_class_index_is_an_error(tmp_path: Path) -> None:
    values = [[0] * 50, [2] * 50, [1, *[0] * 49]]
    with pytest.raises(DataError, match="has 1, which"):
        resolve_images([gray(values)], tmp_path, options=LabelOptions(label_map=(("0", "a"), ("2", "b"))))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_few_values_at_thin_edges_are_soft_edges(mode: str, tmp_path: Path) -> None:
    """Averages of 2x2 pixels are 0, 64, 128, 191 and 255."""
    shape = np.hypot(*(np.indices((128, 128)) - 63.3)) < 41
    image = Image.fromarray(np.where(shape, 255, 0).astype(np.uint8)).reduce(2)
    if mode == "RGB":
        image = Image.merge("RGB", (image, Image.new("L", image.size), Image.new("L", image.size)))
    with pytest.raises(DataError, match=r"soft edges .* `label_map` #?0+=background #?[2f]\w+=foreground"):
        resolve_images([image], tmp_path)
    end = "#ff0000" if mode == "RGB" else "255"
    options = LabelOptions(label_map=(("#000000" if mode == "RGB" else "0", "background"), (end, "thing")))
    labels = resolve_images([image], tmp_path, options=options)
    np.testing.assert_array_equal(read(tmp_path, labels), np.asarray(image.getchannel(0)) >= 128)


def test_trimaps_and_small_classes_are_no_soft_edges(tmp_path: Path) -> None:
    trimap = np.zeros((64, 64), np.uint8)
    trimap[10:40, 10:40], trimap[12:38, 12:38] = 128, 255
    assert len(resolve_images([Image.fromarray(trimap)], tmp_path).classes) == 3
    classes = np.where(np.indices((64, 64))[1] < 40, 0, 250).astype(np.uint8)
    for number in range(4):
        classes[10:14, 10 * number : 10 * number + 5] = 50 + 50 * number
    assert len(resolve_images([Image.fromarray(classes)], tmp_path).classes) == 6


def test_many_class_indices_are_no_soft_edges(tmp_path: Path) -> None:
    values = np.repeat(np.arange(34), 10).astype(np.uint8)
    pixels = np.concatenate([values, np.full(400, 7, np.uint8), np.full(400, 26, np.uint8)]).reshape(-1, 4)
    assert len(resolve_images([Image.fromarray(pixels)], tmp_path).classes) == 34
