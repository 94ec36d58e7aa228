"""A cache of the most recently used values, shared by the threads of a process."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class LRUCache(Generic[V]):
    """A bounded cache that loads each value once and evicts the least recently used.

    All methods can be called from several threads. A forked process starts with an empty cache, because threads that
    the fork did not copy may hold the locks of the parent process.

    Args:
        max_items: maximum number of values, including those being loaded.
        max_bytes: maximum total size in bytes of the cached values when the load of another value begins. The most
            recently used value is kept even if it is larger. None sets no limit.
        nbytes: returns the size of a value in bytes. Used with `max_bytes` only.
        max_loads: maximum number of values that are loaded at the same time, at most `max_items`. By default,
            `max_items`.

    >>> cache = LRUCache[str](max_items=2)
    >>> cache.get("a", lambda: "loaded"), cache.get("a", lambda: "not called")
    ('loaded', 'loaded')
    """

    def __init__(
        self,
        max_items: int,
        max_bytes: int | None = None,
        nbytes: Callable[[V], int] = lambda value: 0,
        max_loads: int | None = None,
    ) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.max_loads = max_loads or max_items
        self._nbytes = nbytes
        self._states: dict[int, _State[V]] = {}

    def clear(self) -> None:
        """Drop all values."""
        self._states.clear()

    def __len__(self) -> int:
        return len(self._state().values)

    def get(self, key: Hashable, load: Callable[[], V]) -> V:
        """Return the value of a key. Load it if it is not cached.

        Args:
            key: the hashable key of the value.
            load: a function that returns the value. It is called only if the value is neither cached nor being loaded
                by another thread. Other threads that request the same key block until it returns.

        Returns:
            The value. All threads get the same object.

        Raises:
            Exception: Any exception of `load`, in all threads that wait for the value. A later call loads it again.
        """
        state = self._state()
        with state.lock:
            if key in state.values:
                state.values.move_to_end(key)
                return state.values[key]
            future = state.loading.get(key)
            if future is None:
                mine = state.loading[key] = Future()
        if future is not None:
            return future.result()
        try:
            value = self._load(state, key, load)
        except BaseException as error:
            with state.lock:
                del state.loading[key]
            mine.set_exception(error)
            raise
        with state.lock:
            del state.loading[key]
        mine.set_result(value)
        return value

    def _state(self) -> "_State[V]":
        pid = os.getpid()
        state = self._states.get(pid)
        if state is None:
            state = self._states.setdefault(pid, _State(self.max_loads))  # atomic: all threads get the same object
            for parent in [other for other in list(self._states) if other != pid]:
                self._states.pop(parent, None)
        return state

    def _load(self, state: "_State[V]", key: Hashable, load: Callable[[], V]) -> V:
        with state.slots:
            with state.lock:
                state.load_count += 1
                self._evict(state)
            try:
                value = load()
            except BaseException:
                with state.lock:
                    state.load_count -= 1
                raise
            with state.lock:
                state.load_count -= 1
                state.values[key] = value
        return value

    def _evict(self, state: "_State[V]") -> None:
        """Evict values before another one is loaded, so that `max_items` also holds while several are loaded."""
        values = state.values
        while values and len(values) + state.load_count > self.max_items:
            values.popitem(last=False)
        if self.max_bytes is not None:
            while len(values) > 1 and sum(map(self._nbytes, values.values())) > self.max_bytes:
                values.popitem(last=False)


class _State(Generic[V]):
    """The values and locks of one process."""

    def __init__(self, max_loads: int) -> None:
        self.lock = threading.Lock()
        self.slots = threading.Semaphore(max_loads)
        self.values: OrderedDict[Hashable, V] = OrderedDict()
        self.loading: dict[Hashable, Future[V]] = {}
        self.load_count = 0
