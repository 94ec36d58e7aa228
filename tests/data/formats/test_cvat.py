"""CVAT XML: shapes, subsets, and damaged files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import ReadSpec
from pixelwise.errors import DataError
from tests.data.formats.support import label_map_of, read_as, single_mask
from tests.data.formats.writers.folders import Sample, lines, save
from tests.data.formats.writers.labeling import write_cvat_masks

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

LABEL = "<label><name>{}</name><color>#dc143c</color><type>{}</type></label>"


def write(folder: Path, *shapes: str, labels: str = "", attributes: str = 'name="a.png"', head: str = "") -> Path:
    """Write an image of 20x10 pixels and an XML file of its shapes. Return the folder."""
    save(folder / "images" / "a.png", np.zeros((10, 20, 3), np.uint8))
    labels = labels or LABEL.format("cat", "any") + LABEL.format("dog", "polygon").replace("dc143c", "00ff00")
    image = f'<image id="0" width="20" height="10" {attributes}>{"".join(shapes)}</image>'
    content = f"<meta><task><labels>{labels}</labels></task></meta>{image}"
    lines(folder / "annotations.xml", [f"{head}<annotations><version>1.1</version>{content}</annotations>"])
    return folder


def polygon(label: str, points: str, more: str = "") -> str:
    return f'<polygon label="{label}" points="{points}" {more}></polygon>'


SQUARE = "2,2;8,2;8,8;2,8"


def test_shapes_are_drawn_by_z_order_then_in_the_order_of_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        polygon("dog", "4,4;12,4;12,8;4,8", 'z_order="1"'),
        polygon("cat", SQUARE, 'z_order="0" occluded="1"'),
        '<box label="cat" xtl="14" ytl="1" xbr="18" ybr="4" z_order="-3"></box>',
        polygon("dog", "14,0;20,0;20,9;14,9", 'outside="1"'),
    )
    mask = single_mask(tmp_path)
    assert [mask[2, 2], mask[5, 5], mask[5, 11], mask[2, 15], mask[8, 16]] == [1, 2, 2, 1, 0]
    assert ((mask == 1).sum(), (mask == 2).sum()) == (36 - 16 + 12, 32)


def test_classes_and_colors_are_those_of_labels_with_an_area(tmp_path: Path) -> None:
    labels = "".join(
        [
            LABEL.format("sky", "any").replace("dc143c", "0000ff"),
            LABEL.format("nose", "points"),
            LABEL.format("background", "mask").replace("dc143c", "111111"),
            LABEL.format("cat", "polygon"),
            LABEL.format("joint", "any").replace("</label>", "<parent>arm</parent></label>"),
        ]
    )
    data = load_dataset(write(tmp_path, polygon("cat", SQUARE), labels=labels))
    assert data.classes == ("background", "sky", "cat")
    assert data.palette == ((17, 17, 17), (0, 0, 255), (220, 20, 60))


def test_rotated_boxes_and_ellipses(tmp_path: Path) -> None:
    write(
        tmp_path,
        '<box label="cat" xtl="3" ytl="1" xbr="5" ybr="9" rotation="90.0"></box>',
        '<ellipse label="dog" cx="14" cy="5" rx="5" ry="2" rotation="90.0"></ellipse>',
    )
    mask = single_mask(tmp_path)
    expected = np.zeros((10, 20), bool)
    expected[4:6, 0:8] = True
    assert np.array_equal(mask == 1, expected), "about its center"
    assert abs((mask == 2).sum() - np.pi * 10) < 4
    assert mask[1, 14] == 2 and mask[5, 17] == 0


def test_a_mask_that_leaves_the_image_is_cut(tmp_path: Path) -> None:
    write(tmp_path, '<mask label="cat" rle="2, 4" left="-1" top="9" width="3" height="2"></mask>')
    mask = single_mask(tmp_path)
    assert np.argwhere(mask).tolist() == [[9, 1]]


def test_shapes_without_area_are_counted_and_lines_can_be_drawn(tmp_path: Path) -> None:
    write(
        tmp_path,
        polygon("cat", SQUARE),
        '<points label="cat" points="1,1;3,3"></points>',
        '<skeleton label="cat"><points label="cat" points="1,1"></points></skeleton>',
        '<polyline label="dog" points="12,5;18,5"></polyline>',
        '<tag label="cat"></tag>',
    )
    warnings = [str(issue) for issue in read_as("cvat", tmp_path).issues]
    assert len(warnings) == 3 and all("1 region is left out" in text for text in warnings)
    assert [name for name in ("points", "skeleton", "polyline") if f"({name}: " in "".join(warnings)] == [
        "points", "skeleton", "polyline",
    ]  # fmt: skip
    assert "set `line_width` to draw lines" in warnings[2]
    data = load_dataset(tmp_path, line_width=2)
    mask = data.read(data.train[0])[1]
    assert (mask[4:6, 12:18] == 2).all() and (mask == 1).sum() == 36


def test_only_points_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, '<points label="cat" points="1,1;3,3"></points>')
    with pytest.raises(DataError, match=r"no region has an area: .*points enclose nothing.*draw polygons or masks"):
        load_dataset(tmp_path)


def test_an_image_with_only_unknown_shapes_is_named(tmp_path: Path) -> None:
    write(tmp_path / "1", polygon("cat", SQUARE), '<cuboid label="cat"></cuboid>')
    (issue,) = read_as("cvat", tmp_path).issues
    assert issue.severity == "warning" and "(cuboid: this kind of shape is not supported)" in issue.message
    write(tmp_path / "2", '<cuboid label="cat"></cuboid>')
    with pytest.raises(
        DataError, match=r"2/annotations.xml, image 0: a.png: none of its regions can be drawn \(cuboid"
    ):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


def test_shapes_outside_the_image_are_counted(tmp_path: Path) -> None:
    write(tmp_path, polygon("cat", SQUARE), polygon("dog", "30,2;35,2;35,8"))
    (issue,) = read_as("cvat", tmp_path).issues
    assert issue.severity == "warning" and "outlines are outside the image (1 region)" in issue.message


def test_subsets_are_splits_and_others_a_warning(tmp_path: Path) -> None:
    names = {"a": "Train", "b": "Validation", "c": "night", "d": "default"}
    images = []
    for index, (name, subset) in enumerate(names.items()):
        save(tmp_path / "images" / subset / "same.png", np.full((10, 20, 3), index, np.uint8))
        images.append(f'<image id="{index}" name="same.png" subset="{subset}" width="20" height="10">')
        images[-1] += polygon(name, SQUARE) + "</image>"
    lines(tmp_path / "annotations.xml", [f"<annotations>{''.join(images)}</annotations>"])
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "a", "b", "c", "d")
    for split, values in {"train": (0, 2, 3), "val": (1,), "test": ()}.items():
        pixels = [data.read(record) for record in getattr(data, split)]
        assert [(int(image.max()), int(mask.max())) for image, mask in pixels] == [(v, v + 1) for v in values]
    (warning,) = [issue for issue in read_as("cvat", tmp_path).issues if issue.severity == "warning"]
    assert warning.kind == "unknown split" and "the subsets night are no splits" in warning.message


def test_the_file_itself_can_be_the_data_set(tmp_path: Path) -> None:
    write(tmp_path, polygon("cat", SQUARE))
    assert len(load_dataset(tmp_path / "annotations.xml").train) == 1


def test_tracks_are_an_error_that_names_other_exports(tmp_path: Path) -> None:
    track = '<track id="0" label="cat"><box frame="0" outside="0" xtl="1" ytl="1" xbr="5" ybr="5"></box></track>'
    lines(tmp_path / "annotations.xml", [f"<annotations><version>1.1</version>{track}</annotations>"])
    with pytest.raises(DataError, match=r"annotations.xml: is 'CVAT for video 1.1'.* export 'CVAT for images 1.1' or"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (polygon("cat", "2,2;8,2"), r"shape 0 \(from 0, polygon\): a polygon of fewer than 3 points"),
        (polygon("cat", "2,2;8,x;3,3"), "points must be numbers"),
        (polygon("cat", "2,2;8,nan;3,3"), "not a number"),
        (polygon("", SQUARE), "must have a label"),
        (polygon("cat", SQUARE, 'z_order="up"'), "z_order must be a number"),
        ('<box label="cat" xtl="1" ytl="1" xbr="3"></box>', "ybr must be a number"),
        ('<box label="cat" xtl="1" ytl="1" xbr="3" ybr="inf"></box>', "ybr is not a number or is too large"),
        ('<mask label="cat" rle="1, 2" left="0" top="0" width="2" height="2"></mask>', "do not add up to 2x2"),
        ('<mask label="cat" rle="-1, 5" left="0" top="0" width="2" height="2"></mask>', "do not add up to 2x2"),
        ('<mask label="cat" rle="a" left="0" top="0" width="2" height="2"></mask>', "rle must be integers"),
        ('<mask label="cat" rle="0" left="0" top="0" width="0" height="2"></mask>', "at least 1"),
    ],
)
def test_damaged_shapes_name_the_image_and_can_be_skipped(shape: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "1", shape)
    write(tmp_path / "2", polygon("cat", SQUARE))
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / '1' / 'annotations.xml'}, image 0: ")
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("", "image 0: has no name"),
        ('name="b.png"', "image 0: no such image here: b.png; add it"),
        ('name="a.png" subset="train/x"', None),
    ],
)
def test_images_are_found_by_name(attributes: str, message: str | None, tmp_path: Path) -> None:
    write(tmp_path, polygon("cat", SQUARE), attributes=attributes)
    if message is None:
        assert len(load_dataset(tmp_path).train) == 1
    else:
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path)


def test_an_image_of_another_size_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, polygon("cat", SQUARE))
    save(tmp_path / "images" / "a.png", np.zeros((20, 10, 3), np.uint8))
    data = load_dataset(tmp_path)
    with pytest.raises(DataError, match="drawn on an image of 20x10, but the image is 10x20"):
        data.read(data.train[0])


def test_entities_are_refused_before_they_expand(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x" * 10}">' for i in range(12))
    write(tmp_path, polygon("&e11;", SQUARE))
    path = tmp_path / "annotations.xml"
    path.write_text(f"<!DOCTYPE a [{entities}]>" + path.read_text())
    with pytest.raises(DataError, match=r"is not laid out|does not match"):
        load_dataset(tmp_path)
    path.write_text("<annotations>" + path.read_text())
    with pytest.raises(DataError, match="is not valid XML"):
        load_dataset(tmp_path)
    write(tmp_path, polygon("cat", SQUARE), head="<!-- <annotations> --><!DOCTYPE annotations><!---->")
    with pytest.raises(DataError, match="has a document type"):
        FORMATS["cvat"].component(path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_changed_xml_is_read_or_raises_data_error(data: st.DataObject, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tiny = [
        Sample(str(index), split, random.integers(0, 256, (3, 4, 3), np.uint8), random.integers(0, 2, (3, 4), np.uint8))
        for index, split in enumerate(("train", "val"))
    ]
    folder = tmp_path / "data"
    write_cvat_masks(folder, tiny, ("background", "cat"))
    path = folder / "annotations.xml"
    text = path.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        end = at + data.draw(st.integers(0, 5))
        text = text[:at] + data.draw(st.text("0123456789 ,;<>/\"'=-aé\0", max_size=4)) + text[end:]
    path.write_text(text, encoding="utf-8")
    try:
        result = FORMATS["cvat"].component(folder)
        for record in result.records if result else ():
            assert result is not None
            read_image_and_mask(record, ReadSpec(label_map_of(result)))
    except DataError as error:
        assert str(folder) in str(error)
