"""Cache keys: content and settings count, paths do not, and keys of version 0.1 stay valid."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.cache.entry import VERSION
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.schema import Annotation, LabelMap, MultilabelMask, PolygonMask, ReadSpec, Record, ValueImage
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.splits import train_val_split
from tests.data.cache.helpers import BINARY


def key(records: list[Record], read_spec: ReadSpec = BINARY, image_size: int = 16, version: int = VERSION) -> str:
    return cache_key(records, read_spec, image_size, version)


@pytest.mark.parametrize(
    "change",
    [
        lambda records: key(records, image_size=17),
        lambda records: key(records, version=VERSION + 1),
        lambda records: key(records, ReadSpec(LabelMap("index", {0: 1, 1: 0, 255: 255}))),
        lambda records: key(records, ReadSpec(LabelMap("alpha", {0: 0, 1: 1, 255: 255}))),
        lambda records: key(records, ReadSpec(LabelMap("index", {0: 0, 1: 1, 255: 255}, tolerance=1))),
        lambda records: key(records, replace(BINARY, bit_depth=12)),
        lambda records: key(records, replace(BINARY, channels=4)),
        lambda records: key(records[::-1]),
        lambda records: key(records[:4]),
        lambda records: key([*records[:4], replace(records[4], mask=None)]),
        lambda records: key([*records[:4], replace(records[4], mask=records[3].mask)]),
    ],
)
def test_settings_and_records_change_the_key(change: Callable[[list[Record]], str], records: list[Record]) -> None:
    assert key(records) == key(records) != change(records)


def test_one_changed_pixel_changes_the_key_whatever_the_files_time(records: list[Record]) -> None:
    path = Path(str(records[2].mask))
    before, stat = key(records), path.stat()
    values = np.asarray(Image.open(path)).copy()
    values[0, 0] = 1 - values[0, 0] if values[0, 0] < 2 else 0
    Image.fromarray(values).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert key(records) != before


def test_paths_do_not_count(records: list[Record], tmp_path: Path) -> None:
    before = key(records)
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    folder = tmp_path / "moved"
    moved = [Record(folder / record.image.name, folder / Path(str(record.mask)).name) for record in records]
    assert key(moved) == before


def test_every_property_of_polygons_counts(records: list[Record]) -> None:
    def with_polygon(side: float, label: int = 1, background: int = 0, relative: bool = False) -> list[Record]:
        square = np.array([[0, 0], [side, 0], [side, side], [0, side]])
        mask = PolygonMask((Annotation(label, (square,), relative=relative),), "by hand", background)
        return [replace(record, mask=mask) for record in records]

    variants = [
        with_polygon(20),
        with_polygon(21),
        with_polygon(20, label=2),
        with_polygon(20, background=3),
        with_polygon(20, relative=True),
    ]
    keys = [key(variant, ReadSpec(LabelMap("polygons"))) for variant in variants]
    assert len(set(keys)) == len(variants)
    assert key(with_polygon(20), ReadSpec(LabelMap("polygons"))) == keys[0]


def test_the_file_and_the_classes_under_annotations_count(records: list[Record]) -> None:
    def with_base(file: Path, class_id: int = 1) -> list[Record]:
        mask = PolygonMask((), "by hand", base=ValueImage(file, "index", ((0, class_id),)))
        return [replace(record, mask=mask) for record in records]

    files = [Path(str(records[0].image)), Path(str(records[1].image))]
    variants = [with_base(files[0]), with_base(files[1]), with_base(files[0], class_id=2)]
    keys = [key(variant, ReadSpec(LabelMap("polygons"))) for variant in variants]
    assert len(set(keys)) == len(variants)
    assert key(with_base(files[0]), ReadSpec(LabelMap("polygons"))) == keys[0]


def test_the_order_of_channels_counts(records: list[Record]) -> None:
    file = Path(str(records[0].mask))
    masks = [MultilabelMask((file, None)), MultilabelMask((None, file)), MultilabelMask((file, file))]
    assert len({key([replace(records[0], mask=mask)]) for mask in masks}) == 3


def test_unreadable_and_special_files_have_a_key(records: list[Record], tmp_path: Path) -> None:
    """Building the entry raises their errors. A named pipe must not block."""
    os.mkfifo(tmp_path / "pipe")
    missing = [replace(records[0], image=tmp_path / "missing.png")]
    assert key(missing) == key([replace(records[0], image=tmp_path / "pipe")]) != key(records[:1])


def test_keys_of_version_0_1_are_the_same(version_0_1: Path) -> None:
    data = assign_groups(DatasetSpec.read(version_0_1 / "run" / "data.yaml").load(version_0_1 / "dataset"))
    train, val = train_val_split(data.train, 0.3, seed=0)
    keys = {cache_key(records, data.read_spec, 32, 1) for records in (train, val)}
    folders = {path.name for path in (version_0_1 / "cache" / "prepared").iterdir() if path.is_dir()}
    assert keys == folders
