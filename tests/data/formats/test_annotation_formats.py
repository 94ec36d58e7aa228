"""Outlines: COCO, YOLO, labelme and Label Studio read back to what was written, and broken files are told by name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from annotation_writers import NO_IGNORE, NO_SPLITS, WRITERS
from folder_writers import Sample, save
from test_folder_formats import real_samples  # noqa: F401 - a fixture

from pixelwise.data.formats import FORMATS, find_layout
from pixelwise.data.load import load_dataset
from pixelwise.data.masks import read_mask, read_pair
from pixelwise.data.pictures import read_image
from pixelwise.data.records import SPLITS, Layout
from pixelwise.errors import DataError

# pycocotools makes numpy warn of a keyword that it does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

CLASSES = ("background", "cat", "猫 dog", "ape")
NAMES = ("scene 1", "a_1", "猫 3", "b.2", "1", "10")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test; all classes and void in each but one, which is bare."""
    random = np.random.default_rng(0)
    scenes = []
    for index, name in enumerate(NAMES):
        image = random.integers(0, 256, (9, 12 + index, 3), np.uint8)
        mask = random.choice(np.array([0, 0, 1, 2, 3, 255], np.uint8), image.shape[:2])
        scenes.append(Sample(name, ("train", "train", "train", "val", "test", "test")[index], image, mask))
    scenes[1] = replace(scenes[1], mask=np.zeros_like(scenes[1].mask))
    return scenes


def writable(writer: str, samples: Sequence[Sample]) -> list[Sample]:
    """The samples, without void where a format has none."""
    if writer not in NO_IGNORE:
        return list(samples)
    return [replace(each, mask=np.where(each.mask == 255, 0, each.mask).astype(np.uint8)) for each in samples]


def named(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The class of each pixel by name, "ignore" for 255."""
    return np.array([*classes, *["?"] * (255 - len(classes)), "ignore"])[mask]


def check_same(writer: str, read: dict[str, list[tuple[np.ndarray, np.ndarray]]], found: Sequence[str],
               samples: Sequence[Sample], classes: Sequence[str]) -> None:  # fmt: skip
    """Every sample is there once, in its split, with its own mask, pixel for pixel."""
    left = {sample.image.tobytes(): sample for sample in samples}
    for split, pairs in read.items():
        for image, mask in pairs:
            sample = left.pop(image.tobytes())
            assert split == ("train" if writer in NO_SPLITS else sample.split)
            assert np.array_equal(named(mask, found), named(sample.mask, classes))
    assert not left


def read_layout(layout: Layout) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    pairs = {}
    for split in SPLITS:
        images = [(read_image(record.image), record.mask) for record in getattr(layout, split)]
        pairs[split] = [(image, read_mask(mask, layout.encoding, image.shape[:2])) for image, mask in images]
    return pairs


# --- every writer


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_read_back(writer: str, samples: list[Sample], tmp_path: Path):
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    layout = FORMATS[format](tmp_path)
    assert layout.problems == () and layout.classes[0] == "background" and set(layout.classes) == set(CLASSES)
    if format != "labelme" and format != "label-studio":
        assert layout.classes == CLASSES
    check_same(writer, read_layout(layout), layout.classes, samples, CLASSES)
    data = load_dataset(tmp_path)
    assert data.format == format and data.classes == layout.classes
    pairs = {split: [read_pair(record, data.reading) for record in getattr(data, split)] for split in SPLITS}
    check_same(writer, pairs, data.classes, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_is_known_as_its_own_format_alone(writer: str, samples: list[Sample], tmp_path: Path):
    format, write = WRITERS[writer]
    write(tmp_path, writable(writer, samples), CLASSES)
    assert find_layout(tmp_path)[0] == format
    for other, read in FORMATS.items():
        if other not in (format, "folders"):
            assert read(tmp_path) is None, other


@pytest.mark.parametrize("writer", WRITERS)
def test_litter_changes_nothing(writer: str, samples: list[Sample], tmp_path: Path):
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "._1.png", ".hidden.json", "notes.md", "README", "1.xml", "config.json"):
            (folder / name).write_bytes(b"x")
    layout = FORMATS[format](tmp_path)
    assert layout.problems == ()
    check_same(writer, read_layout(layout), layout.classes, samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_real_photos_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path):  # noqa: F811
    samples, classes = real_samples
    samples = writable(writer, samples)
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, layout = find_layout(tmp_path)
    assert name == format
    check_same(writer, read_layout(layout), layout.classes, samples, classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_classes_can_be_chosen(writer: str, samples: list[Sample], tmp_path: Path):
    samples = writable(writer, samples)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    data = load_dataset(tmp_path, classes=["ape", "cat"])
    assert data.classes == ("background", "ape", "cat")
    expected = [replace(each, mask=np.array([0, 2, 0, 1, *[255] * 252], np.uint8)[each.mask]) for each in samples]
    pairs = {split: [read_pair(record, data.reading) for record in getattr(data, split)] for split in SPLITS}
    check_same(writer, pairs, data.classes, expected, data.classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_missing_photo_and_one_that_nothing_is_about(writer: str, samples: list[Sample], tmp_path: Path):
    format, write = WRITERS[writer]
    write(tmp_path, writable(writer, samples), CLASSES)
    if writer != "labelme embedded":
        photos = sorted(path for path in tmp_path.rglob("*.png") if "train" in str(path.relative_to(tmp_path)))
        photo = (photos or sorted(tmp_path.rglob("*.png")))[-1]
        content = photo.read_bytes()
        photo.unlink()
        fatal = [problem for problem in FORMATS[format](tmp_path).problems if not problem.usable]
        assert {problem.kind for problem in fatal} == {"missing photo"}
        with pytest.raises(DataError, match=r"add it|add the photo|put it beside"):
            load_dataset(tmp_path)
        assert len(load_dataset(tmp_path, skip_bad=True).train) > 0
        photo.write_bytes(content)
        save(photo.with_name("other.png"), samples[0].image)
        problems = FORMATS[format](tmp_path).problems
        bare = {"yolo": [], "yolo roboflow": [], "labelme": ["missing mask"], "labelme masks": ["missing mask"]}
        assert [problem.kind for problem in problems] == bare.get(writer, ["photo not listed"])
