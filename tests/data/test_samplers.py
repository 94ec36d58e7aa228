"""Which images are held back, and in which order the others are shown: by hand-made counts."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pixelwise.data.samplers import EpochSampler, ShardSampler
from pixelwise.data.schema import Record
from pixelwise.data.splits import train_val_split
from pixelwise.errors import ConfigError

# --- train_val_split


def records_of(**groups: int) -> list[Record]:
    """So many records of each group, one group's spread among the others'."""
    records = [Record(Path(f"{name}-{i}.jpg"), None, name) for name, count in groups.items() for i in range(count)]
    order = np.random.default_rng(7).permutation(len(records))
    return [records[i] for i in order]


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.2, 0.5, 0.95])
def test_held_back_records_are_a_share_of_each_group(fraction: float) -> None:
    sizes = {"lion": 200, "ant": 100, "bee": 37, "pair": 2, "three": 3, "lone": 1}
    records = records_of(**sizes)
    kept, held = train_val_split(records, fraction, seed=5)
    assert not set(kept) & set(held)
    assert set(kept) | set(held) == set(records) and len(kept) + len(held) == len(records)
    of = {name: Counter(record.stratum for record in part) for name, part in (("kept", kept), ("held", held))}
    assert of["held"]["lion"] == round(200 * fraction) and of["held"]["ant"] == round(100 * fraction)
    assert abs(of["held"]["bee"] - 37 * fraction) <= 0.5, "to the nearest image"
    assert of["held"]["pair"] == of["kept"]["pair"] == 1
    assert of["held"]["three"] in (1, 2)
    assert of["kept"]["lone"] == 1, "an image alone is trained on"
    for part in (kept, held):
        assert part == [record for record in records if record in set(part)], "in the records' own order"


def test_held_back_records_follow_the_seed_alone() -> None:
    records = records_of(a=40, b=30)
    first = train_val_split(records, 0.2, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)
    assert train_val_split(records, 0.2, seed=1) == first
    others = {tuple(train_val_split(records, 0.2, seed=seed)[1]) for seed in range(10)}
    assert len(others) == 10


def test_without_groups_the_share_is_of_all() -> None:
    records = [Record(Path(f"{i}.jpg"), None) for i in range(100)]
    kept, held = train_val_split(records, 0.15, seed=0)
    assert (len(kept), len(held)) == (85, 15)
    assert held != records[:15] and held != records[-15:], "drawn, not cut off"


def test_groups_of_one_image_each_are_no_groups() -> None:
    records = [Record(Path(f"{i}.jpg"), None, stratum=f"video {i}") for i in range(100)]
    assert [len(part) for part in train_val_split(records, 0.15, seed=0)] == [85, 15]


# --- EpochSampler

LENGTHS = [(100, 16), (12, 4), (13, 4), (17, 8), (7, 7), (6, 64), (5, 5), (255, 64), (10, 1), (9, 2), (11, 5)]
SHARED = [(length, batch, world) for length, batch in LENGTHS for world in (1, 2, 3, 5) if min(length, batch) >= world]


def samplers(length: int, batch_size: int, world: int, seed: int = 0, epoch: int = 0) -> list[EpochSampler]:
    made = [EpochSampler(length, batch_size, seed, rank, world) for rank in range(world)]
    for sampler in made:
        sampler.epoch = epoch
    return made


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_each_image_comes_once_an_epoch(length: int, batch_size: int, world: int) -> None:
    ranks = [list(sampler) for sampler in samplers(length, batch_size, world, epoch=3)]
    shown = [index for batches in ranks for batch in batches for index, _ in batch]
    assert sorted(shown) == list(range(length))
    assert all(batch for batches in ranks for batch in batches), "no process is left without an image"


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_the_lengths_agree_with_the_batches(length: int, batch_size: int, world: int) -> None:
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
def test_the_global_batch_is_the_same_for_any_number_of_processes(length: int, batch_size: int) -> None:
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


def test_a_last_batch_too_small_to_share_joins_the_one_before() -> None:
    assert EpochSampler(33, 16, 0).global_sizes() == [16, 17], "one image is none for batch norm"
    assert EpochSampler(34, 16, 0).global_sizes() == [16, 16, 2]
    assert EpochSampler(35, 16, 0, 0, 2).global_sizes() == [16, 19]
    assert EpochSampler(36, 16, 0, 0, 2).global_sizes() == [16, 16, 4]
    assert EpochSampler(32, 16, 0, 0, 5).global_sizes() == [16, 16]
    assert EpochSampler(3, 1, 0).global_sizes() == [1, 1, 1], "batches of one where they are asked for"
    assert EpochSampler(3, 16, 0).global_sizes() == [3], "there is none before it"


def test_epochs_differ_and_seeds_settle_them() -> None:
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
    image = {dict(itertools.chain(*batches))[7] for batches in drawn.values()}
    assert len(image) == 9, "an image is transformed otherwise each epoch"


@pytest.mark.parametrize(("length", "batch_size", "world"), [(100, 4, 5), (2, 16, 3), (9, 1, 2)])
def test_batches_too_small_to_share_are_refused(length: int, batch_size: int, world: int) -> None:
    with pytest.raises(ConfigError) as error:
        EpochSampler(length, batch_size, 0, 0, world)
    assert f"{world} processes" in str(error.value) and "--batch-size" in str(error.value)


# --- ShardSampler


def shard_samplers(
    shards: list[int], batch_size: int, world: int, workers: int = 0, window: int = 4, seed: int = 0, epoch: int = 0
) -> list[ShardSampler]:
    made = [ShardSampler(shards, batch_size, seed, rank, world, workers, window) for rank in range(world)]
    for sampler in made:
        sampler.epoch = epoch
    return made


def most_open(draws: list[int], shards: list[int]) -> int:
    """How many shards are needed at once, where each is fetched once: from its first image on to its last."""
    first, last = {}, {}
    for place, index in enumerate(draws):
        first.setdefault(shards[index], place)
        last[shards[index]] = place
    return max(sum(first[each] <= place <= last[each] for each in first) for place in range(len(draws)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_shards_are_walked_once_and_few_at_a_time(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=12), "images of each shard")
    world, workers, window = (data.draw(st.integers(*span)) for span in ((1, 4), (0, 3), (1, 5)))
    assume(sum(counts) >= world)
    batch_size = data.draw(st.integers(world, 40))
    shards = [shard for shard, count in enumerate(counts) for _ in range(count)]
    made = shard_samplers(shards, batch_size, world, workers, window, epoch=data.draw(st.integers(0, 3)))
    epochs = [list(sampler) for sampler in made]
    assert sorted(index for batches in epochs for batch in batches for index, _ in batch) == list(range(len(shards)))
    plain = samplers(len(shards), batch_size, world)
    for sampler, batches, other in zip(made, epochs, plain, strict=True):
        assert [len(batch) for batch in batches] == [len(batch) for batch in other], "sizes are EpochSampler's"
        assert len(sampler) == len(batches)
        for worker in range(max(workers, 1)):
            own = [index for batch in batches[worker :: max(workers, 1)] for index, _ in batch]
            assert not own or most_open(own, shards) <= window
    whole = [set(batch) for batch in made[0].global_batches()]
    assert whole == [set().union(*parts) for parts in zip(*epochs, strict=True)]


def test_a_part_of_the_row_is_no_more_shards_than_it_has_to_be() -> None:
    """40 shards of 10 images among 2 processes of 2 workers: 10 shards each, and none is fetched by two."""
    shards = [index // 10 for index in range(400)]
    touched = []
    for sampler in shard_samplers(shards, 40, 2, workers=2, epoch=5):
        batches = list(sampler)
        touched += [{shards[index] for batch in batches[worker::2] for index, _ in batch} for worker in range(2)]
    assert [len(part) for part in touched] == [10, 10, 10, 10]
    assert len(set().union(*touched)) == 40


def test_shards_are_shuffled_by_seed_and_epoch_alone() -> None:
    shards = [index // 25 for index in range(200)]

    def epoch(seed: int, number: int, workers: int = 0) -> list[list[tuple[int, int]]]:
        (sampler,) = shard_samplers(shards, 10, 1, workers, window=2, seed=seed, epoch=number)
        return list(sampler)

    torch.manual_seed(3)
    first = epoch(1, 2)
    torch.manual_seed(4)
    assert epoch(1, 2) == first, "a resumed epoch is the same"
    orders = {tuple(itertools.chain(*epoch(seed, number))) for seed in range(3) for number in range(3)}
    assert len(orders) == 9
    starts = {shards[epoch(0, number)[0][0][0]] for number in range(30)}
    assert len(starts) > 4, "shards come in another order each epoch"
    window = [shards[index] for index, _ in itertools.chain(*first[:5])]
    assert len(set(window)) == 2 and window != sorted(window), "images of a window's shards are mixed"
    seeds = dict(itertools.chain(*first))
    assert seeds == dict(itertools.chain(*epoch(1, 2, workers=3))), "an image's transform does not hang on the workers"
    assert len(set(seeds.values())) == 200


def test_shards_are_refused_where_batches_cannot_be_shared() -> None:
    with pytest.raises(ConfigError):
        ShardSampler([0, 0, 1], 2, 0, 0, 3)


@pytest.mark.parametrize(("length", "batch_size"), [(7, 4), (11, 4), (9, 3), (16, 16), (5, 16), (301, 64)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_global_batches_of_one_process(length: int, batch_size: int, processes: int) -> None:
    samplers = [EpochSampler(length, batch_size, seed=3, rank=rank, world_size=processes) for rank in range(processes)]
    orders = []
    for epoch in (0, 1):
        for sampler in samplers:
            sampler.epoch = epoch
        parts = [list(sampler) for sampler in samplers]
        assert len({len(part) for part in parts}) == 1, "the other processes would wait for the one with fewer steps"
        smallest = 2 if min(length, batch_size) >= 2 * processes else 0
        assert all(len(batch) >= smallest for part in parts for batch in part)
        indices = [index for part in parts for batch in part for index, _ in batch]
        assert sorted(indices) == list(range(length)), "each image is used once"
        orders.append(indices)
        # Together they are the batches of one process, with the same seed for each image's augmentation.
        for number, global_batch in enumerate(samplers[0].global_batches()):
            assert sorted(draw for part in parts for draw in part[number]) == sorted(global_batch)
        assert all(len(sampler) == len(parts[0]) for sampler in samplers)
    assert length < 6 or orders[0] != orders[1]
