"""Data in shards: tar files that each hold many images and masks, and are read from anywhere that fsspec reaches.

A shard is fetched as a whole and a few of them are kept in memory, so that reading sample after sample of one shard
costs one request. Local shards are read where they lie.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.io.remote import fetch_bytes
from pixelwise.data.schema import Record
from pixelwise.errors import DataError

MAX_SHARDS = 4
"""How many fetched shards a process keeps; `ShardSampler` draws from no more than these at a time."""


@dataclass(frozen=True, eq=False)
class TarShard:
    """A tar file of samples.

    Attributes:
        url: a local path, or a URL that fsspec opens.
        size: its bytes.
        digest: BLAKE2b of its content (20 bytes, hexadecimal).
        options: what fsspec is given beside the URL (a key, an endpoint).
    """

    url: str
    size: int
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether `url` is a path on this machine."""
        return "://" not in self.url

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, eq=False)
class TarMember:
    """One file in a shard: a `BytesSource`.

    Raises DataError, which names the shard, where it is missing, cut off, or not what was packed.
    """

    shard: TarShard
    offset: int
    size: int
    name: str

    @property
    def digest(self) -> bytes:
        """What its content follows from, without reading it."""
        return f"{self.shard.digest} {self.offset} {self.size}".encode()

    def read_bytes(self) -> bytes:
        """The file's content."""
        if not self.shard.is_local:
            return STORE.get(self.shard)[self.offset : self.offset + self.size]
        try:
            with Path(self.shard.url).open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"the shard cannot be read ({error.strerror or error})") from None
        if len(content) < self.size:
            raise DataError("the shard is cut off; copy or pack it again")
        return content

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


class ShardStore:
    """The shards that were fetched last, for all threads of a process: `most` at a time, each fetched once."""

    def __init__(self, most: int = MAX_SHARDS) -> None:
        self.most = most
        self.fetched = 0
        self.clear()

    def clear(self) -> None:
        """Forget all; a forked process must, for locks and connections are its parent's."""
        self._lock = threading.Lock()
        self._places = threading.Semaphore(self.most)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._fetching: dict[str, threading.Lock] = {}
        self._in_flight = 0

    def get(self, shard: TarShard) -> bytes:
        """A shard's content; DataError where it cannot be had or is not what was packed."""
        with self._lock:
            fetching = self._fetching.setdefault(shard.url, threading.Lock())
        with fetching:  # whoever wants the same shard waits for it
            with self._lock:
                if (content := self._kept.get(shard.url)) is not None:
                    self._kept.move_to_end(shard.url)
                    return content
            with self._places:
                return self._fetch(shard)

    def _fetch(self, shard: TarShard) -> bytes:
        with self._lock:
            self._in_flight += 1
            # Room is made before the fetch, and counts what other threads fetch now.
            while self._kept and len(self._kept) + self._in_flight > self.most:
                self._kept.popitem(last=False)
        content = None
        try:
            content = fetch(shard)
        finally:
            with self._lock:
                self._in_flight -= 1
                if content is not None:
                    self._kept[shard.url] = content
                    self.fetched += 1
        return content


def fetch(shard: TarShard) -> bytes:
    """A shard's content, checked."""
    try:
        content = fetch_bytes(shard.url, shard.options)
    except FileNotFoundError:
        raise DataError("the shard is missing; copy or pack it again") from None
    except DataError as error:
        raise DataError(f"the shard {error}") from None
    if len(content) != shard.size or hashlib.blake2b(content, digest_size=20).hexdigest() != shard.digest:
        raise DataError("the shard is not what was packed (cut off or damaged); copy or pack it again")
    return content


STORE = ShardStore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=STORE.clear)


def shards_of(records: Iterable[Record]) -> list[str] | None:
    """The shard that each record lies in, for `ShardSampler`; None where some lie elsewhere."""
    found = [record.image.shard.url for record in records if isinstance(record.image, TarMember)]
    return found if found and len(found) == sum(1 for _ in records) else None
