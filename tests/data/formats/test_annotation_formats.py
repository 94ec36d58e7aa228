"""Annotation formats, for example COCO, labelme and CVAT: files are read back as written."""

import builtins
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, FormatResult, ReadSpec
from pixelwise.errors import DataError
from tests.data.formats.support import (
    label_map_of,
    read_as,
)
from tests.data.formats.writers import annotations, labeling
from tests.data.formats.writers.annotations import write_json
from tests.data.formats.writers.folders import Sample, draw_scenes, save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


WRITERS = annotations.WRITERS | labeling.WRITERS
NO_IGNORE = annotations.NO_IGNORE | labeling.NO_IGNORE
NO_SPLITS = annotations.NO_SPLITS | labeling.NO_SPLITS

CLASSES = ("background", "cat", "猫 dog", "ape")


NAMES = ("scene 1", "a_1", "猫 3", "b.2", "1", "10")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test. The second one is all background."""
    scenes = draw_scenes(NAMES, (0, 0, 1, 2, 3, 255))
    scenes[1] = replace(scenes[1], mask=np.zeros_like(scenes[1].mask))
    return scenes


def writable(writer: str, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples, without ignored pixels if the format cannot express them."""
    if writer not in NO_IGNORE:
        return list(samples)
    return [replace(s, mask=np.where(s.mask == 255, 0, s.mask).astype(np.uint8)) for s in samples]


def class_names(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return the class name of each pixel, "ignore" for 255."""
    return np.array([*classes, *["?"] * (255 - len(classes)), "ignore"])[mask]


Pixels = dict[str, list[tuple[np.ndarray, np.ndarray]]]
"""Split → (image, mask) of each record."""


def check_same(
    writer: str, read: Pixels, read_classes: Sequence[str], samples: Sequence[Sample], classes: Sequence[str]
) -> None:
    """Check that each sample was read once, in its split, with equal image and mask pixels."""
    remaining = {sample.image.tobytes(): sample for sample in samples}
    for split, pairs in read.items():
        for image, mask in pairs:
            sample = remaining.pop(image.tobytes())
            assert split == ("train" if writer in NO_SPLITS else sample.split)
            assert np.array_equal(class_names(mask, read_classes), class_names(sample.mask, classes))
    assert not remaining


def read_result(result: FormatResult) -> Pixels:
    """Read all images and masks with the label map of the format."""
    pixels: Pixels = {}
    for split in SPLITS:
        images = [(read_image(record.image), record.mask) for record in getattr(result, split)]
        pixels[split] = [(image, read_mask(mask, label_map_of(result), image.shape[:2])) for image, mask in images]
    return pixels


def read_data(data: DatasetIndex) -> Pixels:
    """Read all images and masks of a data set."""
    return {split: [read_image_and_mask(record, data.read_spec) for record in getattr(data, split)] for split in SPLITS}


@pytest.mark.parametrize("writer", WRITERS)
def test_written_data_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = read_as(format, tmp_path)
    assert result.issues == () and result.classes[0] == "background" and set(result.classes) == set(CLASSES)
    if format not in ("labelme", "label-studio", "run-lengths") and writer != "via":  # sorted by name
        assert result.classes == CLASSES
    check_same(writer, read_result(result), result.classes, samples, CLASSES)
    data = load_dataset(tmp_path)
    assert data.format == format and data.classes == result.classes
    check_same(writer, read_data(data), data.classes, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_unrelated_files_change_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "._1.png", ".hidden.json", "notes.md", "README", "1.xml", "config.json"):
            (folder / name).write_bytes(b"x")
    result = read_as(format, tmp_path)
    assert result.issues == ()
    check_same(writer, read_result(result), result.classes, samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    samples = writable(writer, samples)
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, result = detect_format(tmp_path)
    assert name == format
    check_same(writer, read_result(result), result.classes, samples, classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_classes_can_be_selected(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    samples = writable(writer, samples)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    data = load_dataset(tmp_path, classes=["ape", "cat"])
    assert data.classes == ("background", "ape", "cat")
    expected = [replace(s, mask=np.array([0, 2, 0, 1, *[255] * 252], np.uint8)[s.mask]) for s in samples]
    check_same(writer, read_data(data), data.classes, expected, data.classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_missing_and_unlisted_images_are_issues(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, writable(writer, samples), CLASSES)
    if writer != "labelme embedded":
        images = sorted(path for path in tmp_path.rglob("*.png") if "train" in str(path.relative_to(tmp_path)))
        image = (images or sorted(tmp_path.rglob("*.png")))[-1]
        content = image.read_bytes()
        image.unlink()
        fatal = [issue for issue in read_as(format, tmp_path).issues if issue.severity == "error"]
        assert {issue.kind for issue in fatal} == {"missing image"}
        with pytest.raises(DataError, match=r"add it|add an image|put it next to"):
            load_dataset(tmp_path)
        assert len(load_dataset(tmp_path, skip_unreadable=True).train) > 0
        image.write_bytes(content)
        save(image.with_name("other.png"), samples[0].image)
        issues = read_as(format, tmp_path).issues
        kinds: dict[str, list[str]] = {"yolo": [], "yolo roboflow": []}
        kinds |= {name: ["missing mask"] for name in ("labelme", "labelme masks", "supervisely")}
        assert [issue.kind for issue in issues] == kinds.get(writer, ["image not listed"])


@pytest.mark.parametrize("writer", [name for name, (format, _) in WRITERS.items() if format != "run-lengths"])
def test_without_pycocotools_the_error_names_the_extra(
    writer: str, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[writer][1](tmp_path, writable(writer, samples), CLASSES)
    real_import = builtins.__import__

    def import_without_pycocotools(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "pycocotools":
            raise ImportError(name)
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", import_without_pycocotools)
    with pytest.raises(DataError, match=r"pip install 'pixelwise\[coco\]'") as error:
        detect_format(tmp_path)
    assert str(error.value).startswith(str(tmp_path))


UNUSUAL_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.just(10**30), st.floats(), st.text(max_size=5), st.just([]),
    st.just({}), st.lists(st.floats(), max_size=6), st.just(["a"]), st.just({"a": 1}), st.just("\ud800.png"),
)  # fmt: skip


def paths_in(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every key and index in a JSON value."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [item for key in keys for item in [(*path, key), *paths_in(content[key], (*path, key))]]


@pytest.mark.parametrize(
    "writer", [name for name, (format, _) in WRITERS.items() if format not in ("yolo-seg", "cvat", "run-lengths")]
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_changed_json_is_read_or_raises_data_error(writer: str, data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    tiny = [
        Sample(str(index), split, random.integers(0, 256, (3, 4, 3), np.uint8), random.integers(0, 2, (3, 4), np.uint8))
        for index, split in enumerate(("train", "val"))
    ]
    WRITERS[writer][1](folder, tiny, ("background", "cat"))
    path = data.draw(st.sampled_from(sorted(folder.rglob("*.json"))))
    content = json.loads(path.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(paths_in(content) or [()]))
        if not at:
            break
        parent = content
        for key in at[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[at[-1]] = deepcopy(data.draw(UNUSUAL_VALUES))
        else:
            del parent[at[-1]]
    write_json(path, content)
    try:
        result = FORMATS[WRITERS[writer][0]].component(folder)
        for record in result.records if result else ():
            assert result is not None
            read_image_and_mask(record, ReadSpec(label_map_of(result)))
    except DataError as error:
        assert str(folder) in str(error)
