"""File-system events of this process: count them, and act at the n-th."""

import errno
import mmap
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

_OTHER_EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")


class EventCounter:
    """Counts events of a forked process. The parent can read the count."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)  # shared with forked processes

    @property
    def count(self) -> int:
        """Number of events so far."""
        return int(struct.unpack("q", self._memory[:8])[0])

    def next(self) -> int:
        """Count an event, and return its number. The first is 1."""
        self._memory[:8] = struct.pack("q", self.count + 1)
        return self.count


def watch_events(root: Path, act: Callable[[int, str], object], creates_only: bool = False) -> EventCounter:
    """Call a function before each event that changes files below a folder. It lasts until the process ends.

    Args:
        root: the folder.
        act: called with the number of the event, from 1, and the path.
        creates_only: if True, only events that need space on the disk count.

    Returns:
        The counter of this process. Call the function before a fork to count, or after it to act.
    """
    counter = EventCounter()
    prefix = str(root)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            if not _is_writing(args[1], args[2]):
                return
        elif event not in (_OTHER_EVENTS[:1] if creates_only else _OTHER_EVENTS):
            return
        path = args[0]
        if isinstance(path, str | bytes | os.PathLike):
            text = os.fsdecode(path)
            # Names in a folder that is removed are relative to it.
            if text.startswith(prefix) or not (text.startswith(os.sep) or creates_only):
                act(counter.next(), text)

    sys.addaudithook(hook)
    return counter


def _is_writing(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return not {"w", "x", "a", "+"}.isdisjoint(mode)
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def fill_disk(first: int) -> Callable[[int, str], None]:
    """Return a function for `watch_events` that raises the error of a full disk from an event on."""

    def act(number: int, path: str) -> None:
        if number >= first:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    return act
