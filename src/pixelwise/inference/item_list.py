"""The images of a prediction with their marks, on disk."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.outputs import Mark
from pixelwise.runtime.disk_list import DiskList, MappedSequence, ReadSequence, SelectedSequence


class ItemList(ReadSequence[OutputItem]):
    """The images of a prediction. Each item is read from a temporary file when it is used, see `DiskList`.

    The attribute `mark` of an item is set by `set_mark`, because each use gives another object.

    Args:
        items: the images, without marks.
    """

    def __init__(self, items: Iterable[OutputItem]) -> None:
        self._items = DiskList(items)
        self._marks: DiskList[Mark] = DiskList()
        self._mark_numbers = array("I", bytes(array("I").itemsize * len(self._items)))  # 0 without a mark

    def __len__(self) -> int:
        return len(self._items)

    def _read(self, index: int) -> OutputItem:
        mark = self._mark_numbers[index]
        return replace(self._items[index], mark=self._marks[mark - 1] if mark else None)

    def set_mark(self, index: int, mark: Mark) -> None:
        """Set the mark of an item."""
        self._marks.append(mark)
        self._mark_numbers[index] = len(self._marks)

    def todo(self) -> SelectedSequence[OutputItem]:
        """Return the items that have no mark now."""
        return SelectedSequence(self, (index for index, mark in enumerate(self._mark_numbers) if not mark))

    def done(self) -> SelectedSequence[OutputItem]:
        """Return the items that have a mark now."""
        return SelectedSequence(self, (index for index, mark in enumerate(self._mark_numbers) if mark))


def paths_of(items: Sequence[OutputItem]) -> MappedSequence[OutputItem, object]:
    """Return the paths of items, each read when it is used."""
    return MappedSequence(lambda item: item.path, items)
