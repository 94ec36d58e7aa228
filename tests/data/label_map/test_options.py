"""User options applied to classes that the format defines."""

import pytest

from pixelwise.data.label_map.options import LabelOptions, apply_options
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import ConfigError
from pixelwise.palette import IGNORE_INDEX

VALUES = FormatResult(
    classes=("background", "cat", "dog"),
    label_map=LabelMap("index", {0: 0, 10: 1, 20: 2, 255: IGNORE_INDEX}),
    palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
)
CHANNELS = FormatResult(classes=("cat", "dog"), label_map=LabelMap("multilabel", {0: 0, 255: 1}))


@pytest.mark.parametrize(
    ("options", "classes", "source_to_class"),
    [
        (LabelOptions(), ("background", "cat", "dog"), (0, 1, 2)),
        (LabelOptions(classes=("cat",)), ("background", "cat"), (0, 1, 0)),
        (LabelOptions(classes=("dog", "background")), ("dog", "background"), (1, 1, 0)),
        (LabelOptions(classes=("a", "b", "c")), ("a", "b", "c"), (0, 1, 2)),
        (LabelOptions(classes=("a", "b", "c"), ignore_values=("10",)), ("a", "c"), (0, IGNORE_INDEX, 1)),
        (LabelOptions(label_map=(("cat", "pet"), ("20", "pet"))), ("background", "pet"), (0, 1, 1)),
        (LabelOptions(ignore_values=("background",)), ("cat", "dog"), (IGNORE_INDEX, 0, 1)),
        (LabelOptions(label_map=(("cat", "void"),)), ("background", "dog"), (0, IGNORE_INDEX, 1)),
        (LabelOptions(unlabeled="ignore"), ("cat", "dog"), (IGNORE_INDEX, 0, 1)),
    ],
)
def test_options_select_rename_merge_and_ignore_classes(
    options: LabelOptions, classes: tuple[str, ...], source_to_class: tuple[int, ...]
) -> None:
    labels = apply_options(VALUES, options)
    assert labels.classes == classes and labels.source_to_class == source_to_class
    values = dict(zip((0, 10, 20), source_to_class, strict=True))
    assert labels.label_map.value_to_class == {**values, 255: IGNORE_INDEX}
    assert labels.palette == tuple(VALUES.palette[source_to_class.index(index)] for index in range(len(classes)))


@pytest.mark.parametrize(
    ("result", "options", "message"),
    [
        (VALUES, LabelOptions(classes=("cat", "cow")), r"unknown class 'cow'.*background, cat, dog"),
        (VALUES, LabelOptions(ignore_values=("7",)), r"unknown value '7'.*0, 10, 20, 255"),
        (VALUES, LabelOptions(ignore_values=("255",)), r"unknown value '255'"),
        (VALUES, LabelOptions(ignore_values=("cat", "dog")), r"only one class is left \(background\)"),
        (VALUES, LabelOptions(unlabeled="ignore", ignore_values=("cat",)), r"only one class is left \(dog\)"),
        (CHANNELS, LabelOptions(unlabeled="ignore"), "`unlabeled`: the format has no class 'background'"),
        (CHANNELS, LabelOptions(ignore_values=("0",)), r"unknown class '0'.*cat, dog"),
        (CHANNELS, LabelOptions(label_map=(("cat", "dog"),)), "cannot become one"),
        (CHANNELS, LabelOptions(ignore_values=("cat", "dog")), "no class is left; choose at least one"),
    ],
)
def test_options_that_do_not_fit(result: FormatResult, options: LabelOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_options(result, options)


def test_a_single_class_is_enough_for_multilabel_masks() -> None:
    labels = apply_options(CHANNELS, LabelOptions(classes=("dog",)))
    assert labels.classes == ("dog",) and labels.source_to_class == (IGNORE_INDEX, 0)


def test_a_value_0_that_is_ignored_already_needs_no_background() -> None:
    result = FormatResult(classes=("wall", "sky"), label_map=LabelMap("index", {0: IGNORE_INDEX, 1: 0, 2: 1}))
    labels = apply_options(result, LabelOptions(unlabeled="ignore"))
    assert labels.classes == ("wall", "sky") and labels.label_map == result.label_map
