"""Random transforms that make only a few versions of each image, so that all versions can be kept in memory."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class ImageVersions(ABC):
    """A random transform of an image and its mask that returns one of `count` versions.

    A call uses torch's default random generator, see `Transform`. `choose` returns which version the call makes after
    this generator was seeded, as a `SegmentationDataset` does for each item.

    Attributes:
        count: number of versions of an image.
    """

    count: int

    @abstractmethod
    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return a random version of an image and its mask."""

    @abstractmethod
    def versions(self, image: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return all versions of an image and its mask, in the order of their numbers."""

    @abstractmethod
    def choose(self, seeds: Sequence[int]) -> Tensor:
        """Return the number of the version that each seed selects, (N,) int64."""


class Unchanged(ImageVersions):
    """A transform that returns the image and the mask unchanged."""

    count = 1

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return image, mask

    def versions(self, image: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the image and the mask."""
        return [(image, mask)]

    def choose(self, seeds: Sequence[int]) -> Tensor:
        """Return zeros."""
        return torch.zeros(len(seeds), dtype=torch.int64)


class RandomFlip(ImageVersions):
    """A left-right flip of an image and its mask. The random number is that of torchvision's transform.

    Args:
        probability: probability of the flip.
    """

    count = 2

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return (image, mask) if torch.rand(1) >= self.probability else (image.flip(-1), mask.flip(-1))

    def versions(self, image: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the image and the mask, then both flipped."""
        return [(image, mask), (image.flip(-1), mask.flip(-1))]

    def choose(self, seeds: Sequence[int]) -> Tensor:
        """Return 1 for each seed that flips, else 0."""
        # A single number takes less time than a view of a tensor of all numbers.
        generator, number, numbers = torch.Generator(), torch.empty(1), []
        for seed in seeds:
            generator.manual_seed(seed)
            numbers.append(number.uniform_(generator=generator).item())
        return (torch.tensor(numbers) < self.probability).long()
