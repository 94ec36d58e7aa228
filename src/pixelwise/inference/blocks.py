"""Positions of the images' parts in a growing file."""

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pixelwise.runtime.text_index import TextIndex


class Block(NamedTuple):
    """The part of a file that belongs to an image.

    Attributes:
        start: position of the first byte in the file.
        stop: position after the last byte.
        rows: number of rows.
    """

    start: int
    stop: int
    rows: int = 1


class Blocks:
    """Image → the position of its part in a file, in the order in which the images were first set.

    An image takes about 48 bytes, because its name is not kept, see `TextIndex`.

    Attributes:
        starts: the position of the first byte of each block.
    """

    def __init__(self) -> None:
        self._images = TextIndex()
        self.starts, self._stops, self._rows = array("Q"), array("Q"), array("I")

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image: str) -> bool:
        return image in self._images

    def __iter__(self) -> Iterator[Block]:
        return map(Block, self.starts, self._stops, self._rows)

    def get(self, image: str) -> Block | None:
        """Return the block of an image, or None if it has none."""
        number = self._images.find(image)
        return None if number is None else Block(self.starts[number], self._stops[number], self._rows[number])

    def set(self, image: str, block: Block) -> None:
        """Set the block of an image."""
        number = self._images.add(image)
        if number == len(self.starts):
            self.starts.append(0)
            self._stops.append(0)
            self._rows.append(0)
        self.starts[number], self._stops[number], self._rows[number] = block

    def end(self, start: int) -> int:
        """Return the position after the last block, or `start` if there are no blocks."""
        return self._stops[-1] if self._stops else start

    def arrange(self, images: Iterable[str], start: int) -> "tuple[Blocks, array[int]]":
        """Return the blocks of some images when they follow each other, and where each of them starts now.

        Args:
            images: the images in the new order. Those without a block, and repetitions, are left out.
            start: position of the first block.
        """
        arranged, old_starts = Blocks(), array("Q")
        for image in images:
            block = self.get(image)
            if block is not None and image not in arranged:
                length = block.stop - block.start
                arranged.set(image, Block(start, start + length, block.rows))
                old_starts.append(block.start)
                start += length
        return arranged, old_starts
