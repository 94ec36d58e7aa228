"""Reading of shards: local or remote tar files with many images and masks.

Each remote shard is fetched with one request. The last few shards are kept in memory. Local shards are read in place.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.io.download_limits import check_download_size, max_download_bytes
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.remote import fetch_bytes
from pixelwise.data.schema import Record
from pixelwise.errors import DataError

MAX_SHARDS = 4
"""Maximum number of fetched shards in memory. By default, `ShardSampler` draws from this many shards at a time."""


@dataclass(frozen=True, eq=False)
class TarShard:
    """A tar file of samples.

    Attributes:
        url: a local path, or a URL that fsspec opens.
        size: size of the file in bytes.
        digest: BLAKE2b hash of the file's content (20 bytes, hexadecimal).
        options: keyword arguments for fsspec, for example a key or an endpoint.
    """

    url: str
    size: int
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """True if `url` is a path on this machine."""
        return "://" not in self.url

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, eq=False)
class TarMember:
    """One file in a shard: a `BytesSource`.

    Attributes:
        shard: the shard.
        offset: position of the file's content in the shard, in bytes.
        size: size of the file's content in bytes.
        name: file name with suffix.
    """

    shard: TarShard
    offset: int
    size: int
    name: str

    @property
    def digest(self) -> bytes:
        """An identifier of the content, derived from the shard's digest without reading the content."""
        return f"{self.shard.digest} {self.offset} {self.size}".encode()

    def read_bytes(self) -> bytes:
        """Return the file's content.

        Raises:
            DataError: The shard is missing, cut off, or cannot be read. Or the digest of a remote shard is wrong.
        """
        if not self.shard.is_local:
            content = SHARDS.get(self.shard.url, lambda: fetch_shard(self.shard))
            return content[self.offset : self.offset + self.size]
        path = Path(self.shard.url)
        try:
            # Reading a pipe would block forever, and a device has no end.
            if path.exists() and not path.is_file():
                raise DataError("the shard is not a file; copy or pack it again")
            with path.open("rb") as file:
                if self.offset + self.size > os.fstat(file.fileno()).st_size:
                    raise DataError("the shard is cut off; copy or pack it again")
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"the shard cannot be read ({error.strerror or error})") from None

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


SHARDS = LRUCache[bytes](MAX_SHARDS)
"""URL → content of the most recently used remote shards."""


def fetch_shard(shard: TarShard) -> bytes:
    """Return the content of a remote shard. Check its size and its digest.

    Raises:
        DataError: The shard is missing, cannot be read or is larger than `max_download_bytes`, or its size or digest
            differs from the packed shard.
    """
    try:
        check_download_size(shard.size, max_download_bytes())
        content = fetch_bytes(shard.url, shard.options)
    except FileNotFoundError:
        raise DataError("the shard is missing; copy or pack it again") from None
    except DataError as error:
        raise DataError(f"the shard {error}") from None
    if len(content) != shard.size or hashlib.blake2b(content, digest_size=20).hexdigest() != shard.digest:
        raise DataError("the shard is not what was packed (cut off or damaged); copy or pack it again")
    return content


def shard_urls(records: Iterable[Record]) -> list[str] | None:
    """Return the URL of each record's shard, for `ShardSampler`. An image that is not in a shard has its own name.

    Return None if no record is in a shard.
    """
    images = [record.image for record in records]
    if not any(isinstance(image, TarMember) for image in images):
        return None
    return [image.shard.url if isinstance(image, TarMember) else str(image) for image in images]
