"""Sequences that read their elements when they are used, so that long ones need little memory."""

import pickle
import tempfile
import weakref
import zlib
from abc import abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar, overload

from pixelwise.runtime.files import write_errors

T = TypeVar("T")
Source = TypeVar("Source")

_CHUNK = 64
"""Number of elements that are written and read at once."""

_MAX_CHUNKS = 4
"""Maximum number of chunks that stay in memory."""


class ReadSequence(Sequence[T]):
    """A sequence that is equal to other sequences with the same elements. Its pickle is that of a list."""

    @abstractmethod
    def _read(self, index: int) -> T:
        """Return the element with an index from 0 to the length - 1."""

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._read(each) for each in range(*index.indices(len(self)))]
        count = len(self)
        if not -count <= index < count:
            raise IndexError("index out of range")
        return self._read(index % count)

    def __iter__(self) -> Iterator[T]:
        return map(self._read, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return f"<{len(self)} elements>"


class DiskList(ReadSequence[T]):
    """A list in a temporary file without a name, which disappears with the list or with the process.

    Elements are pickled. Reading one gives an object that others can read too, so it must not be changed. Threads may
    read and append.

    Args:
        elements: the first elements.
    """

    def __init__(self, elements: Iterable[T] = ()) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, open as long as the list exists
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", [0])
        self._last: list[T] = []
        self._chunks: OrderedDict[int, list[T]] = OrderedDict()
        self._lock = Lock()
        for element in elements:
            self.append(element)

    def append(self, element: T) -> None:
        """Append an element.

        Raises:
            OutputError: The file cannot be written.
        """
        with self._lock:
            self._last.append(element)
            if len(self._last) == _CHUNK:
                self._write()

    def _write(self) -> None:
        """Write the last chunk."""
        with write_errors(Path(tempfile.gettempdir())):
            self._file.seek(self._ends[-1])
            self._file.write(zlib.compress(pickle.dumps(self._last), 1))
            self._file.flush()
            self._ends.append(self._file.tell())
        self._last = []

    def __len__(self) -> int:
        return (len(self._ends) - 1) * _CHUNK + len(self._last)

    def _read(self, index: int) -> T:
        number, place = divmod(index, _CHUNK)
        with self._lock:
            if number == len(self._ends) - 1:
                return self._last[place]
            if number in self._chunks:
                self._chunks.move_to_end(number)
                return self._chunks[number][place]
            self._file.seek(self._ends[number])
            content = self._file.read(self._ends[number + 1] - self._ends[number])
            self._chunks[number] = chunk = pickle.loads(zlib.decompress(content))
            if len(self._chunks) > _MAX_CHUNKS:
                self._chunks.popitem(last=False)
            element: T = chunk[place]
            return element


class SelectedSequence(ReadSequence[T]):
    """Some elements of a sequence.

    Args:
        elements: the sequence.
        numbers: indices of the elements.

    Attributes:
        numbers: indices of the elements.
    """

    def __init__(self, elements: Sequence[T], numbers: Iterable[int]) -> None:
        self._elements, self.numbers = elements, array("I", numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def _read(self, index: int) -> T:
        return self._elements[self.numbers[index]]


class MappedSequence(ReadSequence[T], Generic[Source, T]):
    """The results of a function for each element of a sequence, computed when they are used.

    Args:
        function: a function of an element.
        elements: the sequence.
    """

    def __init__(self, function: Callable[[Source], T], elements: Sequence[Source]) -> None:
        self._function, self._elements = function, elements

    def __len__(self) -> int:
        return len(self._elements)

    def _read(self, index: int) -> T:
        return self._function(self._elements[index])
