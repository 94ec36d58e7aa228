"""Folders of images and masks are read back as written, and the formats of well-known data sets."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats.ade20k import CLASSES as ADE20K_CLASSES
from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.formats.voc import CLASSES as VOC_CLASSES
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_mask
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap
from pixelwise.errors import DataError
from tests.data.formats.support import CLASSES, label_map_of, path_of, read_as
from tests.data.formats.writers.folders import (
    IN_COLORS,
    LABEL_IDS,
    NO_SPLITS,
    VOID_COLOR,
    WRITERS,
    Sample,
    colors,
    lines,
    save,
    write_cityscapes,
    write_voc,
    write_voc_official,
)


def label_map_for(writer: str, result: FormatResult, classes: Sequence[str]) -> LabelMap:
    """Return the label map that the format states, or else the one of the writer."""
    if result.label_map is not None:
        return result.label_map if result.label_map.value_to_class else LabelMap("multilabel", {0: 0, 255: 1})
    if writer in IN_COLORS:
        table = (*((color, index) for index, color in enumerate(colors(len(classes)))), (VOID_COLOR, 255))
        return LabelMap("rgb", {r << 16 | g << 8 | b: index for (r, g, b), index in table})
    return LabelMap("index", {index: index for index in (*range(len(classes)), 255)})


def check_same(writer: str, result: FormatResult, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Check that each sample was read once, in its split, with equal image and mask pixels."""
    assert result.issues == ()
    label_map = label_map_for(writer, result, classes)
    remaining = {sample.image.tobytes(): sample for sample in samples}
    for split in SPLITS:
        for record in getattr(result, split):
            sample = remaining.pop(read_image(record.image).tobytes())
            if writer not in NO_SPLITS:
                assert split == {("ade20k", "test"): "val"}.get((writer, sample.split), sample.split)
            mask = read_mask(record.mask, label_map, sample.mask.shape)
            if label_map.kind == "multilabel":
                assert result.classes == tuple(sorted(classes))
                for name, channel in zip(result.classes, mask, strict=True):
                    assert np.array_equal(channel, sample.mask == classes.index(name))
            else:
                assert np.array_equal(mask, sample.mask)
    assert not remaining


@pytest.mark.parametrize("writer", WRITERS)
def test_written_data_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = read_as(format, tmp_path)
    check_same(writer, result, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_unrelated_files_change_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "._1.png", ".hidden.png", "notes.md", "README", "1.xml"):
            (folder / name).write_bytes(b"x")
        (folder / "__MACOSX" / "masks").mkdir(parents=True)
        (folder / "__MACOSX" / "masks" / "1.png").write_bytes(b"x")
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "1.png").write_bytes(b"x")
    check_same(writer, read_as(format, tmp_path), samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_image_files_are_not_opened(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for path in tmp_path.rglob("*"):
        if path.suffix.lower() in (".png", ".gif", ".bmp", ".webp", ".jpg", ".tif"):
            path.write_bytes(b"")
    result = read_as(format, tmp_path)
    assert len(result.records) == len(samples) and result.issues == ()


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, result = detect_format(tmp_path)
    assert name == format
    check_same(writer, result, samples, classes)


def test_camvid_has_classes_and_videos_as_groups(samples: list[Sample], tmp_path: Path) -> None:
    WRITERS["camvid"][1](tmp_path, samples, CLASSES)
    result = read_as("camvid", tmp_path)
    assert {record.group for record in result.records} == {"0001TP"}
    assert result.classes[:3] == ("sky", "building", "pole") and len(result.classes) == len(result.palette) == 11
    assert label_map_of(result).value_to_class[11] == 255 and label_map_of(result).value_to_class[10] == 10
    # A name that is not of the four videos makes it another data set.
    save(tmp_path / "train" / "street_1.png", samples[0].image)
    assert FORMATS["camvid"].component(tmp_path) is None
    assert detect_format(tmp_path)[0] == "folders"


def test_real_camvid(tmp_path: Path) -> None:
    root = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / "camvid"
    if not root.is_dir():
        pytest.skip("needs PIXELWISE_DATA, a folder with camvid/")
    name, result = detect_format(root)
    assert (name, len(result.train), len(result.val)) == ("camvid", 367, 101)
    assert {record.group for record in result.records} == {"0001TP", "0006R0", "0016E5"}
    masks = [read_mask(path_of(record.mask), label_map_of(result)) for record in result.val[::20]]
    heights = [
        np.mean([np.nonzero(mask == index)[0].mean() for mask in masks if (mask == index).any()]) for index in (0, 3)
    ]
    assert heights[0] < 100 < 250 < heights[1], "the sky is above, the road below"


def test_carvana_has_classes_if_all_names_are_the_challenges(samples: list[Sample], tmp_path: Path) -> None:
    write = WRITERS["carvana"][1]
    write(tmp_path / "other", samples, CLASSES)
    assert read_as("carvana", tmp_path / "other").class_names == ()
    cars = [Sample(f"0cdf5b5d0ce{i // 2}_{i:02}", s.split, s.image, s.mask) for i, s in enumerate(samples)]
    write(tmp_path / "own", cars, CLASSES)
    result = read_as("carvana", tmp_path / "own")
    assert result.class_names == ("background", "car") and result.label_map is None
    assert {record.group for record in result.train} == {"0cdf5b5d0ce0", "0cdf5b5d0ce1", "0cdf5b5d0ce2"}
    single_folder = tmp_path / "one"
    single_folder.mkdir()
    for path in (tmp_path / "own").rglob("*.*"):
        path.rename(single_folder / path.name)
    assert len(read_as("carvana", single_folder).train) == len(samples)


def test_voc_has_its_classes_or_those_of_labelmap(samples: list[Sample], tmp_path: Path) -> None:
    write_voc(tmp_path / "cvat", samples, CLASSES)
    result = read_as("voc", tmp_path / "cvat")
    assert result.classes == () and list(result.names_by_color.values()) == list(CLASSES)
    assert result.names_by_color[200 << 16] == "cat"
    write_voc_official(tmp_path / "own", samples, CLASSES)
    result = read_as("voc", tmp_path / "own")
    assert result.classes == VOC_CLASSES and len(result.classes) == 21 == len(result.palette)
    assert result.palette[15] == (192, 128, 128), "a person"
    assert FORMATS["voc"].component(tmp_path / "own" / "VOCdevkit") is not None
    assert FORMATS["voc"].component(tmp_path / "own" / "VOCdevkit" / "VOC2012") is not None


def test_voc_with_only_trainval_and_unlisted_images(samples: list[Sample], tmp_path: Path) -> None:
    write_voc_official(tmp_path, samples, CLASSES)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "val.txt").unlink()
    lines(lists / "test.txt", ["2008_009999", "2008_009998"])  # the images are not public
    for name in ("2009_000001", "2009_000002"):  # images for object detection have no mask
        save(root / "JPEGImages" / f"{name}.jpg", samples[0].image)
    result = read_as("voc", tmp_path)
    assert [len(result.train), len(result.val), len(result.test)] == [3, 0, 0]
    assert [issue.severity for issue in result.issues] == ["warning"]
    assert "test.txt" in str(result.issues[0])


def test_two_years_of_voc_raise(samples: list[Sample], tmp_path: Path) -> None:
    write_voc_official(tmp_path, samples, CLASSES)
    (tmp_path / "VOCdevkit" / "VOC2012").rename(tmp_path / "VOCdevkit" / "VOC2007")
    write_voc_official(tmp_path, samples, CLASSES)
    with pytest.raises(DataError, match="VOC2007 and VOC2012; use one of them as the data set"):
        read_as("voc", tmp_path)


def test_cityscapes_strata_and_blank_test_masks(samples: list[Sample], tmp_path: Path) -> None:
    write_cityscapes(tmp_path, samples, CLASSES)
    result = read_as("cityscapes", tmp_path)
    assert len(result.classes) == 19 == len(result.palette) and result.classes[18] == "bicycle"
    assert {record.stratum for record in result.records} == {"aachen"}
    values = label_map_of(result).value_to_class
    assert (values[7], values[33], values[18], values[0], values[34]) == (0, 18, 255, 255, 255)
    assert [value for value in sorted(values) if values[value] != 255] == list(LABEL_IDS)
    assert [values[value] for value in LABEL_IDS] == list(range(19))
    for top in ("leftImg8bit", "gtFine"):
        (tmp_path / top / "test" / "aachen").rename(tmp_path / top / "test" / "berlin")
    result = read_as("cityscapes", tmp_path)
    assert (len(result.train), len(result.val), len(result.test)) == (3, 1, 0)
    assert [(issue.kind, issue.severity) for issue in result.issues] == [("images without masks", "warning")]


def test_ade20k_is_recognized_by_its_file_names(samples: list[Sample], tmp_path: Path) -> None:
    renamed = [Sample(f"ADE_train_0000000{i}", s.split, s.image, s.mask) for i, s in enumerate(samples)]
    WRITERS["ade20k"][1](tmp_path, renamed, CLASSES)
    result = read_as("ade20k", tmp_path)
    assert result.classes == CLASSES
    (tmp_path / "objectInfo150.txt").unlink()
    result = read_as("ade20k", tmp_path)
    assert result.classes == ADE20K_CLASSES and len(set(result.classes)) == 150
    assert (result.classes[0], result.classes[12], result.classes[149]) == ("wall", "person", "flag")
    assert label_map_of(result).value_to_class[0] == 255 and label_map_of(result).value_to_class[150] == 149
    # In other data in such folders, 0 can be a class.
    for path in [*tmp_path.rglob("*.png")]:
        path.rename(path.with_name(path.name.removeprefix("ADE_")))
    assert detect_format(tmp_path)[0] == "folders"
