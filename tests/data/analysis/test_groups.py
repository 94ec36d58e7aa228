"""Video frames, tiles and copies are found, and stay in one split."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.groups import MIN_FRAMES, add_groups, assign_groups, find_groups
from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.splits import train_val_split
from tests.data.analysis.helpers import write_records


def video(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 64) uint8 thumbnails of a scene that changes slowly."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 3, (count, 64)), axis=0) + rng.uniform(80, 170, 64)
    return np.clip(walk, 0, 255).astype(np.uint8)


def unrelated(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 64) uint8 thumbnails of unrelated scenes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 64)).astype(np.uint8)


def make_index(folder: Path, count: int) -> DatasetIndex:
    train = tuple(Record(folder / f"images/p{n:03}.png", folder / f"masks/p{n:03}.png") for n in range(count))
    read_spec = ReadSpec(LabelMap("index", {0: 0, 1: 1}))
    return DatasetIndex(folder, "folders", ("a", "b"), ((0, 0, 0), (1, 1, 1)), read_spec, train=train)


def test_each_video_is_a_group() -> None:
    names = [f"seq{number}_{frame:04}" for number in range(6) for frame in range(10)]
    groups, reason = find_groups(names, np.concatenate([video(10, seed) for seed in range(6)]))
    assert groups == [name[:4] for name in names] and reason == "video frames: 6 sequences"


def test_a_single_video_is_cut_into_blocks_of_consecutive_frames() -> None:
    names = [f"{number:05}" for number in range(120)]
    groups, reason = find_groups(names, video(120))
    assert "cut into 12 blocks" in reason and None not in groups
    changes = sum(a != b for a, b in pairwise(groups))
    assert changes == 11 and len(set(groups)) == 12


def test_the_order_of_files_does_not_matter() -> None:
    names = [f"v_{number}" for number in range(40)]
    thumbnails = video(40)
    order = np.random.default_rng(1).permutation(40)
    groups, _ = find_groups(names, thumbnails)
    shuffled, _ = find_groups([names[index] for index in order], thumbnails[order])
    assert [groups[index] for index in order] == shuffled


def test_numbered_images_of_unrelated_scenes_are_not_a_video() -> None:
    names = [f"Abyssinian_{number}" for number in range(60)]
    assert find_groups(names, unrelated(60)) == ([None] * 60, "")


def test_a_few_similar_images_are_not_a_video() -> None:
    names = [f"Abyssinian_{number}" for number in range(MIN_FRAMES - 1)]
    assert find_groups(names, video(MIN_FRAMES - 1)) == ([None] * (MIN_FRAMES - 1), "")


@pytest.mark.parametrize(
    "form", ["slide{0}_x{1}_y{2}", "slide{0}_row{1}_col{2}", "slide{0}_tile_{1}_{2}", "slide{0}_{1}_{2}"]
)
def test_tiles_of_one_image_are_a_group(form: str) -> None:
    names = [form.format(slide, 512 * x, 512 * y) for slide in range(3) for x in range(2) for y in range(2)]
    groups, reason = find_groups(names, unrelated(12))
    assert groups == [f"slide{slide}" for slide in range(3) for _ in range(4)]
    assert reason == "tiles: of 3 images"


def test_small_numbers_are_not_tile_coordinates() -> None:
    names = [f"scan{scan}_{day}_{number}" for scan in range(3) for day in range(2) for number in range(2)]
    assert find_groups(names, unrelated(12)) == ([None] * 12, "")


def test_copies_never_land_on_both_sides_of_a_split(tmp_path: Path) -> None:
    digests = [bytes([number // 2 + 1]) * 16 if number < 20 else bytes([99, number]) * 8 for number in range(40)]
    data = add_groups(make_index(tmp_path, 40), unrelated(40), digests)
    assert data.group_summary == ""
    for seed in range(20):
        train, val = train_val_split(data.train, 0.15, seed)
        assert len(train) + len(val) == 40 and len(val) >= 4
        sides = [{digests[int(Path(str(record.image)).stem[1:])] for record in side} for side in (train, val)]
        assert not sides[0] & sides[1]


def test_frames_are_held_out_in_whole_groups(tmp_path: Path) -> None:
    data = add_groups(make_index(tmp_path, 120), video(120), [bytes(16)] * 120)
    assert data.group_summary and data.group_summary.startswith("video frames")
    for seed in range(20):
        train, val = train_val_split(data.train, 0.15, seed)
        assert not {record.group for record in train} & {record.group for record in val}
        assert 0.08 <= len(val) / 120 <= 0.25


def test_copies_on_disk_are_found_without_an_inspection(tmp_path: Path) -> None:
    write_records(tmp_path, 12)
    for copy in (7, 8):
        (tmp_path / f"images/p{copy:03}.png").write_bytes((tmp_path / "images/p002.png").read_bytes())
    (tmp_path / "images/p005.png").write_bytes(b"no image")
    (tmp_path / "images/p006.png").write_bytes(b"no image either")
    data = assign_groups(make_index(tmp_path, 12))
    groups = {Path(str(record.image)).stem: record.group for record in data.train if record.group}
    assert set(groups) == {"p002", "p007", "p008"} and len(set(groups.values())) == 1


def test_a_copy_in_another_file_format_is_in_the_same_group(tmp_path: Path) -> None:
    write_records(tmp_path, 12)
    with Image.open(tmp_path / "images/p002.png") as image:
        image.save(tmp_path / "images/p009.tif")
    records = list(make_index(tmp_path, 12).train)
    records[9] = Record(tmp_path / "images/p009.tif", records[9].mask)
    data = assign_groups(DatasetIndex(**vars(make_index(tmp_path, 12)) | {"train": tuple(records)}))
    assert [number for number, record in enumerate(data.train) if record.group] == [2, 9]
    assert data.train[2].group == data.train[9].group


def test_a_data_set_without_training_images_has_no_groups(tmp_path: Path) -> None:
    assert find_groups([], np.zeros((0, 256), np.uint8)) == ([], "")
    assert assign_groups(make_index(tmp_path, 0)).group_summary == ""


def test_finer_thumbnails_give_the_same_groups() -> None:
    names = [f"{number:05}" for number in range(40)]
    coarse = video(40)
    fine = np.repeat(np.repeat(coarse.reshape(-1, 8, 8), 2, 1), 2, 2).reshape(40, 256)
    assert find_groups(names, fine) == find_groups(names, coarse)


def test_groups_that_the_data_set_names_are_kept(tmp_path: Path) -> None:
    data = make_index(tmp_path, 4)
    named = tuple(Record(r.image, r.mask, group=f"patient {n % 2}") for n, r in enumerate(data.train))
    again = assign_groups(DatasetIndex(**vars(data) | {"train": named}))
    assert again.train == named and again.group_summary == "2 groups, as the data set names them"
