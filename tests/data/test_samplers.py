"""The order of training images: each once per epoch, with any number of processes and workers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pixelwise.data.samplers import EpochSampler, ShardSampler
from pixelwise.errors import ConfigError

# --- EpochSampler

LENGTHS = [(100, 16), (12, 4), (13, 4), (17, 8), (7, 7), (6, 64), (5, 5), (255, 64), (10, 1), (9, 2), (11, 5)]
SHARED = [(length, batch, world) for length, batch in LENGTHS for world in (1, 2, 3, 5) if min(length, batch) >= world]


def samplers(length: int, batch_size: int, world: int, seed: int = 0, epoch: int = 0) -> list[EpochSampler]:
    made = [EpochSampler(length, batch_size, seed, rank, world) for rank in range(world)]
    for sampler in made:
        sampler.epoch = epoch
    return made


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_each_image_is_drawn_once_per_epoch(length: int, batch_size: int, world: int) -> None:
    ranks = [list(sampler) for sampler in samplers(length, batch_size, world, epoch=3)]
    drawn = [index for batches in ranks for batch in batches for index, _ in batch]
    assert sorted(drawn) == list(range(length))
    assert all(batch for batches in ranks for batch in batches), "every process has an image in every batch"


@pytest.mark.parametrize(("length", "batch_size", "world"), SHARED)
def test_lengths_are_those_of_the_batches(length: int, batch_size: int, world: int) -> None:
    made = samplers(length, batch_size, world, epoch=1)
    for sampler in made:
        assert len(sampler) == len(list(sampler)) == len(sampler.global_sizes())
    for size, *parts in zip(made[0].global_sizes(), *made, strict=True):
        assert size == sum(map(len, parts))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1, "divided evenly"
    sizes = made[0].global_sizes()
    assert all(size == batch_size for size in sizes[:-1])
    assert len(sizes) == 1 or sizes[-1] < batch_size + 2 * world


@pytest.mark.parametrize(("length", "batch_size"), [(100, 20), (104, 20), (119, 20), (255, 64)])
def test_the_global_batch_is_the_same_for_any_number_of_processes(length: int, batch_size: int) -> None:
    """The exception is a last batch that is too small for more processes and is merged."""
    (single,) = samplers(length, batch_size, 1, seed=2, epoch=4)
    for world in (2, 3, 5):
        made = samplers(length, batch_size, world, seed=2, epoch=4)
        parts = [[set(batch) for batch in sampler] for sampler in made]
        merged = [set[tuple[int, int]]().union(*batches) for batches in zip(*parts, strict=True)]
        expected = [set(batch) for batch in single]
        if length == 104 and world >= 3:
            expected[-2:] = [expected[-2] | expected[-1]]
        assert merged == expected


def test_a_last_batch_too_small_to_divide_is_merged() -> None:
    assert EpochSampler(33, 16, 0).global_sizes() == [16, 17], "batch norm needs two images"
    assert EpochSampler(34, 16, 0).global_sizes() == [16, 16, 2]
    assert EpochSampler(35, 16, 0, 0, 2).global_sizes() == [16, 19]
    assert EpochSampler(36, 16, 0, 0, 2).global_sizes() == [16, 16, 4]
    assert EpochSampler(32, 16, 0, 0, 5).global_sizes() == [16, 16]
    assert EpochSampler(3, 1, 0).global_sizes() == [1, 1, 1], "batches of one if requested"
    assert EpochSampler(3, 16, 0).global_sizes() == [3], "there is no batch before it"


def test_order_and_seeds_depend_on_seed_and_epoch() -> None:
    def epoch(seed: int, number: int) -> list[list[tuple[int, int]]]:
        (sampler,) = samplers(40, 8, 1, seed, number)
        first = list(sampler)
        assert list(sampler) == first, "the same each time it is iterated"
        return first

    drawn = {(seed, number): epoch(seed, number) for seed in range(3) for number in range(3)}
    torch.manual_seed(5)
    assert epoch(1, 2) == drawn[1, 2]
    for part in (0, 1):
        orders = {tuple(draw[part] for batch in batches for draw in batch) for batches in drawn.values()}
        assert len(orders) == 9, "both the order and the seeds of the transforms"
    seeds = {dict(itertools.chain(*batches))[7] for batches in drawn.values()}
    assert len(seeds) == 9, "an image has another seed in each epoch"


@pytest.mark.parametrize(("length", "batch_size", "world"), [(100, 4, 5), (2, 16, 3), (9, 1, 2)])
def test_batches_with_less_than_one_image_per_process_are_refused(length: int, batch_size: int, world: int) -> None:
    with pytest.raises(ConfigError) as error:
        EpochSampler(length, batch_size, 0, 0, world)
    assert f"{world} processes" in str(error.value) and "`batch_size`" in str(error.value)


# --- ShardSampler


def shard_samplers(
    shards: list[int], batch_size: int, world: int, workers: int = 0, window: int = 4, seed: int = 0, epoch: int = 0
) -> list[ShardSampler]:
    made = [ShardSampler(shards, batch_size, seed, rank, world, workers, window) for rank in range(world)]
    for sampler in made:
        sampler.epoch = epoch
    return made


def max_open_shards(draws: list[int], shards: list[int]) -> int:
    """Return the number of shards needed at a time if each is kept from its first image to its last."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, index in enumerate(draws):
        first.setdefault(shards[index], position)
        last[shards[index]] = position
    changes = np.zeros(len(draws) + 1, int)
    np.add.at(changes, list(first.values()), 1)
    np.add.at(changes, [position + 1 for position in last.values()], -1)
    return int(changes.cumsum().max())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_each_shard_is_read_once_and_few_at_a_time(data: st.DataObject) -> None:
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
        assert [len(batch) for batch in batches] == [len(batch) for batch in other], (
            "the sizes are those of EpochSampler"
        )
        assert len(sampler) == len(batches)
        for worker in range(max(workers, 1)):
            indices = [index for batch in batches[worker :: max(workers, 1)] for index, _ in batch]
            assert not indices or max_open_shards(indices, shards) <= window
    expected = [set(batch) for batch in made[0].global_batches()]
    assert expected == [set[tuple[int, int]]().union(*parts) for parts in zip(*epochs, strict=True)]


def test_a_worker_reads_no_more_shards_than_necessary() -> None:
    """40 shards of 10 images, 2 processes with 2 workers: each worker reads 10 shards that no other reads."""
    shards = [index // 10 for index in range(400)]
    parts = []
    for sampler in shard_samplers(shards, 40, 2, workers=2, epoch=5):
        batches = list(sampler)
        parts += [{shards[index] for batch in batches[worker::2] for index, _ in batch} for worker in range(2)]
    assert [len(part) for part in parts] == [10, 10, 10, 10]
    assert len(set[int]().union(*parts)) == 40


def test_the_order_of_shards_depends_on_seed_and_epoch_alone() -> None:
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
    assert len(starts) > 4, "the order of shards changes each epoch"
    window = [shards[index] for index, _ in itertools.chain(*first[:5])]
    assert len(set(window)) == 2 and window != sorted(window), "images of the shards in the window are mixed"
    seeds = dict(itertools.chain(*first))
    assert seeds == dict(itertools.chain(*epoch(1, 2, workers=3))), (
        "the seed of an image does not depend on the workers"
    )
    assert len(set(seeds.values())) == 200


def test_shards_are_refused_if_batches_cannot_be_divided() -> None:
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
        assert len({len(part) for part in parts}) == 1, "a process with fewer steps would make the others wait"
        min_images = 2 if min(length, batch_size) >= 2 * processes else 0
        assert all(len(batch) >= min_images for part in parts for batch in part)
        indices = [index for part in parts for batch in part for index, _ in batch]
        assert sorted(indices) == list(range(length)), "each image is used once"
        orders.append(indices)
        # Merged they are the batches of one process, with the same seed for each image.
        for number, global_batch in enumerate(samplers[0].global_batches()):
            assert sorted(draw for part in parts for draw in part[number]) == sorted(global_batch)
        assert all(len(sampler) == len(parts[0]) for sampler in samplers)
    assert length < 6 or orders[0] != orders[1]
