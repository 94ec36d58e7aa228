"""The split into training and validation records, with counts made by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.data.schema import Record
from pixelwise.data.splits import k_fold_split, nested_subsets, train_val_split
from pixelwise.errors import DataError


def make_records(**strata: int) -> list[Record]:
    """Return records of each stratum, shuffled."""
    records = [Record(Path(f"{name}-{i}.jpg"), None, name) for name, count in strata.items() for i in range(count)]
    order = np.random.default_rng(7).permutation(len(records))
    return [records[i] for i in order]


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.2, 0.5, 0.95])
def test_a_fraction_of_each_stratum_is_held_out(fraction: float) -> None:
    sizes = {"lion": 200, "ant": 100, "bee": 37, "pair": 2, "three": 3, "lone": 1}
    records = make_records(**sizes)
    train, val = train_val_split(records, fraction, seed=5)
    assert not set(train) & set(val)
    assert set(train) | set(val) == set(records) and len(train) + len(val) == len(records)
    train_counts, val_counts = (Counter(record.stratum for record in part) for part in (train, val))
    assert val_counts["lion"] == round(200 * fraction) and val_counts["ant"] == round(100 * fraction)
    assert abs(val_counts["bee"] - 37 * fraction) <= 0.5, "to the nearest image"
    assert val_counts["pair"] == train_counts["pair"] == 1
    assert val_counts["three"] in (1, 2)
    assert train_counts["lone"] == 1, "a single image is trained on"
    for part in (train, val):
        assert part == [record for record in records if record in set(part)], "in the order of the records"


def test_the_split_depends_on_the_seed_alone() -> None:
    records = make_records(a=40, b=30)
    first = train_val_split(records, 0.2, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)
    assert train_val_split(records, 0.2, seed=1) == first
    others = {tuple(train_val_split(records, 0.2, seed=seed)[1]) for seed in range(10)}
    assert len(others) == 10


def test_without_strata_the_fraction_is_of_all_records() -> None:
    records = [Record(Path(f"{i}.jpg"), None) for i in range(100)]
    train, val = train_val_split(records, 0.15, seed=0)
    assert (len(train), len(val)) == (85, 15)
    assert val not in (records[:15], records[-15:]), "drawn at random"


def test_strata_of_one_image_each_are_ignored() -> None:
    records = [Record(Path(f"{i}.jpg"), None, stratum=f"video {i}") for i in range(100)]
    assert [len(part) for part in train_val_split(records, 0.15, seed=0)] == [85, 15]


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(seed: int) -> None:
    records = [Record(Path(f"{i}.jpg"), None, group=f"video {i // 5}") for i in range(60)]
    train, val = train_val_split(records, 0.2, seed)
    assert not {record.group for record in train} & {record.group for record in val}
    assert abs(len(val) - 12) <= 2.5, "the nearest number of whole groups"


def test_copies_of_an_image_go_where_the_first_goes() -> None:
    records = [Record(Path(f"{i}.jpg"), None, "cat" if i % 2 else "dog") for i in range(40)]
    copies = [Record(Path(f"copy {i}.jpg"), None, records[i].stratum, group=f"copies {i}") for i in range(6)]
    grouped = [Record(r.image, None, r.stratum, group=f"copies {i}") if i < 6 else r for i, r in enumerate(records)]
    train, val = train_val_split([*grouped, *copies], 0.25, seed=1)
    assert not {r.group for r in train if r.group} & {r.group for r in val if r.group}


def test_not_all_groups_are_held_out() -> None:
    records = [Record(Path(f"{i}.jpg"), None, group="a" if i < 30 else "b") for i in range(40)]
    train, val = train_val_split(records, 0.95, seed=0)
    assert train and val


def test_each_record_is_held_out_in_one_fold() -> None:
    records = make_records(lion=20, ant=11, lone=1)
    folds = k_fold_split(records, 5, seed=3)
    held_out = [record for _, part in folds for record in part]
    assert len(held_out) == len(records) and set(held_out) == set(records)
    for train, part in folds:
        assert set(train) | set(part) == set(records) and not set(train) & set(part)
        assert part == [record for record in records if record in set(part)], "in the order of the records"
        counts = Counter(record.stratum for record in part)
        assert counts["lion"] == 4 and counts["ant"] in (2, 3), "the strata are balanced"
    assert {len(part) for _, part in folds} == {6, 7}


def test_folds_depend_on_the_seed() -> None:
    records = make_records(a=30)
    assert k_fold_split(records, 3, seed=1) == k_fold_split(records, 3, seed=1)
    assert k_fold_split(records, 3, seed=1) != k_fold_split(records, 3, seed=2)


def test_folds_of_records_with_a_stratum_each_depend_on_the_seed() -> None:
    records = make_records(**{f"video{i}": 1 for i in range(12)})
    assert k_fold_split(records, 3, seed=1) != k_fold_split(records, 3, seed=2)


def test_folds_keep_groups_together_and_have_similar_sizes() -> None:
    sizes = [9, 7, 5, 4, 3, 2, 2, 1]
    records = [Record(Path(f"{g}-{i}.jpg"), None, group=str(g)) for g, size in enumerate(sizes) for i in range(size)]
    folds = k_fold_split(records, 3, seed=0)
    groups = [{record.group for record in part} for _, part in folds]
    assert sum(map(len, groups)) == len(sizes), "no group is in two folds"
    assert sorted(len(part) for _, part in folds) == [11, 11, 11]


def test_copies_stay_in_one_fold() -> None:
    records = [Record(Path(f"{i}.jpg"), None, group=f"copy {i // 2}" if i < 4 else None) for i in range(20)]
    for _, part in k_fold_split(records, 4, seed=0):
        names = {record.image.name for record in part}
        assert ("0.jpg" in names) == ("1.jpg" in names) and ("2.jpg" in names) == ("3.jpg" in names)


@pytest.mark.parametrize(("group", "kind"), [(None, "images"), ("a", "groups of images that stay together")])
def test_fewer_records_than_folds_are_an_error(group: str | None, kind: str) -> None:
    records = [Record(Path(f"{i}.jpg"), None, group=group and group + str(i % 3)) for i in range(3 if not group else 9)]
    with pytest.raises(DataError, match=f"5 folds need at least 5 {kind}, and there are 3; use fewer folds"):
        k_fold_split(records, 5, seed=0)


def test_a_subset_contains_the_smaller_ones() -> None:
    records = make_records(a=60, b=20)
    quarter, half, all_records = nested_subsets(records, (0.25, 0.5, 1.0), seed=4)
    assert (len(quarter), len(half)) == (20, 40) and all_records == records
    assert set(quarter) < set(half)
    assert half == [record for record in records if record in set(half)], "in the order of the records"
    assert nested_subsets(records, (0.25,), seed=5) != [quarter]


def test_subsets_keep_groups_together() -> None:
    records = [Record(Path(f"{i}.jpg"), None, group=f"video {i // 10}") for i in range(80)]
    quarter, half = nested_subsets(records, (0.25, 0.5), seed=0)
    for subset, groups in ((quarter, 2), (half, 4)):
        assert Counter(Counter(record.group for record in subset).values()) == {10: groups}
