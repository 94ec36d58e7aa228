"""Images: what they show is checked pixel by pixel where it is exact, by colors and texts elsewhere."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image, ImageSequence

from pixelwise.palette import IGNORE_COLOR, default_palette
from pixelwise.runtime.files import atomic_write
from pixelwise.visualization import (
    ModelStage,
    architecture,
    color_mask,
    draw_architecture,
    index_image,
    make_gif,
    overlay,
    overlay_grid,
    plot_history,
    prediction_grid,
    save_image,
)
from pixelwise.visualization import curves as history

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
RGB = (RED, GREEN, BLUE)
WHITE = (255, 255, 255)


def mask_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def flat(height: int, width: int, color: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def box_of(image: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, upper, right, lower (exclusive) of the pixels of exactly this color."""
    rows, columns = np.nonzero((np.array(image) == color).all(axis=2))
    assert len(rows), f"no pixel of color {color}"
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def share_of(path: Path, color: tuple[int, int, int]) -> int:
    with Image.open(path) as image:
        return int((np.array(image.convert("RGB")) == color).all(axis=2).sum())


# --- palette


def test_every_class_has_its_own_color_and_none_is_the_ignore_color() -> None:
    palette = default_palette(254)
    assert len({*palette, IGNORE_COLOR}) == 255
    assert all(isinstance(value, int) and 0 <= value <= 255 for color in palette for value in color)
    assert len(set(default_palette(255))) == 255


@pytest.mark.parametrize("count", [1, 3, 10, 11, 100])
def test_a_longer_palette_begins_with_the_shorter(count) -> None:
    assert default_palette(254)[:count] == default_palette(count)


@pytest.mark.parametrize("count", [0, -1, 256])
def test_a_palette_that_no_mask_can_use_is_refused(count) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        default_palette(count)


def test_the_palette_is_the_same_in_another_process() -> None:
    code = "from pixelwise.visualization import default_palette; print(default_palette(254))"
    paths = ":".join(path for path in sys.path if path)
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(default_palette(254))


# Machado, Oliveira and Fernandes (2009), severity 1.0: what each color blindness makes of linear RGB.
COLOR_BLIND = {
    "full sight": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", COLOR_BLIND)
def test_the_first_ten_colors_and_ignore_stay_apart_for_color_blind_eyes(sight) -> None:
    from pixelwise.palette import _to_lab

    srgb = np.array([*default_palette(10), IGNORE_COLOR]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(COLOR_BLIND[sight]).T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = _to_lab(seen * 255)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    distance[np.diag_indices(len(lab))] = math.inf
    assert distance.min() > 13  # a just noticeable difference is about 2.3


# --- masks in colors


def test_an_index_image_keeps_its_classes_through_a_png(tmp_path) -> None:
    mask = np.append(np.arange(254), 255).astype(np.uint8).reshape(15, 17)
    save_image(index_image(mask, default_palette(254)), tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.array(read), mask)
        np.testing.assert_array_equal(np.array(read.convert("RGB")), color_mask(mask, default_palette(254)))


def test_an_index_image_of_two_classes_keeps_ignore_through_a_png(tmp_path) -> None:
    mask = mask_of([0, 1, 255], [255, 0, 1])
    save_image(index_image(mask, (RED, GREEN)), tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as read:
        np.testing.assert_array_equal(np.array(read), mask)
        assert read.convert("RGB").getpixel((2, 0)) == IGNORE_COLOR


def test_a_mask_that_is_a_slice_with_strides_is_drawn_as_it_is() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)[::-1, ::2] % 3
    np.testing.assert_array_equal(np.array(index_image(mask, RGB)), mask)


def test_color_mask_gives_each_pixel_its_class_color() -> None:
    drawn = color_mask(mask_of([0, 1], [2, 255]), RGB)
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == [[list(RED), list(GREEN)], [list(BLUE), list(IGNORE_COLOR)]]


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (mask_of([0, 3]), "class 3, the palette only 0 to 2"),
        (np.zeros((2, 2, 1), np.uint8), "HW uint8"),
        (np.zeros((2, 2), np.int64), "HW uint8"),
        (np.zeros((0, 2), np.uint8), "non-empty"),
    ],
)
@pytest.mark.parametrize("draw", [index_image, color_mask])
def test_a_mask_that_cannot_be_drawn_is_refused(draw, mask, told) -> None:
    with pytest.raises(ValueError, match=told):
        draw(mask, RGB)


# --- overlay


@pytest.mark.parametrize(
    ("opacity", "seen"), [(0, (10, 101, 200)), (0.5, (133, 51, 100)), (0.25, (71, 76, 150)), (1, RED)]
)
def test_overlay_blends_the_class_color(opacity, seen) -> None:
    blended = overlay(flat(3, 4, (10, 101, 200)), np.zeros((3, 4), np.uint8), RGB, opacity)
    assert (blended.mode, blended.size) == ("RGB", (4, 3))
    assert (np.array(blended) == seen).all()


def test_overlay_outlines_the_boundary_in_white_with_dark_edges() -> None:
    mask = np.zeros((2, 8), np.uint8)
    mask[:, 4:] = 1
    row = np.array(overlay(flat(2, 8, (100, 100, 100)), mask, RGB))[0].tolist()
    red, green = [178, 50, 50], [50, 178, 50]
    dark_red, dark_green = [89, 25, 25], [25, 89, 25]
    assert row == [red, red, dark_red, list(WHITE), dark_green, green, green, green]


def test_overlay_outlines_across_rows_too() -> None:
    mask = np.zeros((8, 2), np.uint8)
    mask[4:] = 1
    column = np.array(overlay(flat(8, 2, (0, 0, 0)), mask, RGB))[:, 0]
    assert [row for row in range(8) if (column[row] == 255).all()] == [3]


def test_the_outline_is_wider_on_a_large_image() -> None:
    mask = np.zeros((1, 3000), np.uint8)
    mask[:, 1500:] = 1
    row = np.array(overlay(flat(1, 3000, (9, 9, 9)), mask, RGB))[0]
    assert (row == 255).all(axis=1).sum() == 7


def test_overlay_shows_ignore_in_its_color_with_an_outline() -> None:
    mask = np.zeros((1, 8), np.uint8)
    mask[:, 4:] = 255
    row = np.array(overlay(flat(1, 8, (0, 0, 0)), mask, RGB, 1))[0]
    assert tuple(row[7]) == IGNORE_COLOR
    assert tuple(row[3]) == WHITE


def test_overlay_leaves_its_inputs_alone() -> None:
    image, mask = flat(4, 4, (7, 8, 9)), mask_of(*[[0, 0, 1, 1]] * 4)
    image_before, mask_before = image.copy(), mask.copy()
    overlay(image, mask, RGB)
    np.testing.assert_array_equal(image, image_before)
    np.testing.assert_array_equal(mask, mask_before)


def test_overlay_refuses_what_does_not_fit() -> None:
    image, mask = flat(2, 3, RED), np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"2×3 .* its mask 3×2"):
        overlay(image, mask, RGB)
    with pytest.raises(ValueError, match="HWC uint8 RGB"):
        overlay(image.astype(np.float32), mask.T, RGB)
    with pytest.raises(ValueError, match="HWC uint8 RGB"):
        overlay(image[..., :1], mask.T, RGB)
    with pytest.raises(ValueError, match="opacity"):
        overlay(image, mask.T, RGB, 1.5)


# --- sheets


def samples():
    """A wide and a high image of one color each, with masks of one class each."""
    images = [flat(60, 120, (11, 22, 33)), flat(200, 100, (44, 55, 66))]
    truths = [np.full(image.shape[:2], i, np.uint8) for i, image in enumerate(images)]
    predictions = [np.full(image.shape[:2], 2, np.uint8) for image in images]
    return images, truths, predictions


def test_a_sample_sheet_has_a_row_a_sample_and_a_column_a_kind() -> None:
    images, truths, predictions = samples()
    sheet = prediction_grid(images, truths, predictions, ("a", "b", "c"), RGB, "epoch 3", width=700)
    assert sheet.mode == "RGB" and sheet.width == 700
    above_legend = sheet.crop((0, 0, 700, sheet.height - 45))
    first, second = box_of(sheet, (11, 22, 33)), box_of(sheet, (44, 55, 66))
    true_first, true_second = box_of(above_legend, RED), box_of(above_legend, GREEN)
    predicted = box_of(above_legend, BLUE)

    assert first[3] <= second[1], "the first sample is above the second"
    assert first[2] <= true_first[0] and true_first[2] <= predicted[0], "image, true mask, prediction"
    for image, truth in ((first, true_first), (second, true_second)):
        assert (image[1], image[3]) == (truth[1], truth[3])
        assert image[2] - image[0] == truth[2] - truth[0]
    assert (predicted[1], predicted[3]) == (first[1], second[3])
    assert abs((first[0] + first[2]) - (second[0] + second[2])) <= 1, "both in the middle of their cells"
    for (left, upper, right, lower), shape in ((first, (60, 120)), (second, (200, 100))):
        assert (right - left) / (lower - upper) == pytest.approx(shape[1] / shape[0], rel=0.02), "undistorted"


def test_a_sample_sheet_keeps_which_way_is_up_and_left() -> None:
    corner = np.zeros((40, 40), np.uint8)
    corner[:20, :20] = 1
    image = color_mask(corner, ((9, 9, 9), (250, 240, 230)))
    sheet = prediction_grid([image], [corner], [corner.T[::-1]], ("a", "b"), (RED, GREEN), width=300)
    above_legend = sheet.crop((0, 0, 300, sheet.height - 45))
    whole, quarter = box_of(sheet, (9, 9, 9)), box_of(sheet, (250, 240, 230))
    assert quarter[:2] == whole[:2]
    pixels = np.array(above_legend)
    green = (pixels == GREEN).all(axis=2)
    truth_half, predicted_half = green[:, :200], green[:, 200:]
    assert np.nonzero(truth_half)[0].min() < np.nonzero(predicted_half)[0].min(), "turned up in one, down in the other"


@pytest.mark.parametrize("width", [150, 1500])
def test_scaling_a_mask_makes_no_class_that_it_does_not_hold(width) -> None:
    mask = np.zeros((120, 120), np.uint8)
    mask[::7, 40:] = 2
    sheet = prediction_grid([flat(120, 120, WHITE)], [mask], None, ("a", "b", "c"), RGB, width=width)
    inside = np.array(sheet.crop((width // 2 + 5, 50, width - 20, sheet.height - 90)))
    assert np.unique(inside.reshape(-1, 3), axis=0).tolist() == [list(BLUE), list(RED)]


def test_without_predictions_the_cells_share_the_width() -> None:
    images, truths, predictions = samples()
    two = prediction_grid(images, truths, None, ("a", "b", "c"), RGB, width=600)
    three = prediction_grid(images, truths, predictions, ("a", "b", "c"), RGB, width=600)
    wide, narrow = box_of(two, (11, 22, 33)), box_of(three, (11, 22, 33))
    assert wide[2] - wide[0] > 1.3 * (narrow[2] - narrow[0])
    assert share_in(two.crop((0, 0, 600, two.height - 45)), BLUE) == 0


def share_in(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.array(image) == color).all(axis=2).sum())


def test_the_legend_shows_every_class_and_ignore_only_where_there_is_some() -> None:
    images, truths, _ = samples()
    sheet = prediction_grid(images, truths, None, ("a", "b", "c"), RGB)
    assert share_in(sheet, BLUE) > 100, "class c is in no mask, yet in the legend"
    assert share_in(sheet, IGNORE_COLOR) == 0
    truths[0][:] = 255
    with_ignore = prediction_grid(images, truths, None, ("a", "b", "c"), RGB)
    legend = with_ignore.crop((0, with_ignore.height - 45, with_ignore.width, with_ignore.height))
    assert share_in(legend, IGNORE_COLOR) > 100


def test_the_legend_of_many_classes_lists_those_in_the_images() -> None:
    palette = default_palette(150)
    classes = [f"class number {i}" for i in range(150)]
    mask = np.zeros((30, 30), np.uint8)
    mask[:, 15:] = 77
    sheet = prediction_grid([flat(30, 30, WHITE)], [mask], None, classes, palette, width=400)
    legend = sheet.crop((0, sheet.height - 70, 400, sheet.height))
    assert share_in(legend, palette[77]) > 100
    assert share_in(legend, palette[78]) == 0
    assert sheet.height < 400


def test_a_title_changes_the_top_of_a_sheet_only() -> None:
    images, truths, _ = samples()
    one = prediction_grid(images, truths, None, ("a", "b", "c"), RGB, "epoch 1 · validation mIoU 0.5")
    two = prediction_grid(images, truths, None, ("a", "b", "c"), RGB, "epoch 2 · " + "a very long title " * 20)
    assert one.size == two.size
    rows = np.nonzero((np.array(one) != np.array(two)).any(axis=(1, 2)))[0]
    assert len(rows) and rows.max() < 50
    columns = np.nonzero((np.array(two)[:50] != 255).any(axis=(0, 2)))[0]
    assert columns.max() < two.width - 15, "a long title is cut, not run off the sheet"


def test_sheets_draw_images_of_one_pixel_and_extreme_shapes() -> None:
    images = [flat(1, 1, (1, 2, 3)), flat(1, 2000, (4, 5, 6)), flat(2000, 1, (7, 8, 9))]
    masks = [np.zeros(image.shape[:2], np.uint8) for image in images]
    sheet = prediction_grid(images, masks, masks, ("a",), (RED,))
    for color in ((1, 2, 3), (4, 5, 6), (7, 8, 9)):
        assert share_in(sheet, color) > 0


def test_a_image_sheet_has_image_beside_overlay_in_reading_order() -> None:
    colors = [(10 * i + 8, 100, 200) for i in range(5)]
    images = [flat(40 + 10 * i, 60, color) for i, color in enumerate(colors)]
    masks = [np.full(image.shape[:2], i % 2, np.uint8) for i, image in enumerate(images)]
    names = [f"image {i}.jpg" for i in range(5)]
    sheet = overlay_grid(images, masks, names, ("a", "b"), (RED, GREEN), "five", columns=2, width=640)
    assert sheet.width == 640
    boxes = [box_of(sheet, color) for color in colors]
    for left, right in ((0, 1), (2, 3)):
        assert boxes[left][2] < boxes[right][0] and boxes[left][1] < boxes[right][3]
    for upper, lower in ((0, 2), (1, 3), (2, 4)):
        assert boxes[upper][3] < boxes[lower][1]
    for i, (color, box) in enumerate(zip(colors, boxes, strict=True)):
        tint = np.array((RED, GREEN)[i % 2])
        blended = box_of(sheet, tuple(int(value) for value in (np.array(color) + tint + 1) // 2))
        assert blended[0] >= box[2] and (blended[1], blended[3]) == (box[1], box[3])


def test_names_are_written_below_their_images() -> None:
    images, masks = [flat(40, 40, BLUE)], [np.zeros((40, 40), np.uint8)]
    short = overlay_grid(images, masks, ["a.jpg"], ("a",), (RED,), "t", width=300)
    long = overlay_grid(images, masks, ["a" * 300 + ".jpg"], ("a",), (RED,), "t", width=300)
    assert short.size == long.size
    rows, columns = np.nonzero((np.array(short) != np.array(long)).any(axis=2))
    assert rows.min() > box_of(short, BLUE)[3] - 1
    assert columns.max() < 300 - 15


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images": []}, "at least one image"),
        ({"truths": [np.zeros((60, 120), np.uint8)]}, "2 images but 1 masks"),
        (
            {"truths": [np.zeros((60, 121), np.uint8), np.zeros((200, 100), np.uint8)]},
            "60×120 .* mask 60×121",
        ),
        ({"predictions": [np.zeros((120, 60), np.uint8), np.zeros((200, 100), np.uint8)]}, "mask 120×60"),
        ({"classes": ("a", "b")}, "2 classes but 3 colors"),
        ({"width": 60}, "no room"),
    ],
)
def test_a_sample_sheet_refuses_what_does_not_fit(change, told) -> None:
    images, truths, predictions = samples()
    given = {"images": images, "truths": truths, "predictions": predictions, "classes": ("a", "b", "c")}
    with pytest.raises(ValueError, match=told):
        prediction_grid(**{**given, "palette": RGB, **change})


def test_a_image_sheet_refuses_what_does_not_fit() -> None:
    images, truths, _ = samples()
    with pytest.raises(ValueError, match="2 images but 1 names"):
        overlay_grid(images, truths, ["one"], ("a", "b", "c"), RGB, "t")
    with pytest.raises(ValueError, match="at least one column"):
        overlay_grid(images, truths, ["one", "two"], ("a", "b", "c"), RGB, "t", columns=0)
    with pytest.raises(ValueError, match=r"200×100 .* mask 60×120"):
        overlay_grid(images[::-1], truths, ["one", "two"], ("a", "b", "c"), RGB, "t")


# --- animation


def make_images(folder: Path, *colors: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(len(colors))]
    for path, color in zip(paths, colors, strict=True):
        Image.new("RGB", size, color).save(path)
    return paths


def test_an_animation_shows_the_images_in_order_for_ever(tmp_path) -> None:
    make_gif(make_images(tmp_path, BLUE, RED, GREEN), tmp_path / "out.gif", milliseconds=250)
    with Image.open(tmp_path / "out.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0
        frames = [(frame.convert("RGB").getpixel((30, 20)), frame.size) for frame in ImageSequence.Iterator(gif)]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert frames == [(BLUE, (60, 40)), (RED, (60, 40)), (GREEN, (60, 40))]
    assert durations == [250, 250, 1000]


def test_every_frame_of_an_animation_is_shown_whole(tmp_path) -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 8, (50, 50, 3)) * 30
    wanted = []
    for i in range(4):
        pixels = still.copy()
        pixels[10 * i : 10 * i + 8, 5:30] = (250, 20 * i, 0)
        wanted.append(pixels // 30 // 4 * 120)  # few colors, which a palette holds exactly
        Image.fromarray(wanted[-1].astype(np.uint8)).save(tmp_path / f"{i}.png")
    make_gif([tmp_path / f"{i}.png" for i in range(4)], tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as gif:
        shown = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert len(shown) == 4
    for frame, pixels in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(frame, pixels)


def test_an_animation_stores_what_changed_only(tmp_path) -> None:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 7, (200, 200, 3)) * 40).astype(np.uint8)  # 343 colors, nothing to compress
    for i in range(8):
        for strip in (
            noise[:10],
            noise[-10:],
        ):  # far apart: to store one box around all changes is not enough
            strip[:] = np.roll(strip, 7, axis=1)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    make_gif([tmp_path / "0.png"], tmp_path / "one.gif")
    make_gif([tmp_path / f"{i}.png" for i in range(8)], tmp_path / "eight.gif")
    one, eight = (tmp_path / "one.gif").stat().st_size, (tmp_path / "eight.gif").stat().st_size
    assert eight < 2 * one


def test_an_animation_scales_wide_images_and_evens_out_sizes(tmp_path) -> None:
    Image.new("RGB", (1800, 600), RED).save(tmp_path / "wide.png")
    Image.new("RGB", (900, 800), GREEN).save(tmp_path / "high.png")
    make_gif([tmp_path / "wide.png", tmp_path / "high.png"], tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as gif:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]
    assert [frame.size for frame in frames] == [(900, 400), (900, 400)]
    assert frames[0].getpixel((899, 299)) == RED and frames[0].getpixel((899, 301)) == WHITE
    assert frames[1].getpixel((449, 399)) == GREEN and frames[1].getpixel((451, 0)) == WHITE


def test_an_animation_refuses_no_images_and_too_short_frames(tmp_path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        make_gif([], tmp_path / "out.gif")
    with pytest.raises(ValueError, match="20 milliseconds"):
        make_gif(make_images(tmp_path, RED), tmp_path / "out.gif", milliseconds=5)


# --- files


def test_a_image_that_fails_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    save_image(Image.new("RGB", (4, 4), RED), tmp_path / "a.png")
    old = (tmp_path / "a.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(old[:30])
    with pytest.raises(OSError):
        make_gif([tmp_path / "broken.png"], tmp_path / "a.png")
    with pytest.raises(OSError):
        save_image(Image.new("CMYK", (4, 4)), tmp_path / "a.png")
    with pytest.raises(ValueError):
        save_image(Image.new("RGB", (4, 4)), tmp_path / "b.nonsense")
    assert (tmp_path / "a.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "broken.png"]


def test_a_write_that_is_interrupted_leaves_no_half_image(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.png") as path:
        assert (path.parent, path.suffix) == (tmp_path, ".png")
        path.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_a_image_replaces_the_old_one_in_a_new_folder_too(tmp_path) -> None:
    out = tmp_path / "new" / "folder" / "a.png"
    for color in (RED, GREEN):
        save_image(Image.new("RGB", (4, 4), color), out)
    assert share_of(out, GREEN) == 16
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]


def test_importing_the_package_does_not_import_matplotlib() -> None:
    code = "import sys, pixelwise.visualization; print('matplotlib' in sys.modules)"
    paths = ":".join(path for path in sys.path if path)
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


# --- history


def rows_of(epochs: int) -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "val_loss": 1.2 / epoch,
            "val_accuracy": 0.9,
            "val_miou": 0.8 - 0.1 * abs(epoch - 4),
            "iou_pet": 0.9 - 0.1 * abs(epoch - 4),
            "iou_border": None if epoch == 2 else 0.3,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_a_history_plot_has_every_series_in_its_color(tmp_path) -> None:
    plot_history(rows_of(6), tmp_path / "history.png", "a run", {"border": (12, 134, 56)})
    pet = default_palette(1)[0]
    for color in ((0, 114, 178), (213, 94, 0), pet, (12, 134, 56), (33, 37, 41)):
        assert share_of(tmp_path / "history.png", color) > 100
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]


def test_a_history_plot_draws_the_values_and_marks_the_best_epoch() -> None:
    loss, iou = history._figure(rows_of(6), None, {}).axes
    curves = {line.get_label(): line for line in (*loss.lines, *iou.lines)}
    np.testing.assert_allclose(curves["training"].get_ydata(), [1 / epoch for epoch in range(1, 7)])
    np.testing.assert_allclose(curves["mean"].get_xdata(), range(1, 7))
    border = np.array(curves["border"].get_ydata())
    assert np.isnan(border).tolist() == [False, True, False, False, False, False]
    (star,) = [line for line in iou.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (4, pytest.approx(0.8))
    assert iou.get_title(loc="right") == "best mean 0.800 at epoch 4"


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "train_loss": 0.5}],
        [{"epoch": 1, "train_loss": math.inf, "val_loss": math.nan, "val_miou": math.nan, "iou_a": math.nan}],
        [{"epoch": 3}],
        [{"epoch": 1, "val_miou": None}, {"epoch": 2, "val_miou": 0.5, "iou_a": 0.5}],
    ],
)
def test_a_history_with_hardly_any_values_is_drawn(rows, tmp_path) -> None:
    plot_history(rows, tmp_path / "history.png")
    with Image.open(tmp_path / "history.png") as image:
        assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_the_best_epoch_is_the_first_of_equals_and_never_a_nan() -> None:
    values = [math.nan, 0.5, 0.7, 0.7, None]
    assert history._best([{"epoch": i, "val_miou": value} for i, value in enumerate(values)]) == 2
    assert history._best([{"epoch": 1, "val_miou": math.nan}]) is None


def test_a_history_of_many_classes_has_one_legend_entry_for_them() -> None:
    row = {"epoch": 1, "val_miou": 0.5, **{f"iou_{i}": i / 40 for i in range(40)}}
    _, iou = history._figure([row, {**row, "epoch": 2}], None, {}).axes
    assert [text.get_text() for text in iou.get_legend().get_texts()] == ["mean", "each of 40 classes"]
    assert len(iou.lines) == 40 + 3  # and the mean, the best epoch's line and its star


def test_a_history_without_rows_or_epochs_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        plot_history([], tmp_path / "history.png")
    with pytest.raises(ValueError, match="needs an epoch"):
        plot_history([{"epoch": 1}, {"train_loss": 1.0}], tmp_path / "history.png")


# --- architecture


def steps_of(levels: int) -> list[ModelStage]:
    size = 2**levels
    encoder = [
        ModelStage(
            f"blocks.{i}.0.conv_pwl",
            "encoder",
            (8 * i, size >> i, size >> i),
            frozen=i < 3,
            parameters=1000 * i,
        )
        for i in range(1, levels + 1)
    ]
    decoder = [
        ModelStage(f"decoder.{i}", "decoder", (8 * i, size >> i, size >> i), f"blocks.{i}.0.conv_pwl", parameters=7)
        for i in range(levels - 1, 0, -1)
    ]
    first = [ModelStage("image", "input", (3, size, size)), ModelStage("normalize", "normalize", (3, size, size))]
    return [*first, *encoder, *decoder, ModelStage("logits", "logits", (2, size, size), parameters=3)]


@pytest.mark.parametrize("levels", [3, 4, 5, 6])
def test_the_diagram_is_a_u(levels) -> None:
    steps = steps_of(levels)
    places = dict(zip([step.name for step in steps], architecture._place(steps), strict=True))
    assert [places[step.name] for step in steps[: levels + 2]] == [(0, row) for row in range(levels + 2)]
    for step in steps:
        if step.skip_from is not None:
            assert places[step.name] == (1, places[step.skip_from][1]), "skip arrows are level"
    assert places["logits"] == (1, places["normalize"][1])


def test_two_boxes_are_never_in_one_place() -> None:
    steps = steps_of(3)
    crowded = [
        *steps[:-1],
        *[ModelStage(f"more {i}", "decoder", (4, 8, 8), "blocks.3.0.conv_pwl") for i in range(6)],
        steps[-1],
    ]
    places = architecture._place(crowded)
    assert len(set(places)) == len(crowded)
    assert min(row for _, row in places) == 0
    right = [row for column, row in places if column == 1]
    assert right == sorted(right, reverse=True)


def test_the_diagram_says_names_shapes_and_parameters() -> None:
    steps = [*steps_of(4), ModelStage("last", "logits", (5, 60, 30), detail="scores", parameters=1_234_567)]
    texts = [text.get_text() for text in architecture._figure(steps, "A title").findobj(Text)]
    for expected in ("A title", "blocks.4.0.conv_pwl", "1×1×32", "4,000 parameters", "60×30×5", "scores"):
        assert expected in texts
    assert "2,000 parameters · ❄ frozen" in texts
    total = 1000 + 2000 + 3000 + 4000 + 3 * 7 + 3 + 1_234_567
    (caption,) = [text for text in texts if "in total" in text]
    assert caption.startswith(f"{total:,} parameters in total, {total - 3000:,} of them trained")


def test_every_text_of_the_diagram_stays_in_its_box() -> None:
    steps = [
        ModelStage("image", "input", (3, 64, 64)),
        ModelStage(
            "stages.3.blocks.26.mlp.fc2_with_a_name_longer_than_any" * 2,
            "encoder",
            (3, 64, 64),
            parameters=10**12,
        ),
        ModelStage("logits", "logits", (2, 64, 64), detail="a detail that goes on and on " * 5),
    ]
    figure = architecture._figure(steps, "A title much longer than the diagram is wide " * 8)
    (axes,) = figure.axes
    for patch in axes.patches[2:]:
        box = patch.get_window_extent()
        inside = [text for text in axes.texts if box.y0 < text.get_window_extent().y0 < box.y1]
        same_column = [text for text in inside if box.x0 < np.mean(text.get_window_extent().intervalx) < box.x1]
        assert same_column
        for text in same_column:
            extent = text.get_window_extent()
            assert box.x0 < extent.x0 and extent.x1 < box.x1 and extent.y1 < box.y1
    title = axes.texts[0].get_window_extent()
    assert title.x0 > 0 and title.x1 < figure.bbox.width


def test_the_diagram_file_has_each_kind_in_its_color(tmp_path) -> None:
    draw_architecture(steps_of(4), tmp_path / "model.png", "A model")
    fills = ("#f1f3f5", "#d7ebf8", "#fdebc8", "#d3efe5", "#eef3f7", "#a83279")
    for fill in fills:
        color = tuple(int(fill[i : i + 2], 16) for i in (1, 3, 5))
        assert share_of(tmp_path / "model.png", color) > 500
    assert [path.name for path in tmp_path.iterdir()] == ["model.png"]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "at least one step"),
        ([ModelStage("a", "pooling", (1, 2, 2))], "kind is one of input, normalize"),
        ([ModelStage("a", "decoder", (1, 2, 2)), ModelStage("b", "encoder", (1, 2, 2))], "come before"),
        ([ModelStage("a", "encoder", (1, 2, 2)), ModelStage("a", "encoder", (1, 2, 2))], "two encoder steps"),
        ([ModelStage("a", "encoder", (1, 2, 2)), ModelStage("b", "decoder", (1, 2, 2), "c")], "'c' is no encoder step"),
        ([ModelStage("a", "encoder", (1, 2, 2)), ModelStage("b", "encoder", (1, 2, 2), "a")], "is no encoder step"),
    ],
)
def test_a_diagram_of_impossible_steps_is_refused(steps, told, tmp_path) -> None:
    with pytest.raises(ValueError, match=told):
        draw_architecture(steps, tmp_path / "model.png", "A model")
    assert list(tmp_path.iterdir()) == []
