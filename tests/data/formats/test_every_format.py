"""Every layout that a writer makes: what `inspect` counts is what was written, and a plan reads it so again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, DatasetIndex
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX
from tests.data.formats.writers import annotations, folders, tables
from tests.data.formats.writers.folders import Sample

WRITERS = folders.WRITERS | annotations.WRITERS | tables.WRITERS
NO_IGNORE = annotations.NO_IGNORE
CLASSES = ("background", "cat", "猫 dog")

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # pycocotools makes numpy warn of a keyword that it does not know yet.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    # Python 3.12 warns of every fork in a process that has threads, which torch and pyarrow have.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def scenes(writer: str) -> list[Sample]:
    """Six scenes of blocks, so that lossy ways of counting would show; in each a pixel of every class, and void."""
    random = np.random.default_rng(1)
    found = []
    for index in range(6):
        image = random.integers(0, 256, (40, 60 + index, 3), np.uint8)
        mask = np.kron(random.choice(np.array([0, 1, 2, 255]), (10, 20)), np.ones((4, 4)))[:, : 60 + index]
        mask[0, :4] = (0, 1, 2, 255)
        mask = mask.astype(np.uint8)
        if writer in NO_IGNORE:
            mask[mask == 255] = 0
        found.append(Sample(f"scene {index}", ("train", "train", "train", "val", "test", "test")[index], image, mask))
    return found


def pairs(data: DatasetIndex) -> dict[str, list[tuple[bytes, bytes]]]:
    """Of each split the pixels of images and masks, in order."""
    return {
        split: [(image.tobytes(), mask.tobytes()) for image, mask in
                (read_image_and_mask(record, data.read_spec) for record in getattr(data, split))]
        for split in SPLITS
    }  # fmt: skip


def test_every_format_has_a_writer() -> None:
    assert {format for format, _ in WRITERS.values()} >= set(FORMATS) - {"shards", "oxford-pets"}, (
        "these two have tests of their own"
    )


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_is_known_as_its_own_format_alone(writer: str, tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, scenes(writer), CLASSES)
    assert detect_format(tmp_path)[0] == format
    for other in FORMATS:
        if other not in (format, "folders"):
            assert FORMATS[other].component(tmp_path) is None


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_counted_is_what_was_written(writer: str, tmp_path: Path) -> None:
    samples = scenes(writer)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = inspect(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert found.image_count == found.mask_count == 6
    pixels = np.bincount(np.concatenate([sample.mask.ravel() for sample in samples]), minlength=256)
    counted = {each.name: each for each in found.classes if each.pixels}
    if found.data.read_spec.task is MULTILABEL:  # the background is a channel like the others, or none
        assert {name: each.pixels for name, each in counted.items()}.items() <= dict(
            zip(CLASSES, pixels[:3].tolist(), strict=True)
        ).items()
    else:
        # Formats with classes of their own name them so; the order of names may be the file's.
        assert sorted(each.pixels for each in counted.values()) == sorted(pixels[:3].tolist())
        assert sum(each.pixel_fraction for each in counted.values()) == pytest.approx(1)
        total = sum(sample.mask.size for sample in samples)
        assert found.ignored_fraction == pytest.approx(pixels[IGNORE_INDEX] / total)
    assert all(each.image_count == 6 for each in counted.values()) and len(counted) >= 2
    assert not [problem for problem in found.issues if problem.severity == "error"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_plan_reads_it_the_same_way_again(writer: str, tmp_path: Path) -> None:
    WRITERS[writer][1](tmp_path / "data", scenes(writer), CLASSES)
    data = inspect(tmp_path / "data").data
    (tmp_path / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    again = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "data")
    assert (again.classes, again.palette, again.read_spec) == (data.classes, data.palette, data.read_spec)
    assert pairs(again) == pairs(data) == pairs(load_dataset(tmp_path / "data"))


@pytest.mark.parametrize("writer", ["coco runs", "two folders", "voc"])
def test_classes_that_were_merged_stay_merged(writer: str, tmp_path: Path) -> None:
    WRITERS[writer][1](tmp_path / "data", scenes(writer), CLASSES)
    value = {"two folders": {"cat": "1", "猫 dog": "2", "background": "0"}}.get(writer, {})
    if writer == "voc":  # by the colors of the palette
        (tmp_path / "data" / "labelmap.txt").unlink()
        value = {name: "#{:02x}{:02x}{:02x}".format(*folders.COLORS[i]) for i, name in enumerate(CLASSES)}
    merged = tuple((value.get(name, name), "animal") for name in CLASSES[1:])
    rest = () if writer == "coco runs" else ((value["background"], "background"),)
    void = {"two folders": ("255",), "voc": ("#{:02x}{:02x}{:02x}".format(*folders.VOID_COLOR),)}
    data = inspect(tmp_path / "data", LabelOptions(label_map=(*rest, *merged), ignore_values=void.get(writer, ()))).data
    assert sorted(data.classes) == ["animal", "background"]
    (tmp_path / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    again = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "data")
    assert again.classes == data.classes and pairs(again) == pairs(data)


def test_multi_label_masks_by_hand(tmp_path: Path) -> None:
    WRITERS["layers"][1](tmp_path, scenes("layers"), CLASSES)
    data = inspect(tmp_path, LabelOptions(label_map=(("cat", "Katze"), ("background", "ignore")))).data
    assert data.classes == ("Katze", "猫 dog")
    again = DatasetSpec.of(data).load(tmp_path)
    assert again.classes == data.classes and pairs(again) == pairs(data)
    other = inspect(tmp_path, LabelOptions(label_map=(("0", "present"), ("255", "absent")))).data
    assert np.array_equal(
        read_image_and_mask(other.train[0], other.read_spec)[1][1],
        1 - read_image_and_mask(data.train[0], data.read_spec)[1][0],
    )
    for wrong, said in {("cat", "猫 dog"): "cannot become one", ("0", "cat"): "VALUE=absent"}.items():
        with pytest.raises(ConfigError, match=said):
            inspect(tmp_path, LabelOptions(label_map=(wrong,)))
    with pytest.raises(DataError, match="has 255, which `label_map` does not name"):
        inspect(tmp_path, LabelOptions(label_map=(("0", "absent"),)))


def test_renaming_and_reordering_in_the_plan(tmp_path: Path) -> None:
    WRITERS["coco runs"][1](tmp_path, scenes("coco runs"), CLASSES)
    data = load_dataset(tmp_path)
    manifest = DatasetSpec.of(data)
    renamed = {"Katze": manifest.classes["cat"], "Rest": manifest.classes["background"]}
    again = manifest.model_copy(update={"classes": renamed, "ignore": ("猫 dog",)}).load(tmp_path)
    assert again.classes == ("Katze", "Rest")
    table = np.full(256, IGNORE_INDEX)
    table[[0, 1]] = 1, 0
    for old, new in zip(data.train, again.train, strict=True):
        assert np.array_equal(
            table[read_image_and_mask(old, data.read_spec)[1]], read_image_and_mask(new, again.read_spec)[1]
        )


def test_a_format_that_was_asked_for_stays(tmp_path: Path) -> None:
    WRITERS["camvid"][1](tmp_path, scenes("camvid"), CLASSES)
    asked = load_dataset(tmp_path, format="folders", classes=("background", "cat", "dog"), ignore_values=("11",))
    again = DatasetSpec.of(asked).load(tmp_path)
    assert (again.format, again.classes) == ("folders", asked.classes) and pairs(again) == pairs(asked)


def flipped(samples: Sequence[Sample]) -> list[Sample]:
    return [replace(each, mask=each.mask[::-1]) for each in samples]


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    for name, samples in {"a": scenes("two folders"), "b": flipped(scenes("two folders"))}.items():
        WRITERS["two folders"][1](tmp_path / name, samples, CLASSES)
    assert pairs(load_dataset(tmp_path / "a")) != pairs(load_dataset(tmp_path / "b"))
