"""What masks mean: every way of writing them reads back to the same classes, and what is ambiguous is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
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

quick = settings(derandomize=True, deadline=None, max_examples=30)


def meaning_of(images: list[Image.Image], folder: Path, suffix: str = ".png", **known: object) -> ResolvedLabels:
    """What masks mean that are saved as images; `known` are fields of Layout or Choices."""
    choices = LabelOptions(
        **{name: known.pop(name) for name in list(known) if name in LabelOptions.__dataclass_fields__}
    )
    options = {"quality": 85} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    records = []
    for number, image in enumerate(images):
        path = folder / f"{number}{suffix}"
        image.save(path, **options)
        records.append(Record(folder / f"{number}.jpg", path))
    layout = FormatResult(train=tuple(records), **known)  # type: ignore[arg-type]
    survey, errors = count_mask_values(records)
    assert not errors
    return resolve_labels(layout, survey, choices)


def read(folder: Path, meaning: ResolvedLabels, number: int = 0, suffix: str = ".png") -> np.ndarray:
    return read_mask(folder / f"{number}{suffix}", meaning.label_map)


def gray(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint8))


@dataclass(frozen=True)
class Written:
    """Class indices, and the values they are written as."""

    indices: np.ndarray
    values: tuple[int, ...]
    void: int | None


@st.composite
def written(draw: st.DrawFn, most: int, voids: tuple[int, ...] = (255,)) -> Written:
    """2 to 12 classes at any values below `most`, gaps or none, with or without void; masks show every class."""
    count = draw(st.integers(2, 12))
    values = tuple(sorted(draw(st.sets(st.integers(0, most), min_size=count, max_size=count))))
    void = draw(st.sampled_from((None, *voids)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    indices = np.resize(np.arange(count), 8 * 9)
    if void is not None:
        indices[-10:] = IGNORE_INDEX
    indices = rng.permutation(indices).reshape(8, 9).astype(np.uint8)
    return Written(indices, values, void)


def as_values(made: Written, dtype: type = np.uint8) -> np.ndarray:
    table = np.zeros(256, np.int64)
    table[: len(made.values)] = made.values
    if made.void is not None:
        table[IGNORE_INDEX] = made.void
    return table[made.indices].astype(dtype)


@quick
@given(written(most=60))
def test_gray_masks_read_back(made: Written) -> None:
    with TemporaryDirectory() as folder:
        meaning = meaning_of([Image.fromarray(as_values(made))], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), meaning), made.indices)
        assert len(meaning.classes) == len(made.values)


@quick
@given(written(most=60), st.randoms(use_true_random=False))
def test_palettes_read_back_and_give_the_colors(made: Written, random):  # type: ignore[no-untyped-def]
    table = [(random.randrange(256), random.randrange(256), index) for index in range(256)]
    image = Image.fromarray(as_values(made))
    image.putpalette([value for color in table for value in color])
    with TemporaryDirectory() as folder:
        meaning = meaning_of([image], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), meaning), made.indices)
        assert meaning.palette == tuple(table[value] for value in made.values)


@quick
@given(written(most=255, voids=()), st.randoms(use_true_random=False), st.booleans())
def test_colors_read_back_and_are_named_by_a_list(made: Written, random, named: bool):  # type: ignore[no-untyped-def]
    colors = [(value, random.randrange(256), random.randrange(256)) for value in made.values]
    values = {index: red << 16 | green << 8 | blue for index, (red, green, blue) in enumerate(colors)}
    listed = [f"thing {index}" for index in values]
    order = sorted(values, key=lambda index: random.random())
    names = {values[index]: listed[index] for index in order} if named else {}
    with TemporaryDirectory() as folder:
        image = Image.fromarray(np.array(colors, np.uint8)[made.indices])
        meaning = meaning_of([image], Path(folder), names_by_color=names)
        mask = read(Path(folder), meaning)
        shown = [meaning.palette[index] for index in mask.ravel()]
        assert shown == [colors[index] for index in made.indices.ravel()]
        if named:
            assert [meaning.classes[index] for index in mask.ravel()] == [listed[i] for i in made.indices.ravel()]


@quick
@given(st.one_of(written(most=5000, voids=()), written(most=60, voids=(65535,))))
def test_sixteen_bits_read_back(made: Written) -> None:
    with TemporaryDirectory() as folder:
        meaning = meaning_of([Image.fromarray(as_values(made, np.uint16))], Path(folder))
        np.testing.assert_array_equal(read(Path(folder), meaning), made.indices)


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
    meaning = meaning_of([make(BLOB), make(BLOB[:, ::-1].copy())], tmp_path, suffix)
    assert meaning.classes == ("background", "foreground")
    np.testing.assert_array_equal(read(tmp_path, meaning, 1, suffix), BLOB[:, ::-1])
    assert "background" in meaning.messages[0] and "foreground" in meaning.messages[0]


def test_the_order_of_files_does_not_matter(tmp_path: Path) -> None:
    images = [gray([[0, 3], [3, 3]]), gray([[0, 7], [255, 3]]), gray([[9, 9], [0, 0]])]
    meanings = []
    for number, order in enumerate([(0, 1, 2), (2, 0, 1), (1, 2, 0)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        meanings.append(meaning_of([images[i] for i in order], folder))
    assert meanings[0] == meanings[1] == meanings[2]
    assert meanings[0].label_map.value_to_class == {0: 0, 3: 1, 7: 2, 9: 3, 255: 255}


@pytest.mark.parametrize(
    ("values", "known", "classes", "mapping"),
    [
        ([0, 1, 2], {"class_names": ("sky", "road", "car", "void")}, ("sky", "road", "car"), {0: 0, 1: 1, 2: 2, 3: 255}),
        ([0, 2], {"class_names": ("sky", "road", "car", "tree")}, ("sky", "road", "car", "tree"), {0: 0, 1: 1, 2: 2, 3: 3}),
        ([10, 20], {"class_names": ("cat", "dog")}, ("cat", "dog"), {10: 0, 20: 1}),
        ([0, 1, 2], {"class_names": ("cat", "dog")}, ("background", "cat", "dog"), {0: 0, 1: 1, 2: 2}),
        ([0, 1, 255], {"classes": ("cat", "dog")}, ("cat", "dog"), {0: 0, 1: 1, 255: 255}),
        ([0, 4], {"names_by_value": {4: "cat", 0: "rest", 9: "dog"}}, ("cat", "rest", "dog"), {4: 0, 0: 1, 9: 2}),
        ([0, 4, 9], {"names_by_value": {0: "rest", 4: "cat", 9: "dog"}, "classes": ("dog", "cat")}, ("dog", "cat"),
         {0: 255, 9: 0, 4: 1}),
        ([0, 1, 2], {"ignore_values": ("2",)}, ("background", "foreground"), {0: 0, 1: 1, 2: 255}),
        ([0, 1, 2], {"label_map": (("0", "a"), ("1", "b"), ("2", "a"))}, ("a", "b"), {0: 0, 1: 1, 2: 0}),
        ([0, 1, 2], {"label_map": (("0", "a"), ("1", "b"), ("2", "ignore"))}, ("a", "b"), {0: 0, 1: 1, 2: 255}),
        ([0, 128, 255], {}, ("background", "class 128", "class 255"), {0: 0, 128: 1, 255: 2}),
        ([1, 2], {}, ("class 1", "class 2"), {1: 0, 2: 1}),
    ],
)  # fmt: skip
def test_names_and_choices(values: list[int], known: dict, classes: tuple, mapping: dict, tmp_path: Path) -> None:
    meaning = meaning_of([gray([values, values[::-1]])], tmp_path, **known)
    assert meaning.classes == classes
    assert dict(meaning.label_map.value_to_class) == mapping


@pytest.mark.parametrize(
    ("images", "suffix", "known", "message"),
    [
        ([Image.linear_gradient("L")], ".jpg", {}, "JPEG"),
        ([Image.linear_gradient("L")], ".png", {}, "different values"),
        ([Image.effect_noise((40, 40), 90).convert("RGB")], ".png", {}, "values"),
        ([Image.merge("RGB", [Image.linear_gradient("L").rotate(a) for a in (0, 90, 180)])], ".png", {}, "rgb"),
        ([gray([[5, 5]])], ".png", {}, "one class"),
        ([gray([[0, 255]]), Image.new("RGB", (2, 1), (255, 0, 9)), gray([[0, 1]]).convert("P")], ".png", {}, "kinds"),
        ([gray([[0, 1, 2]])], ".png", {"class_names": ("a",)}, "1 names"),
        ([gray([[0, 1, 9]])], ".png", {"names_by_value": {0: "a", 1: "b"}}, "has 9"),
        ([gray([[0, 1, 9]])], ".png", {"label_map": (("0", "a"), ("1", "b"))}, "has 9"),
        ([gray([[1, 255]])], ".png", {}, "to be ignored?"),
        ([Image.new("RGB", (2, 1), (255, 0, 9))], ".png", {"names_by_color": {0: "a", 9: "b"}}, "#ff0009"),
    ],
)
def test_what_is_ambiguous_is_asked_for(
    images: list[Image.Image], suffix: str, known: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        meaning_of(images, tmp_path, suffix, **known)
    text = str(error.value)
    assert message in text and "\n" not in text and ("--" in text or "save" in text)
    assert str(tmp_path) in text, "a file is named"


@pytest.mark.parametrize(
    "known",
    [{"ignore_values": ("7",)}, {"ignore_values": ("seven",)}, {"label_map": (("x", "a"),)}, {"label_map": (("0", "a"), ("1", "a"))}],
)
def test_choices_that_do_not_fit(known: dict, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        meaning_of([gray([[0, 1]])], tmp_path, **known)


def test_layers_have_two_values(tmp_path: Path) -> None:
    for name, values in {"a": [[0, 255]], "b": [[255, 255]]}.items():
        gray(values).save(tmp_path / f"{name}.png")
    records = [Record(tmp_path / "x.jpg", MultilabelMask((tmp_path / "a.png", tmp_path / "b.png", None)))]
    layout = FormatResult(train=tuple(records), classes=("a", "b", "c"), label_map=LabelMap("multilabel"))
    meaning = resolve_labels(layout, count_mask_values(records)[0], LabelOptions())
    assert dict(meaning.label_map.value_to_class) == {0: 0, 255: 1} and meaning.classes == ("a", "b", "c")
    mask = read_mask(records[0].mask, meaning.label_map)
    assert mask.tolist() == [[[0, 1]], [[1, 1]], [[0, 0]]]


@quick
@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_that_names_the_file(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        path.write_bytes(content)
        survey, errors = count_mask_values([Record(path, path)])
        assert len(errors) == 1 and str(path) in str(errors[0])
        with pytest.raises(PixelwiseError):
            resolve_labels(FormatResult(train=(Record(path, path),)), survey, LabelOptions())


# --- a few masks that are unlike all others


def test_few_masks_with_a_value_that_is_not_named_are_bad_files_under_skip_bad(tmp_path: Path) -> None:
    good = [gray([[0, 7], [7, 0]]) for _ in range(9)]
    said = {"label_map": (("0", "background"), ("7", "cat"))}
    with pytest.raises(DataError, match=r"9\.png: has 9, which --mask-map does not name"):
        meaning_of([*good, gray([[0, 9], [7, 0]])], tmp_path, **said)
    meaning = meaning_of([*good, gray([[0, 9], [7, 0]])], tmp_path, **said, skip_unreadable=True)
    assert meaning.label_map.value_to_class == {0: 0, 7: 1}
    listed = {"names_by_value": {0: "background", 7: "cat"}}
    with pytest.raises(DataError, match=r"9\.png: has 9, which the list"):
        meaning_of([*good, gray([[0, 9], [7, 0]])], tmp_path, **listed)
    assert meaning_of([*good, gray([[0, 9], [7, 0]])], tmp_path, **listed, skip_unreadable=True).classes == (
        "background",
        "cat",
    )
    # In many masks it is a class that was forgotten.
    for known in (said, listed):
        with pytest.raises(DataError, match="has 9, which"):
            meaning_of([*good, *[gray([[0, 9], [7, 0]])] * 2], tmp_path, **known, skip_unreadable=True)


def test_one_mask_of_another_kind_is_an_error_or_a_bad_file(tmp_path: Path) -> None:
    good = [gray([[0, 7], [7, 3]]) for _ in range(9)]
    stray = Image.new("RGB", (2, 2), (200, 10, 10))
    with pytest.raises(DataError, match=r"several kinds: 9 of values .* 1 of colors"):
        meaning_of([*good, stray], tmp_path)
    assert meaning_of([*good, stray], tmp_path, skip_unreadable=True).label_map.value_to_class == {0: 0, 3: 1, 7: 2}
    # Grays that color masks have too are colors: a mask with nothing but background on it.
    colors = Image.fromarray(np.array([[[0, 0, 0], [200, 10, 10]]], np.uint8))
    meaning = meaning_of([colors, colors, Image.new("RGB", (2, 1))], tmp_path)
    assert meaning.label_map.kind == "rgb" and meaning.label_map.value_to_class == {0: 0, 0xC80A0A: 1}


def test_usual_void_needs_no_name(tmp_path: Path) -> None:
    meaning = meaning_of([gray([[0, 1], [255, 1]])], tmp_path, names_by_value={0: "background", 1: "cat"})
    assert meaning.label_map.value_to_class == {0: 0, 1: 1, 255: IGNORE_INDEX}
