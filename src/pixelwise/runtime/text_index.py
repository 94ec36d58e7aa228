"""A set of texts of which only hashes are in memory."""

import hashlib
from array import array

_FIRST_SLOTS = 16
"""Number of slots of an empty set, a power of 2."""


class TextIndex:
    """A set of texts with their numbers in the order in which they were added.

    A text takes 22 to 28 bytes: a hash of 16 bytes, and its slots in a table with open addressing. Two texts with the
    same hash would count as one. With a billion texts, the probability of this is below 1e-20.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # 0 is free, else 1 + the number of a text

    def __len__(self) -> int:
        return len(self._hashes) // 2

    def __contains__(self, text: str) -> bool:
        return self.find(text) is not None

    def find(self, text: str) -> int | None:
        """Return the number of a text, or None if it was not added."""
        number = self._slots[self._find_slot(*_hash(text))]
        return number - 1 if number else None

    def add(self, text: str) -> int:
        """Add a text, and return its number. A text that was added before keeps its number."""
        first, second = _hash(text)
        slot = self._find_slot(first, second)
        if self._slots[slot]:
            return self._slots[slot] - 1
        self._hashes.append(first)
        self._hashes.append(second)
        self._slots[slot] = len(self)
        if 3 * len(self) > 2 * len(self._slots):
            self._grow()
        return len(self) - 1

    def _find_slot(self, first: int, second: int) -> int:
        """Return the slot of a hash, or the free slot in which it belongs."""
        slots, hashes, mask = self._slots, self._hashes, len(self._slots) - 1
        slot = first & mask
        while number := slots[slot]:
            if hashes[2 * number - 2] == first and hashes[2 * number - 1] == second:
                break
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        """Double the number of slots."""
        self._slots = array("I", bytes(2 * self._slots.itemsize * len(self._slots)))
        slots, mask = self._slots, len(self._slots) - 1
        for number in range(len(self)):
            slot = self._hashes[2 * number] & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number + 1


def _hash(text: str) -> tuple[int, int]:
    """Return two integers of 64 bits. They are the same in each process, unlike those of `hash`."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
