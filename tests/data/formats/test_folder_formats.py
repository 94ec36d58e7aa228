"""Folders of images: every layout reads back to the images and masks that were written, and nothing is guessed."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.formats.ade20k import CLASSES as ADE20K_CLASSES
from pixelwise.data.formats.voc import CLASSES as VOC_CLASSES
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_mask
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap
from pixelwise.errors import DataError
from tests.data.formats.writers.folders import (
    IN_COLORS,
    LABEL_IDS,
    NO_SPLITS,
    VOID_COLOR,
    WRITERS,
    Sample,
    colors,
    draw_scenes,
    lines,
    save,
    write_cityscapes,
    write_voc,
    write_voc_official,
)

CLASSES = ("background", "cat", "猫 dog")
NAMES = ("scene 1", "a_1", "猫 3", "b.2", "1", "10")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test; all classes and void in each."""
    return draw_scenes(NAMES, (0, 1, 2, 255))


def encoding(writer: str, layout: FormatResult, classes: Sequence[str]) -> LabelMap:
    """What the masks of a writer mean: as the format says, else as they were written."""
    if layout.label_map is not None:
        return layout.label_map if layout.label_map.value_to_class else LabelMap("multilabel", {0: 0, 255: 1})
    if writer in IN_COLORS:
        table = (*((color, index) for index, color in enumerate(colors(len(classes)))), (VOID_COLOR, 255))
        return LabelMap("rgb", {r << 16 | g << 8 | b: index for (r, g, b), index in table})
    return LabelMap("index", {index: index for index in (*range(len(classes)), 255)})


def check_same(writer: str, layout: FormatResult, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Every sample is there once, in its split, with its own mask, pixel for pixel."""
    assert layout.issues == ()
    masks = encoding(writer, layout, classes)
    left = {sample.image.tobytes(): sample for sample in samples}
    for split in SPLITS:
        for record in getattr(layout, split):
            sample = left.pop(read_image(record.image).tobytes())
            if writer not in NO_SPLITS:
                assert split == {("ade20k", "test"): "val"}.get((writer, sample.split), sample.split)
            mask = read_mask(record.mask, masks, sample.mask.shape)
            if masks.kind == "multilabel":
                assert layout.classes == tuple(sorted(classes))
                for name, layer in zip(layout.classes, mask, strict=True):
                    assert np.array_equal(layer, sample.mask == classes.index(name))
            else:
                assert np.array_equal(mask, sample.mask)
    assert not left


# --- every writer


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    layout = FORMATS[format].component(tmp_path)
    assert layout is not None
    check_same(writer, layout, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_litter_changes_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "._1.png", ".hidden.png", "notes.md", "README", "1.xml"):
            (folder / name).write_bytes(b"x")
        (folder / "__MACOSX" / "masks").mkdir(parents=True)
        (folder / "__MACOSX" / "masks" / "1.png").write_bytes(b"x")
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "1.png").write_bytes(b"x")
    check_same(writer, FORMATS[format].component(tmp_path), samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_no_file_is_opened_that_is_no_text(
    writer: str, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for path in tmp_path.rglob("*"):
        if path.suffix.lower() in (".png", ".gif", ".bmp", ".webp", ".jpg", ".tif"):
            path.write_bytes(b"")
    layout = FORMATS[format].component(tmp_path)
    assert len(layout.records) == len(samples) and layout.issues == ()


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, layout = detect_format(tmp_path)
    assert name == format
    check_same(writer, layout, samples, classes)


# --- formats by name


def test_camvid_names_videos_and_classes(samples: list[Sample], tmp_path: Path) -> None:
    WRITERS["camvid"][1](tmp_path, samples, CLASSES)
    layout = FORMATS["camvid"].component(tmp_path)
    assert {record.group for record in layout.records} == {"0001TP"}
    assert layout.classes[:3] == ("sky", "building", "pole") and len(layout.classes) == len(layout.palette) == 11
    assert layout.label_map.value_to_class[11] == 255 and layout.label_map.value_to_class[10] == 10
    # Frames of other videos are other data.
    save(tmp_path / "train" / "street_1.png", samples[0].image)
    assert FORMATS["camvid"].component(tmp_path) is None
    assert detect_format(tmp_path)[0] == "folders"


def test_real_camvid(tmp_path: Path) -> None:
    root = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / "camvid"
    if not root.is_dir():
        pytest.skip("needs PIXELWISE_DATA, a folder that holds camvid/")
    name, layout = detect_format(root)
    assert (name, len(layout.train), len(layout.val)) == ("camvid", 367, 101)
    assert {record.group for record in layout.records} == {"0001TP", "0006R0", "0016E5"}
    masks = [read_mask(record.mask, layout.label_map) for record in layout.val[::20]]
    heights = [
        np.mean([np.nonzero(mask == index)[0].mean() for mask in masks if (mask == index).any()]) for index in (0, 3)
    ]
    assert heights[0] < 100 < 250 < heights[1], "the sky is above, the road below"


def test_carvana_names_its_classes_where_the_files_are_its_own(samples: list[Sample], tmp_path: Path) -> None:
    write = WRITERS["carvana"][1]
    write(tmp_path / "other", samples, CLASSES)
    assert FORMATS["carvana"].component(tmp_path / "other").class_names == ()
    cars = [Sample(f"0cdf5b5d0ce{i // 2}_{i:02}", s.split, s.image, s.mask) for i, s in enumerate(samples)]
    write(tmp_path / "own", cars, CLASSES)
    layout = FORMATS["carvana"].component(tmp_path / "own")
    assert layout.class_names == ("background", "car") and layout.label_map is None
    assert sorted({record.group for record in layout.train}) == ["0cdf5b5d0ce0", "0cdf5b5d0ce1", "0cdf5b5d0ce2"]
    together = tmp_path / "one"
    together.mkdir()
    for path in (tmp_path / "own").rglob("*.*"):
        path.rename(together / path.name)
    assert len(FORMATS["carvana"].component(together).train) == len(samples)


def test_voc_has_its_own_classes_or_those_of_labelmap(samples: list[Sample], tmp_path: Path) -> None:
    write_voc(tmp_path / "cvat", samples, CLASSES)
    layout = FORMATS["voc"].component(tmp_path / "cvat")
    assert layout.classes == () and list(layout.names_by_color.values()) == list(CLASSES)
    assert layout.names_by_color[200 << 16] == "cat"
    write_voc_official(tmp_path / "own", samples, CLASSES)
    layout = FORMATS["voc"].component(tmp_path / "own")
    assert layout.classes == VOC_CLASSES and len(layout.classes) == 21 == len(layout.palette)
    assert layout.palette[15] == (192, 128, 128), "a person"
    assert FORMATS["voc"].component(tmp_path / "own" / "VOCdevkit") is not None
    assert FORMATS["voc"].component(tmp_path / "own" / "VOCdevkit" / "VOC2012") is not None


def test_voc_with_trainval_alone_and_images_that_no_list_names(samples: list[Sample], tmp_path: Path) -> None:
    write_voc_official(tmp_path, samples, CLASSES)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "val.txt").unlink()
    lines(lists / "test.txt", ["2008_009999", "2008_009998"])  # whose images are not public
    for name in ("2009_000001", "2009_000002"):  # for detection, without a mask
        save(root / "JPEGImages" / f"{name}.jpg", samples[0].image)
    layout = FORMATS["voc"].component(tmp_path)
    assert [len(layout.train), len(layout.val), len(layout.test)] == [3, 0, 0]
    assert [problem.severity == "warning" for problem in layout.issues] == [True]
    assert "test.txt" in str(layout.issues[0])


def test_two_years_of_voc_are_one_too_many(samples: list[Sample], tmp_path: Path) -> None:
    write_voc_official(tmp_path, samples, CLASSES)
    (tmp_path / "VOCdevkit" / "VOC2012").rename(tmp_path / "VOCdevkit" / "VOC2007")
    write_voc_official(tmp_path, samples, CLASSES)
    with pytest.raises(DataError, match="VOC2007 and VOC2012; point DATA at one of them"):
        FORMATS["voc"].component(tmp_path)


def test_cityscapes_strata_and_blank_test_masks(samples: list[Sample], tmp_path: Path) -> None:
    write_cityscapes(tmp_path, samples, CLASSES)
    layout = FORMATS["cityscapes"].component(tmp_path)
    assert len(layout.classes) == 19 == len(layout.palette) and layout.classes[18] == "bicycle"
    assert {record.stratum for record in layout.records} == {"aachen"}
    mapping = layout.label_map.value_to_class
    assert (mapping[7], mapping[33], mapping[18], mapping[0], mapping[34]) == (0, 18, 255, 255, 255)
    assert [value for value in sorted(mapping) if mapping[value] != 255] == list(LABEL_IDS)
    assert [mapping[value] for value in LABEL_IDS] == list(range(19))
    for top in ("leftImg8bit", "gtFine"):
        (tmp_path / top / "test" / "aachen").rename(tmp_path / top / "test" / "berlin")
    layout = FORMATS["cityscapes"].component(tmp_path)
    assert (len(layout.train), len(layout.val), len(layout.test)) == (3, 1, 0)
    assert [(problem.kind, problem.severity == "warning") for problem in layout.issues] == [("images without masks", True)]


def test_ade20k_by_its_file_names(samples: list[Sample], tmp_path: Path) -> None:
    named = [Sample(f"ADE_train_0000000{i}", s.split, s.image, s.mask) for i, s in enumerate(samples)]
    WRITERS["ade20k"][1](tmp_path, named, CLASSES)
    layout = FORMATS["ade20k"].component(tmp_path)
    assert layout.classes == CLASSES
    (tmp_path / "objectInfo150.txt").unlink()
    layout = FORMATS["ade20k"].component(tmp_path)
    assert layout.classes == ADE20K_CLASSES and len(set(layout.classes)) == 150
    assert (layout.classes[0], layout.classes[12], layout.classes[149]) == ("wall", "person", "flag")
    assert layout.label_map.value_to_class[0] == 255 and layout.label_map.value_to_class[150] == 149
    # 0 may be a class of anyone else's data in such folders.
    for path in [*tmp_path.rglob("*.png")]:
        path.rename(path.with_name(path.name.removeprefix("ADE_")))
    assert detect_format(tmp_path)[0] == "folders"
