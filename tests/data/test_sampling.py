"""Which photos are held back, and in which order the others are shown: by hand-made counts."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.data.dataset import Record
from pixelwise.data.sampling import EpochSampler, hold_back
from pixelwise.errors import ConfigError

# --- hold_back


def records_of(**groups: int) -> list[Record]:
    """So many records of each group, one group's spread among the others'."""
    records = [Record(Path(f"{name}-{i}.jpg"), None, name) for name, count in groups.items() for i in range(count)]
    order = np.random.default_rng(7).permutation(len(records))
    return [records[i] for i in order]


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.2, 0.5, 0.95])
def test_held_back_records_are_a_share_of_each_group(fraction: float):
    sizes = {"lion": 200, "ant": 100, "bee": 37, "pair": 2, "three": 3, "lone": 1}
    records = records_of(**sizes)
    kept, held = hold_back(records, fraction, seed=5)
    assert not set(kept) & set(held)
    assert set(kept) | set(held) == set(records) and len(kept) + len(held) == len(records)
    of = {name: Counter(record.stratum for record in part) for name, part in (("kept", kept), ("held", held))}
    assert of["held"]["lion"] == round(200 * fraction) and of["held"]["ant"] == round(100 * fraction)
    assert abs(of["held"]["bee"] - 37 * fraction) <= 0.5, "to the nearest photo"
    assert of["held"]["pair"] == of["kept"]["pair"] == 1
    assert of["held"]["three"] in (1, 2)
    assert of["kept"]["lone"] == 1, "a photo alone is trained on"
    for part in (kept, held):
        assert part == [record for record in records if record in set(part)], "in the records' own order"


def test_held_back_records_follow_the_seed_alone():
    records = records_of(a=40, b=30)
    first = hold_back(records, 0.2, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)
    assert hold_back(records, 0.2, seed=1) == first
    others = {tuple(hold_back(records, 0.2, seed=seed)[1]) for seed in range(10)}
    assert len(others) == 10


def test_without_groups_the_share_is_of_all():
    records = [Record(Path(f"{i}.jpg"), None) for i in range(100)]
    kept, held = hold_back(records, 0.15, seed=0)
    assert (len(kept), len(held)) == (85, 15)
    assert held != records[:15] and held != records[-15:], "drawn, not cut off"


def test_groups_of_one_photo_each_are_no_groups():
    records = [Record(Path(f"{i}.jpg"), None, stratum=f"video {i}") for i in range(100)]
    assert [len(part) for part in hold_back(records, 0.15, seed=0)] == [85, 15]


# --- EpochSampler

LENGTHS = [(100, 16), (12, 4), (13, 4), (17, 8), (7, 7), (6, 64), (5, 5), (255, 64), (10, 1), (9, 2), (11, 5)]
SHARED = [(length, batch, world) for length, batch in LENGTHS for world in (1, 2, 3, 5) if min(length, batch) >= world]


def samplers(length: int, batch_size: int, world: int, seed: int = 0, epoch: int = 0) -> list[EpochSampler]:
    made = [EpochSampler(length, batch_size, seed, rank, world) for rank in range(world)]
    for sampler in made:
        sampler.epoch = epoch
    return made


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_each_photo_comes_once_an_epoch(length: int, batch_size: int, world: int):
    ranks = [list(sampler) for sampler in samplers(length, batch_size, world, epoch=3)]
    shown = [index for batches in ranks for batch in batches for index, _ in batch]
    assert sorted(shown) == list(range(length))
    assert all(batch for batches in ranks for batch in batches), "no process is left without a photo"


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_the_lengths_agree_with_the_batches(length: int, batch_size: int, world: int):
    made = samplers(length, batch_size, world, epoch=1)
    for sampler in made:
        assert len(sampler) == len(list(sampler)) == len(sampler.global_sizes())
    for size, *parts in zip(made[0].global_sizes(), *made, strict=True):
        assert size == sum(map(len, parts))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1, "shared evenly"
    sizes = made[0].global_sizes()
    assert all(size == batch_size for size in sizes[:-1])
    assert len(sizes) == 1 or sizes[-1] < batch_size + 2 * world


@pytest.mark.parametrize(("length", "batch_size"), [(100, 20), (104, 20), (119, 20), (255, 64)])
def test_the_global_batch_is_the_same_for_any_number_of_processes(length: int, batch_size: int):
    """But for a last batch that more processes have to join to the one before it."""
    (alone,) = samplers(length, batch_size, 1, seed=2, epoch=4)
    for world in (2, 3, 5):
        made = samplers(length, batch_size, world, seed=2, epoch=4)
        shares = [[set(batch) for batch in sampler] for sampler in made]
        together = [set().union(*parts) for parts in zip(*shares, strict=True)]
        expected = [set(batch) for batch in alone]
        if length == 104 and world >= 3:
            expected[-2:] = [expected[-2] | expected[-1]]
        assert together == expected


def test_a_last_batch_too_small_to_share_joins_the_one_before():
    assert EpochSampler(33, 16, 0).global_sizes() == [16, 17], "one photo is none for batch norm"
    assert EpochSampler(34, 16, 0).global_sizes() == [16, 16, 2]
    assert EpochSampler(35, 16, 0, 0, 2).global_sizes() == [16, 19]
    assert EpochSampler(36, 16, 0, 0, 2).global_sizes() == [16, 16, 4]
    assert EpochSampler(32, 16, 0, 0, 5).global_sizes() == [16, 16]
    assert EpochSampler(3, 1, 0).global_sizes() == [1, 1, 1], "batches of one where they are asked for"
    assert EpochSampler(3, 16, 0).global_sizes() == [3], "there is none before it"


def test_epochs_differ_and_seeds_settle_them():
    def epoch(seed: int, number: int) -> list[list[tuple[int, int]]]:
        (sampler,) = samplers(40, 8, 1, seed, number)
        first = list(sampler)
        assert list(sampler) == first, "the same when walked again"
        return first

    drawn = {(seed, number): epoch(seed, number) for seed in range(3) for number in range(3)}
    torch.manual_seed(5)
    assert epoch(1, 2) == drawn[1, 2]
    for what in (0, 1):
        orders = {tuple(draw[what] for batch in batches for draw in batch) for batches in drawn.values()}
        assert len(orders) == 9, "order and seeds of the transforms, both"
    photo = {dict(itertools.chain(*batches))[7] for batches in drawn.values()}
    assert len(photo) == 9, "a photo is transformed otherwise each epoch"


@pytest.mark.parametrize(("length", "batch_size", "world"), [(100, 4, 5), (2, 16, 3), (9, 1, 2)])
def test_batches_too_small_to_share_are_refused(length: int, batch_size: int, world: int):
    with pytest.raises(ConfigError) as error:
        EpochSampler(length, batch_size, 0, 0, world)
    assert f"{world} processes" in str(error.value) and "--batch-size" in str(error.value)
