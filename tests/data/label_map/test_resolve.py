"""Masks written in every way read back to the same classes, and ambiguous masks raise an error."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.io.mask import read_mask
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import count_mask_values
from pixelwise.data.schema import FormatResult, LabelMap, MultilabelMask, Record
from pixelwise.errors import ConfigError, DataError, PixelwiseError
from pixelwise.palette import IGNORE_INDEX
from tests.data.label_map.helpers import gray, read, resolve_images

quick = settings(derandomize=True, deadline=None, max_examples=30)


@dataclass(frozen=True)
class ExampleMask:
    """Class indices, the value of each class, and the value of pixels to ignore."""

    indices: np.ndarray
    values: tuple[int, ...]
    ignored_value: int | None

    def to_values(self, dtype: type = np.uint8) -> np.ndarray:
        table = np.zeros(256, np.int64)
        table[: len(self.values)] = self.values
        if self.ignored_value is not None:
            table[IGNORE_INDEX] = self.ignored_value
        return table[self.indices].astype(dtype)


@st.composite
def example_masks(draw: st.DrawFn, max_value: int, ignored_values: tuple[int, ...] = (255,)) -> ExampleMask:
    """Draw a mask of 2 to 12 classes with any values up to `max_value`, with or without pixels to ignore."""
    count = draw(st.integers(2, 12))
    values = tuple(sorted(draw(st.sets(st.integers(0, max_value), min_size=count, max_size=count))))
    ignored_value = draw(st.sampled_from((None, *ignored_values)))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    indices = np.resize(np.arange(count), 8 * 9)
    if ignored_value is not None:
        indices[-10:] = IGNORE_INDEX
    return ExampleMask(generator.permutation(indices).reshape(8, 9).astype(np.uint8), values, ignored_value)


@quick
@given(example_masks(max_value=60))
def test_gray_masks_read_back(example: ExampleMask) -> None:
    with TemporaryDirectory() as folder:
        labels = resolve_images([Image.fromarray(example.to_values())], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), labels), example.indices)
        assert len(labels.classes) == len(example.values)


@quick
@given(example_masks(max_value=60), st.randoms(use_true_random=False))
def test_palette_masks_read_back_and_keep_their_colors(example: ExampleMask, generator: random.Random) -> None:
    palette = [(generator.randrange(256), generator.randrange(256), index) for index in range(256)]
    image = Image.fromarray(example.to_values())
    image.putpalette([value for color in palette for value in color])
    with TemporaryDirectory() as folder:
        labels = resolve_images([image], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), labels), example.indices)
        assert labels.palette == tuple(palette[value] for value in example.values)


@quick
@given(example_masks(max_value=255, ignored_values=()), st.randoms(use_true_random=False), st.booleans())
def test_color_masks_read_back_and_take_names_from_a_list(
    example: ExampleMask, generator: random.Random, named: bool
) -> None:
    colors = [(value, generator.randrange(256), generator.randrange(256)) for value in example.values]
    names = [f"object {index}" for index in range(len(colors))]
    packed = [red << 16 | green << 8 | blue for red, green, blue in colors]
    order = sorted(range(len(colors)), key=lambda index: generator.random())
    listed = {packed[index]: names[index] for index in order} if named else {}
    with TemporaryDirectory() as folder:
        image = Image.fromarray(np.array(colors, np.uint8)[example.indices])
        labels = resolve_images([image], Path(folder), names=FormatResult(names_by_color=listed))
        mask = read(Path(folder), labels)
        shown = [labels.palette[index] for index in mask.ravel()]
        assert shown == [colors[index] for index in example.indices.ravel()]
        if named:
            assert [labels.classes[index] for index in mask.ravel()] == [names[i] for i in example.indices.ravel()]


@quick
@given(
    st.one_of(example_masks(max_value=5000, ignored_values=()), example_masks(max_value=60, ignored_values=(65535,)))
)
def test_16_bit_masks_read_back(example: ExampleMask) -> None:
    with TemporaryDirectory() as folder:
        labels = resolve_images([Image.fromarray(example.to_values(np.uint16))], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), labels), example.indices)


BLOB = np.zeros((64, 64), np.uint8)
BLOB[16:48, 10:40] = 1


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        (".png", lambda mask: Image.fromarray(mask * 255)),
        (".png", lambda mask: Image.fromarray(mask)),
        (".png", lambda mask: Image.fromarray(mask * 255).convert("1")),
        (".png", lambda mask: Image.fromarray(mask * 255).convert("RGB")),
        (".gif", lambda mask: Image.fromarray(mask * 255)),
        (".bmp", lambda mask: Image.fromarray(mask * 255)),
        (".webp", lambda mask: Image.fromarray(mask * 255).convert("RGB")),
        (".jpg", lambda mask: Image.fromarray(mask * 255)),
        (".jpg", lambda mask: Image.fromarray(mask * 255).convert("RGB")),
        (".tif", lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535)),
        (".png", lambda mask: Image.merge("LA", (Image.new("L", (64, 64), 7), Image.fromarray(mask * 255)))),
    ],
    ids=["gray", "small", "one-bit", "rgb", "gif", "bmp", "webp", "jpeg", "jpeg-rgb", "16-bit", "alpha"],
)  # fmt: skip
def test_two_values_of_any_kind_are_background_and_foreground(
    suffix: str, make: Callable[[np.ndarray], Image.Image], tmp_path: Path
) -> None:
    labels = resolve_images([make(BLOB), make(BLOB[:, ::-1].copy())], tmp_path, suffix)
    assert labels.classes == ("background", "foreground")
    np.testing.assert_array_equal(read(tmp_path, labels, 1, suffix), BLOB[:, ::-1])
    assert "background" in labels.messages[0] and "foreground" in labels.messages[0]


def test_the_order_of_files_does_not_matter(tmp_path: Path) -> None:
    images = [gray([[0, 3], [3, 3]]), gray([[0, 7], [255, 3]]), gray([[9, 9], [0, 0]])]
    results = []
    for number, order in enumerate([(0, 1, 2), (2, 0, 1), (1, 2, 0)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        results.append(resolve_images([images[index] for index in order], folder))
    assert results[0] == results[1] == results[2]
    assert results[0].label_map.value_to_class == {0: 0, 3: 1, 7: 2, 9: 3, 255: 255}


@pytest.mark.parametrize(
    ("values", "names", "options", "classes", "value_to_class"),
    [
        ([0, 1, 2], FormatResult(class_names=("sky", "road", "car", "void")), LabelOptions(),
         ("sky", "road", "car"), {0: 0, 1: 1, 2: 2, 3: 255}),
        ([0, 2], FormatResult(class_names=("sky", "road", "car", "tree")), LabelOptions(),
         ("sky", "road", "car", "tree"), {0: 0, 1: 1, 2: 2, 3: 3}),
        ([10, 20], FormatResult(class_names=("cat", "dog")), LabelOptions(), ("cat", "dog"), {10: 0, 20: 1}),
        ([0, 1, 2], FormatResult(class_names=("cat", "dog")), LabelOptions(),
         ("background", "cat", "dog"), {0: 0, 1: 1, 2: 2}),
        ([0, 1, 255], FormatResult(), LabelOptions(classes=("cat", "dog")), ("cat", "dog"), {0: 0, 1: 1, 255: 255}),
        ([0, 4], FormatResult(names_by_value={4: "cat", 0: "rest", 9: "dog"}), LabelOptions(),
         ("cat", "rest", "dog"), {4: 0, 0: 1, 9: 2}),
        ([0, 4, 9], FormatResult(names_by_value={0: "rest", 4: "cat", 9: "dog"}), LabelOptions(classes=("dog", "cat")),
         ("dog", "cat"), {0: 255, 9: 0, 4: 1}),
        ([0, 1, 2], FormatResult(), LabelOptions(ignore_values=("2",)),
         ("background", "foreground"), {0: 0, 1: 1, 2: 255}),
        ([0, 1, 2], FormatResult(), LabelOptions(label_map=(("0", "a"), ("1", "b"), ("2", "a"))),
         ("a", "b"), {0: 0, 1: 1, 2: 0}),
        ([0, 1, 2], FormatResult(), LabelOptions(label_map=(("0", "a"), ("1", "b"), ("2", "ignore"))),
         ("a", "b"), {0: 0, 1: 1, 2: 255}),
        ([0, 1], FormatResult(), LabelOptions(label_map=(("0", "a"), ("1", "b")), classes=("b", "a")),
         ("b", "a"), {0: 1, 1: 0}),
        ([0, 128, 255], FormatResult(), LabelOptions(),
         ("background", "class 128", "class 255"), {0: 0, 128: 1, 255: 2}),
        ([1, 2], FormatResult(), LabelOptions(), ("class 1", "class 2"), {1: 0, 2: 1}),
        ([0, 255], FormatResult(), LabelOptions(label_map=(("#000000", "a"), ("#ffffff", "b"))),
         ("a", "b"), {0: 0, 255: 1}),
        ([0, 1, 2], FormatResult(), LabelOptions(unlabeled="ignore"), ("class 1", "class 2"), {1: 0, 2: 1, 0: 255}),
        ([0, 1, 2], FormatResult(names_by_value={0: "sky", 1: "cat", 2: "dog"}), LabelOptions(unlabeled="ignore"),
         ("cat", "dog"), {1: 0, 2: 1, 0: 255}),
        ([0, 1, 2], FormatResult(), LabelOptions(label_map=(("0", "a"), ("1", "b"), ("2", "c")), unlabeled="ignore"),
         ("b", "c"), {1: 0, 2: 1, 0: 255}),
    ],
)  # fmt: skip
def test_names_and_options(
    values: list[int],
    names: FormatResult,
    options: LabelOptions,
    classes: tuple[str, ...],
    value_to_class: dict[int, int],
    tmp_path: Path,
) -> None:
    labels = resolve_images([gray([values, values[::-1]])], tmp_path, names=names, options=options)
    assert labels.classes == classes
    assert dict(labels.label_map.value_to_class) == value_to_class


@pytest.mark.parametrize(
    ("images", "suffix", "names", "options", "message"),
    [
        ([Image.linear_gradient("L")], ".jpg", FormatResult(), LabelOptions(), "JPEG"),
        ([Image.linear_gradient("L")], ".png", FormatResult(), LabelOptions(), "different values"),
        ([Image.effect_noise((40, 40), 90).convert("RGB")], ".png", FormatResult(), LabelOptions(), "values"),
        ([Image.merge("RGB", [Image.linear_gradient("L").rotate(angle) for angle in (0, 90, 180)])], ".png",
         FormatResult(), LabelOptions(), "colors in all"),
        ([gray([[5, 5]])], ".png", FormatResult(), LabelOptions(), "one class"),
        ([gray([[0, 1]])], ".png", FormatResult(), LabelOptions(unlabeled="ignore"), "without 0, which `unlabeled`"),
        ([gray([[0, 255]]), Image.new("RGB", (2, 1), (255, 0, 9)), gray([[0, 1]]).convert("P")], ".png",
         FormatResult(), LabelOptions(), "different kinds"),
        ([gray([[0, 1, 2]])], ".png", FormatResult(class_names=("a",)), LabelOptions(), "1 names"),
        ([gray([[0, 1, 9]])], ".png", FormatResult(names_by_value={0: "a", 1: "b"}), LabelOptions(), "has 9"),
        ([gray([[0, 1, 9]])], ".png", FormatResult(), LabelOptions(label_map=(("0", "a"), ("1", "b"))), "has 9"),
        ([gray([[1, 255]])], ".png", FormatResult(), LabelOptions(), "255 may be a class or pixels to ignore"),
        ([Image.new("RGB", (2, 1), (255, 0, 9))], ".png", FormatResult(names_by_color={0: "a", 9: "b"}),
         LabelOptions(), "#ff0009"),
        ([Image.new("RGB", (40, 40), (255, 0, 9))], ".jpg", FormatResult(names_by_color={0: "a", 9: "b"}),
         LabelOptions(), "the color #ff0008 is not near any listed color"),
        ([Image.merge("LA", (Image.new("L", (2, 1), 7), gray([[7, 255]])))], ".png", FormatResult(), LabelOptions(),
         "255 may be a class or pixels to ignore"),
    ],
)  # fmt: skip
def test_ambiguous_masks_raise_an_error_that_names_a_file_and_a_fix(
    images: list[Image.Image], suffix: str, names: FormatResult, options: LabelOptions, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        resolve_images(images, tmp_path, suffix, names, options)
    text = str(error.value)
    assert message in text and "\n" not in text and ("`" in text or "save" in text)
    assert str(tmp_path) in text, "a file is named"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LabelOptions(ignore_values=("7",)), "`ignore_values` 7: no mask has this value; the masks have 0, 1"),
        (LabelOptions(ignore_values=("seven",)), "'seven' is not a value of these masks; write it like 255"),
        (LabelOptions(label_map=(("x", "a"),)), "'x' is not a value"),
        (LabelOptions(label_map=(("-1", "a"), ("0", "b"))), "'-1' is not a value"),
        (LabelOptions(label_map=(("70000", "a"), ("0", "b"))), "'70000' is not a value"),
        (LabelOptions(label_map=(("#ff0000", "a"), ("0", "b"))), "'#ff0000' is not a value"),
        (LabelOptions(unlabeled="ignore", ignore_values=("7",)), "no mask has this value"),
        (LabelOptions(label_map=(("0", "a"), ("1", "a"))), "`label_map` names 1 classes"),
        (LabelOptions(label_map=(("0", "a"), ("1", "b")), classes=("a", "c")), "name different classes: a, b"),
    ],
)
def test_options_that_do_not_fit(options: LabelOptions, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_images([gray([[0, 1]])], tmp_path, options=options)


def save_channels(folder: Path, **channels: list[list[int]]) -> Record:
    for name, values in channels.items():
        gray(values).save(folder / f"{name}.png")
    return Record(folder / "x.jpg", MultilabelMask((*(folder / f"{name}.png" for name in channels), None)))


def resolve_channels(record: Record, options: LabelOptions | None = None) -> ResolvedLabels:
    result = FormatResult(train=(record,), classes=("a", "b", "c"), label_map=LabelMap("multilabel"))
    return resolve_labels(result, count_mask_values([record])[0], options or LabelOptions())


def test_multilabel_masks_have_two_values(tmp_path: Path) -> None:
    record = save_channels(tmp_path, a=[[0, 255]], b=[[255, 255]])
    labels = resolve_channels(record)
    assert dict(labels.label_map.value_to_class) == {0: 0, 255: 1} and labels.classes == ("a", "b", "c")
    assert record.mask is not None
    assert read_mask(record.mask, labels.label_map).tolist() == [[[0, 1]], [[1, 1]], [[0, 0]]]


def test_multilabel_masks_with_a_third_value_ignore_255(tmp_path: Path) -> None:
    labels = resolve_channels(save_channels(tmp_path, a=[[0, 1]], b=[[1, 255]]))
    assert dict(labels.label_map.value_to_class) == {0: 0, 1: 1, 255: IGNORE_INDEX}


def test_multilabel_masks_with_other_values_raise_an_error_that_names_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"[ab]\.png: .* must have 0 and one other value; the masks have 1, 2"):
        resolve_channels(save_channels(tmp_path, a=[[1, 2]], b=[[2, 2]]))


@quick
@given(st.binary(max_size=200))
def test_random_bytes_raise_an_error_that_names_the_file(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        path.write_bytes(content)
        counts, errors = count_mask_values([Record(path, path)])
        assert len(errors) == 1 and str(path) in str(errors[0])
        with pytest.raises(PixelwiseError):
            resolve_labels(FormatResult(train=(Record(path, path),)), counts, LabelOptions())


# --- a few masks that differ from all others

GOOD = [gray([[0, 7], [7, 0]]) for _ in range(9)]
ODD = gray([[0, 9], [7, 0]])


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (FormatResult(), LabelOptions(label_map=(("0", "background"), ("7", "cat")))),
        (FormatResult(names_by_value={0: "background", 7: "cat"}), LabelOptions()),
    ],
    ids=["label map", "class list"],
)
def test_an_unnamed_value_in_few_masks_makes_them_bad_files(
    names: FormatResult, options: LabelOptions, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"9\.png: has 9, which .* does not name"):
        resolve_images([*GOOD, ODD], tmp_path, names=names, options=options)
    skipping = replace(options, skip_unreadable=True)
    labels = resolve_images([*GOOD, ODD], tmp_path, names=names, options=skipping)
    assert labels.classes == ("background", "cat") and labels.label_map.value_to_class == {0: 0, 7: 1}
    # A value in many masks is a class that the names lack.
    with pytest.raises(DataError, match="has 9, which"):
        resolve_images([*GOOD, ODD, ODD], tmp_path, names=names, options=skipping)


def test_a_mask_of_another_kind_is_an_error_or_a_bad_file(tmp_path: Path) -> None:
    good = [gray([[0, 7], [7, 3]]) for _ in range(9)]
    stray = Image.new("RGB", (2, 2), (200, 10, 10))
    with pytest.raises(DataError, match=r"different kinds: 9 of kind index .* 1 of kind rgb"):
        resolve_images([*good, stray], tmp_path)
    labels = resolve_images([*good, stray], tmp_path, options=LabelOptions(skip_unreadable=True))
    assert labels.label_map.value_to_class == {0: 0, 3: 1, 7: 2}


def test_gray_masks_among_color_masks_are_color_masks(tmp_path: Path) -> None:
    colors = Image.fromarray(np.array([[[0, 0, 0], [200, 10, 10]]], np.uint8))
    labels = resolve_images([colors, colors, Image.new("RGB", (2, 1))], tmp_path)
    assert labels.label_map.kind == "rgb" and labels.label_map.value_to_class == {0: 0, 0xC80A0A: 1}


def test_the_usual_ignore_value_needs_no_name(tmp_path: Path) -> None:
    names = FormatResult(names_by_value={0: "background", 1: "cat"})
    labels = resolve_images([gray([[0, 1], [255, 1]])], tmp_path, names=names)
    assert labels.label_map.value_to_class == {0: 0, 1: 1, 255: IGNORE_INDEX}
