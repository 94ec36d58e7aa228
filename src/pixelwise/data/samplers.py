"""Which images: those held back for validation, and the order of those trained on."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, islice

import torch

from pixelwise.errors import ConfigError


class EpochSampler(torch.utils.data.Sampler[list[tuple[int, int]]]):
    """Batches of (index, seed) for one process: each image once an epoch over all processes together.

    The global batch is the same whatever the number of processes: each takes its stride of it. No image is
    shown twice to fill up, as torch's own DistributedSampler does: a last batch too small to give every
    process two images (batch norm needs two) joins the batch before it.

    Raises ConfigError where a batch has not even one image a process.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if min(length, batch_size) < world_size:
            raise ConfigError(
                f"{world_size} processes cannot share batches of {min(length, batch_size)} images; "
                "raise --batch-size, or start fewer processes"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def global_batches(self) -> list[list[tuple[int, int]]]:
        """The batches of this epoch over all processes."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        draws = iter(zip(order, seeds, strict=True))
        return [list(islice(draws, size)) for size in self.global_sizes()]

    def global_sizes(self) -> list[int]:
        """How many images each of the global batches has."""
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
    """An EpochSampler for images in shards: each process, and each of its workers, draws from few shards at a time.

    Shards are shuffled each epoch and laid in a row, which is cut into one part a process, and inside it into one part
    a worker of its DataLoader (which gives batch j to worker j modulo their number). A worker takes its part `window`
    shards at a time, their images shuffled: it never needs more than these, and fetches each of them once.

    Sizes of batches are EpochSampler's. The order depends on the number of processes and workers; each image's seed
    does not.

    Args:
        shards: for each image, the shard that it lies in.
        workers: of the DataLoader; 0 is one part, as 1 is.
        window: how many shards are open at a time.
    """

    def __init__(
        self,
        shards: Sequence[Hashable],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        window: int = 4,
    ) -> None:
        super().__init__(len(shards), batch_size, seed, rank, world_size)
        self.parts, self.window = max(workers, 1), window
        members: dict[Hashable, list[int]] = {}
        for index, shard in enumerate(shards):
            members.setdefault(shard, []).append(index)
        self.members = [torch.tensor(indices) for indices in members.values()]

    def global_batches(self) -> list[list[tuple[int, int]]]:
        """The batches of this epoch over all processes."""
        batches = [self._batches_of(rank) for rank in range(self.world_size)]
        return [list(chain(*parts)) for parts in zip(*batches, strict=True)]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        yield from self._batches_of(self.rank)

    def _batches_of(self, rank: int) -> list[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        row = torch.randperm(len(self.members), generator=generator).tolist()
        # How many images of each batch are this process's, and so how many are the part of each of its workers.
        sizes = [[len(range(each, size, self.world_size)) for size in self.global_sizes()] for each in range(rank + 1)]
        start = sum(map(sum, sizes[:rank]))
        batches: list[list[tuple[int, int]]] = [[] for _ in sizes[rank]]
        for part in range(self.parts):
            own = sizes[rank][part :: self.parts]
            # Drawn by place, so that no process has to draw for the others.
            order = iter(self._shuffled(row, start, sum(own), torch.Generator().manual_seed(seeds[0] ^ start)))
            batches[part :: self.parts] = [[(index, seeds[index]) for index in islice(order, size)] for size in own]
            start += sum(own)
        return batches

    def _shuffled(self, row: list[int], start: int, count: int, generator: torch.Generator) -> Iterator[int]:
        """The images at start … start + count of the shards in a row, shuffled `window` shards at a time."""
        pieces, place = [], 0
        for shard in row:
            indices = self.members[shard]
            # In an order of its own, lest a shard's first images always end one part and its last ones begin another.
            own = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch * 31 + shard)
            cut = slice(max(start - place, 0), max(start + count - place, 0))
            if len(piece := indices[torch.randperm(len(indices), generator=own)][cut]):
                pieces.append(piece)
            place += len(indices)
        for first in range(0, len(pieces), self.window):
            together = torch.cat(pieces[first : first + self.window])
            yield from together[torch.randperm(len(together), generator=generator)].tolist()
