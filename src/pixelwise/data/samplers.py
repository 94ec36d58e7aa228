"""Samplers: the order of the images in a training."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, islice

import torch

from pixelwise.data.io.tar_shard import MAX_SHARDS
from pixelwise.errors import ConfigError

_VERSION_SEEDS = 1 << 61
"""Smallest seed of the versions of images. The seeds of the order of the images are smaller."""


class EpochSampler(torch.utils.data.Sampler[list[tuple[int, int]]]):
    """A sampler of batches of (index, seed) for one process. All processes together draw each image once per epoch.

    A global batch has the images of all processes, and each process takes its part of it. Unlike torch's
    DistributedSampler, the sampler draws no image twice to fill a batch. Batch norm needs two images per process, so a
    last batch with fewer is merged into the batch before it. Apart from this merge, the global batches do not depend on
    the number of processes.

    Args:
        length: number of images.
        batch_size: number of images of a batch, over all processes.
        seed: random seed.
        rank: number of this process, from 0.
        world_size: number of processes.

    Attributes:
        epoch: index of the epoch, to be set before each epoch. Epochs have different orders and seeds.
        versions: number of seeds of each image, which epochs use in turn. 0 for other seeds in each epoch.

    Raises:
        ConfigError: A batch or the data set has less than one image per process.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if min(length, batch_size) < world_size:
            raise ConfigError(
                f"{world_size} processes cannot share batches of {min(length, batch_size)} images; "
                "increase `batch_size` or start fewer processes"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.versions = 0

    def version_of(self, index: int) -> int:
        """Return the version of an image in this epoch, from 0 to `versions` - 1."""
        return (self.epoch + index) % self.versions

    def global_batches(self) -> list[list[tuple[int, int]]]:
        """Return the global batches of this epoch."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        if self.versions:
            of_versions = torch.Generator().manual_seed(_VERSION_SEEDS + self.seed)
            table = torch.randint(2**62, (self.versions, self.length), generator=of_versions).tolist()
            seeds = [table[self.version_of(index)][index] for index in order]
        else:
            seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        draws = iter(zip(order, seeds, strict=True))
        return [list(islice(draws, size)) for size in self.global_sizes()]

    def global_sizes(self) -> list[int]:
        """Return the number of images of each global batch."""
        full, rest = divmod(self.length, self.batch_size)
        sizes = [self.batch_size] * full + [rest] * (rest > 0)
        if full and 0 < rest < 2 * self.world_size:
            sizes[-2:] = [self.batch_size + rest]
        return sizes

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.global_batches():
            yield batch[self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(self.global_sizes())


class ShardSampler(EpochSampler):
    """An EpochSampler for images in shards. Each worker of each process draws from few shards at a time.

    Each epoch, the order of the shards is shuffled and their images are concatenated. The sequence is cut into one part
    per process. This part is cut again into one part per worker of the DataLoader, which assigns batch j to worker
    j modulo the number of workers. Each worker shuffles the images of `window` shards of its part at a time, so it
    fetches each shard once.

    The sizes of batches are those of EpochSampler. The order of the images depends on the number of processes and
    workers. The seed of an image does not.

    Args:
        shards: the shard of each image.
        batch_size, seed, rank, world_size: see `EpochSampler`.
        num_workers: number of workers of the DataLoader. 0 and 1 give the same order.
        window: number of shards whose images are shuffled together.
    """

    def __init__(
        self,
        shards: Sequence[Hashable],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        window: int = MAX_SHARDS,
    ) -> None:
        super().__init__(len(shards), batch_size, seed, rank, world_size)
        self.parts, self.window = max(num_workers, 1), window
        members: dict[Hashable, list[int]] = {}
        for index, shard in enumerate(shards):
            members.setdefault(shard, []).append(index)
        self.members = [torch.tensor(indices) for indices in members.values()]

    def global_batches(self) -> list[list[tuple[int, int]]]:
        """Return the global batches of this epoch."""
        batches = [self._batches_of(rank) for rank in range(self.world_size)]
        return [list(chain(*parts)) for parts in zip(*batches, strict=True)]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        yield from self._batches_of(self.rank)

    def _batches_of(self, rank: int) -> list[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        shard_order = torch.randperm(len(self.members), generator=generator).tolist()
        # For each process up to this one, the number of its images in each batch.
        sizes = [
            [len(range(other, size, self.world_size)) for size in self.global_sizes()] for other in range(rank + 1)
        ]
        start = sum(map(sum, sizes[:rank]))
        batches: list[list[tuple[int, int]]] = [[] for _ in sizes[rank]]
        for part in range(self.parts):
            part_sizes = sizes[rank][part :: self.parts]
            # The seed depends on the start of the part, so no process needs the random numbers of another.
            part_generator = torch.Generator().manual_seed(seeds[0] ^ start)
            order = iter(self._shuffled(shard_order, start, sum(part_sizes), part_generator))
            batches[part :: self.parts] = [
                [(index, seeds[index]) for index in islice(order, size)] for size in part_sizes
            ]
            start += sum(part_sizes)
        return batches

    def _shuffled(self, shard_order: list[int], start: int, count: int, generator: torch.Generator) -> Iterator[int]:
        """Yield images start … start + count - 1 of the concatenated shards, shuffled `window` shards at a time."""
        pieces, position = [], 0
        for shard in shard_order:
            indices = self.members[shard]
            # A shard is shuffled before it is cut. Otherwise a shard on the border of two parts would always give its
            # first images to one part and its last images to the other.
            shard_generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch * 31 + shard)
            cut = slice(max(start - position, 0), max(start + count - position, 0))
            if len(piece := indices[torch.randperm(len(indices), generator=shard_generator)][cut]):
                pieces.append(piece)
            position += len(indices)
        for first in range(0, len(pieces), self.window):
            window = torch.cat(pieces[first : first + self.window])
            yield from window[torch.randperm(len(window), generator=generator)].tolist()
