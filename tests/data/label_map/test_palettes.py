"""Masks with palettes: by index if palettes agree, by color if they have the same colors in another order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError
from tests.data.label_map.helpers import gray, read, resolve_images

COLORS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
INDICES = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4


def with_palette(indices: np.ndarray, colors: tuple[tuple[int, int, int], ...]) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette([channel for color in colors for channel in color])
    return image


def packed(seed: int) -> Image.Image:
    """Return the mask INDICES with its colors in another order of the palette."""
    order = np.random.default_rng(seed).permutation(4)
    return with_palette(np.argsort(order).astype(np.uint8)[INDICES], tuple(COLORS[index] for index in order))


def test_reordered_palettes_are_read_by_color(tmp_path: Path) -> None:
    labels = resolve_images([packed(seed) for seed in range(5)], tmp_path)
    assert labels.label_map.kind == "rgb" and len(labels.classes) == 4
    assert any("palettes differ" in line and "read by color" in line for line in labels.messages)
    for number in range(5):
        colors = np.array(labels.palette)[read(tmp_path, labels, number)]
        np.testing.assert_array_equal(colors, np.array(COLORS)[INDICES])


def test_a_list_of_colors_names_reordered_palettes(tmp_path: Path) -> None:
    names = FormatResult(names_by_color={0: "rest", 0xFF0000: "a", 0x00FF00: "b", 0x0000FF: "c"})
    labels = resolve_images([packed(seed) for seed in range(5)], tmp_path, names=names)
    assert labels.classes == ("rest", "a", "b", "c")
    np.testing.assert_array_equal(read(tmp_path, labels, 3), INDICES)


def test_equal_palettes_are_read_by_index(tmp_path: Path) -> None:
    labels = resolve_images([with_palette(INDICES, COLORS), with_palette(INDICES[::-1].copy(), COLORS)], tmp_path)
    assert labels.label_map.kind == "index" and labels.palette == COLORS


OTHER = ((0, 0, 0), (9, 9, 9), (8, 8, 8), (7, 7, 7))


def test_other_colors_are_a_question_whose_advice_works(tmp_path: Path) -> None:
    images = [with_palette(INDICES, COLORS), with_palette(INDICES, OTHER)]
    with pytest.raises(DataError, match=r"0\.png: palettes differ: 1 is #090909, #ff0000 in different masks; save"):
        resolve_images(images, tmp_path)
    by_index = tuple((str(index), name) for index, name in enumerate("abcd"))
    labels = resolve_images(images, tmp_path, options=LabelOptions(label_map=by_index))
    np.testing.assert_array_equal(read(tmp_path, labels, 1), INDICES)
    by_color = tuple(
        (f"#{red:02x}{green:02x}{blue:02x}", "abcd"[index])
        for colors in (COLORS, OTHER)
        for index, (red, green, blue) in enumerate(colors)
    )
    labels = resolve_images(images, tmp_path, options=LabelOptions(label_map=by_color))
    assert labels.label_map.kind == "rgb"
    for number in (0, 1):
        np.testing.assert_array_equal(read(tmp_path, labels, number), INDICES)


def test_palettes_that_merge_values_are_not_read_by_color(tmp_path: Path) -> None:
    merging = with_palette(INDICES, ((255, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 255)))
    with pytest.raises(DataError, match="palettes differ"):
        resolve_images([with_palette(INDICES, COLORS), merging], tmp_path)


def test_masks_with_palettes_among_gray_masks_are_a_question(tmp_path: Path) -> None:
    images = [packed(0), packed(1), Image.fromarray(INDICES)]
    with pytest.raises(DataError, match=r"save the masks as RGB .* `label_map` \(by index: 0=CLASS …\)"):
        resolve_images(images, tmp_path)


def test_masks_with_palettes_among_color_masks_are_read_by_color(tmp_path: Path) -> None:
    images = [packed(0), packed(1).convert("RGB"), packed(2).convert("RGB")]
    labels = resolve_images(images, tmp_path)
    assert labels.label_map.kind == "rgb" and len(labels.classes) == 4
    np.testing.assert_array_equal(read(tmp_path, labels, 0), read(tmp_path, labels, 1))


# --- lists of colors beside gray masks


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_gray_colors_in_a_list_name_gray_masks(mode: str, tmp_path: Path) -> None:
    names = FormatResult(names_by_color={0: "sky", 0x808080: "road", 0xFFFFFF: "car", 0xFF0000: "tree"})
    image = gray([[0, 128, 255], [0, 0, 128]]).convert(mode)
    labels = resolve_images([image], tmp_path, names=names)
    assert labels.classes == ("sky", "road", "car", "tree")
    np.testing.assert_array_equal(read(tmp_path, labels), [[0, 1, 2], [0, 0, 1]])


def test_gray_masks_of_indices_count_the_rows_of_a_list_of_colors(tmp_path: Path) -> None:
    names = FormatResult(names_by_color={0x101010: "sky", 0xFF0000: "road", 0x00FF00: "car"})
    labels = resolve_images([gray([[0, 1, 2], [0, 0, 255]])], tmp_path, names=names)
    assert labels.classes == ("sky", "road", "car") and labels.label_map.value_to_class == {0: 0, 1: 1, 2: 2, 255: 255}
    assert "in its order, as masks have indices" in " ".join(labels.messages)


def test_lossy_gray_masks_take_the_names_of_gray_colors(tmp_path: Path) -> None:
    blob = np.zeros((64, 64), np.uint8)
    blob[16:48, 10:40] = 255
    names = FormatResult(names_by_color={0xFFFFFF: "road", 0: "rest"})
    labels = resolve_images([Image.fromarray(blob)], tmp_path, ".jpg", names=names)
    assert labels.classes == ("road", "rest")
    np.testing.assert_array_equal(read(tmp_path, labels, 0, ".jpg"), blob == 0)
