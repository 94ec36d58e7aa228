"""Contract of all formats: one format accepts the data, `inspect` counts what was written, a spec reads it again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX
from tests.data.formats.writers import annotations, folders, labeling, tables, value_images
from tests.data.formats.writers.folders import Sample

WRITERS = folders.WRITERS | annotations.WRITERS | labeling.WRITERS | value_images.WRITERS | tables.WRITERS
NO_IGNORE = annotations.NO_IGNORE | labeling.NO_IGNORE
CLASSES = ("background", "cat", "猫 dog")

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    # Python 3.12 warns about a fork in a process with threads, which torch and pyarrow start.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def scenes(writer: str) -> list[Sample]:
    """Return six scenes of blocks of 4x4 pixels. Each has pixels of every class, and ignored pixels if possible."""
    random = np.random.default_rng(1)
    samples = []
    for index in range(6):
        image = random.integers(0, 256, (40, 60 + index, 3), np.uint8)
        mask = np.kron(random.choice(np.array([0, 1, 2, 255]), (10, 20)), np.ones((4, 4)))[:, : 60 + index]
        mask[0, :4] = (0, 1, 2, 255)
        mask = mask.astype(np.uint8)
        if writer in NO_IGNORE:
            mask[mask == 255] = 0
        samples.append(Sample(f"scene {index}", ("train", "train", "train", "val", "test", "test")[index], image, mask))
    return samples


def pairs(data: DatasetIndex) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return split → bytes of the image and the mask of each record, in order."""
    return {
        split: [(image.tobytes(), mask.tobytes()) for image, mask in
                (read_image_and_mask(record, data.read_spec) for record in getattr(data, split))]
        for split in SPLITS
    }  # fmt: skip


def test_every_format_has_a_writer() -> None:
    assert {format for format, _ in WRITERS.values()} >= set(FORMATS) - {"shards", "oxford-pets"}, (
        "these two have their own tests"
    )


@pytest.mark.parametrize("writer", WRITERS)
def test_exactly_one_format_accepts_the_data(writer: str, tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, scenes(writer), CLASSES)
    assert detect_format(tmp_path)[0] == format
    for other in FORMATS:
        if other not in (format, "folders"):
            assert FORMATS[other].component(tmp_path) is None


@pytest.mark.parametrize("writer", WRITERS)
def test_inspect_counts_what_was_written(writer: str, tmp_path: Path) -> None:
    samples = scenes(writer)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    report = inspect(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert report.image_count == report.mask_count == 6
    pixels = np.bincount(np.concatenate([sample.mask.ravel() for sample in samples]), minlength=256)
    counted = {each.name: each for each in report.classes if each.pixels}
    if report.data.read_spec.task is MULTILABEL:  # the background is a channel like the others, or none
        assert {name: each.pixels for name, each in counted.items()}.items() <= dict(
            zip(CLASSES, pixels[:3].tolist(), strict=True)
        ).items()
    else:
        # Formats of well-known data sets have other class names, and the order can be that of the file.
        assert sorted(each.pixels for each in counted.values()) == sorted(pixels[:3].tolist())
        assert sum(each.pixel_fraction for each in counted.values()) == pytest.approx(1)
        total = sum(sample.mask.size for sample in samples)
        assert report.ignored_fraction == pytest.approx(pixels[IGNORE_INDEX] / total)
    assert all(each.image_count == 6 for each in counted.values()) and len(counted) >= 2
    assert not [problem for problem in report.issues if problem.severity == "error"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_spec_reads_the_data_again(writer: str, tmp_path: Path) -> None:
    WRITERS[writer][1](tmp_path / "data", scenes(writer), CLASSES)
    data = inspect(tmp_path / "data").data
    (tmp_path / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    again = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "data")
    assert (again.classes, again.palette, again.read_spec) == (data.classes, data.palette, data.read_spec)
    assert pairs(again) == pairs(data) == pairs(load_dataset(tmp_path / "data"))


@pytest.mark.parametrize("writer", ["coco runs", "two folders", "voc"])
def test_merged_classes_stay_merged(writer: str, tmp_path: Path) -> None:
    WRITERS[writer][1](tmp_path / "data", scenes(writer), CLASSES)
    value_of = {"two folders": {"cat": "1", "猫 dog": "2", "background": "0"}}.get(writer, {})
    if writer == "voc":  # by the colors of the palette
        (tmp_path / "data" / "labelmap.txt").unlink()
        value_of = {name: "#{:02x}{:02x}{:02x}".format(*folders.COLORS[i]) for i, name in enumerate(CLASSES)}
    label_map = {value_of.get(name, name): "animal" for name in CLASSES[1:]}
    if writer != "coco runs":
        label_map[value_of["background"]] = "background"
    ignored = {"two folders": ("255",), "voc": ("#{:02x}{:02x}{:02x}".format(*folders.VOID_COLOR),)}
    data = inspect(tmp_path / "data", label_map=label_map, ignore_values=ignored.get(writer, ())).data
    assert sorted(data.classes) == ["animal", "background"]
    (tmp_path / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    again = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "data")
    assert again.classes == data.classes and pairs(again) == pairs(data)


def test_multilabel_masks_with_a_label_map(tmp_path: Path) -> None:
    WRITERS["layers"][1](tmp_path, scenes("layers"), CLASSES)
    data = inspect(tmp_path, label_map={"cat": "Katze", "background": "ignore"}).data
    assert data.classes == ("Katze", "猫 dog")
    again = DatasetSpec.of(data).load(tmp_path)
    assert again.classes == data.classes and pairs(again) == pairs(data)
    other = inspect(tmp_path, label_map={"0": "present", "255": "absent"}).data
    assert np.array_equal(
        read_image_and_mask(other.train[0], other.read_spec)[1][1],
        1 - read_image_and_mask(data.train[0], data.read_spec)[1][0],
    )
    for entry, message in {("cat", "猫 dog"): "cannot become one", ("0", "cat"): "VALUE=absent"}.items():
        with pytest.raises(ConfigError, match=message):
            inspect(tmp_path, label_map=dict([entry]))
    with pytest.raises(DataError, match="has 255, which `label_map` does not name"):
        inspect(tmp_path, label_map={"0": "absent"})


def test_classes_can_be_renamed_and_reordered_in_a_spec(tmp_path: Path) -> None:
    WRITERS["coco runs"][1](tmp_path, scenes("coco runs"), CLASSES)
    data = load_dataset(tmp_path)
    spec = DatasetSpec.of(data)
    renamed = {"Katze": spec.classes["cat"], "Rest": spec.classes["background"]}
    again = spec.model_copy(update={"classes": renamed, "ignore": ("猫 dog",)}).load(tmp_path)
    assert again.classes == ("Katze", "Rest")
    table = np.full(256, IGNORE_INDEX)
    table[[0, 1]] = 1, 0
    for old, new in zip(data.train, again.train, strict=True):
        assert np.array_equal(
            table[read_image_and_mask(old, data.read_spec)[1]], read_image_and_mask(new, again.read_spec)[1]
        )


def test_a_requested_format_is_kept(tmp_path: Path) -> None:
    WRITERS["camvid"][1](tmp_path, scenes("camvid"), CLASSES)
    requested = load_dataset(tmp_path, format="folders", classes=("background", "cat", "dog"), ignore_values=("11",))
    again = DatasetSpec.of(requested).load(tmp_path)
    assert (again.format, again.classes) == ("folders", requested.classes) and pairs(again) == pairs(requested)


def flipped(samples: Sequence[Sample]) -> list[Sample]:
    return [replace(sample, mask=sample.mask[::-1]) for sample in samples]


def test_the_comparison_of_pixels_can_fail(tmp_path: Path) -> None:
    for name, samples in {"a": scenes("two folders"), "b": flipped(scenes("two folders"))}.items():
        WRITERS["two folders"][1](tmp_path / name, samples, CLASSES)
    assert pairs(load_dataset(tmp_path / "a")) != pairs(load_dataset(tmp_path / "b"))
