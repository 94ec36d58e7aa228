"""Data sets with different classes as one: classes, mask values, splits, groups and messages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.join import background_class, join_datasets
from pixelwise.data.partial_labels import FULL_LABELS
from pixelwise.data.schema import Annotation, LabelMap, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import default_palette
from tests.data.joined import draw_shapes


def make_set(root: str, classes: tuple[str, ...], **changes: Any) -> pw.DatasetIndex:
    """Return a data set of ten training images that do not exist. The mask value of class i is 10 i."""
    label_map = LabelMap("index", {10 * index: index for index in range(len(classes))} | {255: 255})
    train = tuple(Record(Path(f"{root}/{n}.png"), Path(f"{root}/{n}_mask.png")) for n in range(10))
    data = pw.DatasetIndex(
        Path(root), "folders", classes, default_palette(len(classes)), ReadSpec(label_map), train=train
    )
    return replace(data, **changes)


def values_of(data: pw.DatasetIndex, number: int) -> dict[int, int]:
    """Return mask value in the files → mask value in memory of data set `number`."""
    read_spec = data.records_by_set("train")[number][0][0].read_spec
    assert read_spec is not None
    return dict(read_spec.label_map.value_to_class)


def test_classes_appear_in_order_and_equal_names_are_one_class() -> None:
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("dog", "background", "cow"))])
    assert data.classes == ("background", "cat", "dog", "cow")
    assert data.read_spec.partial_labels.possible == ((0, 2, 3), (0, 1))
    assert values_of(data, 0) == {0: 4, 10: 1, 255: 255}
    assert values_of(data, 1) == {0: 2, 10: 5, 20: 3, 255: 255}
    assert "a: has no 'dog' or 'cow': a pixel of its 'background' may be 'dog' or 'cow'" in data.messages
    assert "b: has no 'cat': a pixel of its 'background' may be 'cat'" in data.messages


def test_a_complete_data_set_has_no_further_mask_values() -> None:
    data = join_datasets([make_set("a", ("background", "cat", "dog")), make_set("b", ("background", "dog"))])
    assert values_of(data, 0) == {0: 0, 10: 1, 20: 2, 255: 255} and values_of(data, 1) == {0: 3, 10: 2, 255: 255}


def test_data_sets_with_equal_classes_have_no_further_mask_values() -> None:
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("cat", "background"))])
    assert data.read_spec.partial_labels.possible == ()
    assert values_of(data, 1) == {0: 1, 10: 0, 255: 255}
    assert not any("has no" in message for message in data.messages)


def test_without_a_background_all_pixels_are_known() -> None:
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("road", "sky"))])
    assert data.read_spec.partial_labels.possible == ((0, 2, 3),) and values_of(data, 1) == {0: 2, 10: 3, 255: 255}
    assert any("has no 'background' or 'cat', and no background" in message for message in data.messages)


def test_backgrounds_with_different_names_are_one_class() -> None:
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("other", "dog"))])
    assert data.classes == ("background", "cat", "dog")
    assert "b: 'other' is the class 'background' of the other data sets" in data.messages
    assert data.read_spec.partial_labels.possible == ((0, 2), (0, 1))


def test_the_value_0_beside_255_is_background() -> None:
    values = ReadSpec(LabelMap("index", {0: 0, 255: 1}))
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("healthy", "lesion"), read_spec=values)])
    assert data.classes == ("background", "cat", "lesion") and values_of(data, 1) == {0: 4, 255: 2}


def test_generic_names_that_are_shared_are_pointed_out() -> None:
    data = join_datasets([make_set(name, ("background", "foreground")) for name in ("a", "b")])
    assert any("'foreground' of 'a' and 'b' is one class" in message for message in data.messages)
    assert not any("'background' of" in message for message in data.messages)


def test_a_data_set_with_two_such_names_distinguishes_them() -> None:
    data = join_datasets([make_set("a", ("other", "cat")), make_set("b", ("background", "other", "cat", "dog"))])
    assert data.classes == ("other", "cat", "background", "dog")
    assert data.read_spec.partial_labels.possible == ((0, 2, 3),)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(("cat", "_Background_"), "_Background_"), (("rest", "cat"), "rest"), (("road", "sky"), None), (("otter",), None)],
)
def test_the_background_is_recognized_by_its_name(classes: tuple[str, ...], expected: str | None) -> None:
    assert background_class(classes) == expected


def test_a_color_that_is_taken_is_replaced() -> None:
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("background", "dog"))])
    assert data.palette == default_palette(3)
    own = join_datasets(
        [make_set("a", ("x", "y"), palette=((0, 0, 0), (9, 9, 9))), make_set("b", ("z", "x"), palette=((1, 2, 3),) * 2)]
    )
    assert own.palette == ((0, 0, 0), (9, 9, 9), (1, 2, 3))


def test_given_classes_decide_the_order_and_what_is_unknown() -> None:
    part = join_datasets([make_set("b", ("other", "dog"))], ("background", "cat", "dog"))
    assert part.classes == ("background", "cat", "dog") and len(part.palette) == 3
    assert values_of(part, 0) == {0: 3, 10: 2, 255: 255} and part.read_spec.partial_labels.possible == ((0, 1),)
    with pytest.raises(ConfigError, match="cats: has the class 'cat', which is none of 'background' and 'dog'"):
        join_datasets([make_set("pets/cats", ("background", "cat"))], ("background", "dog"))


def test_splits_stay_and_groups_and_strata_do_not_mix() -> None:
    records = tuple(Record(Path(f"{n}.png"), Path(f"{n}_.png"), "tabby", "video") for n in range(4))
    sets = [
        make_set(name, ("background", "cat"), train=records[:2], val=records[2:3], test=records[3:])
        for name in ("a", "b")
    ]
    data = join_datasets(sets)
    assert [len(split) for split in (data.train, data.val, data.test)] == [4, 2, 2]
    assert [record.group for record in data.train] == ["0: video", "0: video", "1: video", "1: video"]
    assert len({record.stratum for record in data.train}) == 2 and not data.lacks_val
    assert data.records_by_set("val", "test") == [
        ((data.val[0],), (data.test[0],)),
        ((data.val[1],), (data.test[1],)),
    ]
    assert join_datasets([sets[0], replace(sets[1], val=())]).lacks_val


def test_polygons_are_drawn_with_the_joined_classes() -> None:
    square = np.array([[2, 2], [6, 2], [6, 6], [2, 6]], float)
    mask = PolygonMask((Annotation(1, (square,)), Annotation(255, (square + 4,))), "file")
    records = (Record(Path("1.png"), mask),)
    first = make_set("a", ("background", "cat"))
    second = make_set("b", ("background", "dog"), read_spec=ReadSpec(LabelMap("polygons")), train=records)
    drawn = join_datasets([first, second]).records_by_set("train")[1][0][0].mask
    assert isinstance(drawn, PolygonMask)
    assert drawn.background == 4 and [item.label for item in drawn.annotations] == [2, 255]


def test_values_of_all_other_objects_are_converted_too() -> None:
    objects = ReadSpec(LabelMap("index", {0: 0}, other_class=1))
    data = join_datasets([make_set("a", ("background", "cat")), make_set("b", ("dog", "cat"), read_spec=objects)])
    read_spec = data.train[-1].read_spec
    assert read_spec is not None and read_spec.label_map.other_class == 1
    assert read_spec.label_map.value_to_class == {0: 2}


def make_multilabel(root: str, classes: tuple[str, ...]) -> pw.DatasetIndex:
    records = (Record(Path(f"{root}.png"), MultilabelMask(tuple(Path(f"{root}_{name}.png") for name in classes))),)
    return make_set(root, classes, read_spec=ReadSpec(LabelMap("multilabel", {0: 0, 255: 1})), train=records)


def test_an_unknown_class_is_ignored_in_multilabel_masks() -> None:
    data = join_datasets([make_multilabel("a", ("other", "x")), make_multilabel("b", ("x", "y"))])
    assert data.classes == ("other", "x", "y") and data.read_spec.partial_labels == replace(FULL_LABELS, classes=3)
    masks = [record.mask for record in data.train]
    assert isinstance(masks[0], MultilabelMask) and isinstance(masks[1], MultilabelMask)
    assert masks[0].unknown == {2} and masks[1].unknown == {0}
    assert masks[1].channels == (None, Path("b_x.png"), Path("b_y.png"))
    assert "b: has no 'other', which is ignored in its images" in data.messages


def test_the_channel_of_an_unknown_class_is_read_as_255(tmp_path: Path) -> None:
    record = make_multilabel(str(tmp_path / "a"), ("x", "y")).train[0]
    assert isinstance(record.mask, MultilabelMask)
    for path in (record.image, record.mask.channels[0]):
        assert isinstance(path, Path)
        Image.fromarray(np.tile(np.array([0, 255], np.uint8), (4, 2))).save(path)
    one_file = replace(record, mask=replace(record.mask, channels=(record.mask.channels[0], None)))
    data = join_datasets(
        [replace(make_multilabel(str(tmp_path / "a"), ("x", "y")), train=(one_file,)), make_multilabel("b", ("z",))]
    )
    mask = data.read(data.train[0])[1]
    assert [np.unique(channel).tolist() for channel in mask] == [[0, 1], [0], [255]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_multilabel("b", ("x", "y")), "the masks of 'b' are multilabel, but those of 'a' are multiclass"),
        (
            make_set("b", ("x", "y"), read_spec=ReadSpec(LabelMap("index", {0: 0}), channels=4)),
            "the images of 'b' have 4 channels, but those of 'a' have 3",
        ),
        (make_set("b", ("x", "y"), undecided="b: masks are ambiguous"), "b: masks are ambiguous"),
        (make_set("b", tuple(map(str, range(254)))), "more than the maximum of 254"),
    ],
)
def test_what_cannot_be_joined_is_an_error(other: pw.DatasetIndex, message: str) -> None:
    with pytest.raises(DataError, match=message):
        join_datasets([make_set("a", ("background", "cat")), other])


def test_a_joined_data_set_can_be_joined_again() -> None:
    first, second, third = (make_set(name, ("background", name)) for name in ("a", "b", "c"))
    again = join_datasets([join_datasets([first, second]), third])
    assert again.classes == ("background", "a", "b", "c") and again.sets == (first, second, third)


def test_masks_are_read_with_the_values_of_their_data_set(tmp_path: Path) -> None:
    folders = [draw_shapes(tmp_path / name, [name]) for name in ("square", "disc")]
    full = pw.load_dataset(draw_shapes(tmp_path / "full", ["square", "disc"]))
    data = join_datasets([pw.load_dataset(folder) for folder in folders])
    for record, true in zip((data.train[0], data.train[6]), (full.train[0],) * 2, strict=True):
        image, mask = data.read(record)
        expected_image, expected = full.read(true)
        known = data.train.index(record) // 6 + 1
        assert np.array_equal(image, expected_image)
        assert np.array_equal(mask, np.where(expected == known, known, 2 + known))


def test_the_cache_key_depends_on_the_classes_of_each_data_set() -> None:
    sets = [make_set("a", ("background", "cat")), make_set("b", ("background", "dog"))]
    data = join_datasets(sets)
    keys = {
        cache_key(data.train, data.read_spec, 64, 1),
        cache_key(join_datasets(sets[::-1]).train[10:] + data.train[10:], data.read_spec, 64, 1),
        cache_key(sets[0].train + sets[1].train, data.read_spec, 64, 1),
    }
    assert len(keys) == 3
    mask = MultilabelMask((Path("x.png"), None))
    records = [Record(Path("1.png"), each) for each in (mask, replace(mask, unknown=frozenset({1})))]
    spec = ReadSpec(LabelMap("multilabel", {0: 0}))
    assert len({cache_key([record], spec, 64, 1) for record in records}) == 2
