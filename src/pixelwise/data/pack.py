"""`pack`: a data set as shards, tar files in WebDataset's form, anywhere that fsspec can write."""

import hashlib
import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.formats.webdataset import INDEX, MARK, VERSION
from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import SPLITS, BytesSource, DatasetIndex, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError, first_line
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

SHARD_BYTES = 64 * 2**20


_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
"""Pillow's name of a format → suffix, where it is not the name itself."""


@dataclass(frozen=True)
class PackResult:
    """What `pack` wrote.

    Attributes:
        out: where.
        shards: the tar files' names.
        samples, bytes: in all shards together.
        skipped: a DataError for each record that was left out.
    """

    out: str
    shards: tuple[str, ...]
    samples: int
    bytes: int
    skipped: tuple[DataError, ...] = ()


@dataclass
class _Writer:
    """The shard that is being filled, and the index so far."""

    put: Any
    most: int
    split: str = ""
    number: int = 0
    content: bytearray = field(default_factory=bytearray)
    samples: list[list[Any]] = field(default_factory=list)
    shards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, key: str, record: Record, files: list[tuple[str, bytes]]) -> None:
        """A sample: (what follows its key in the name, content) of each file, the image first."""
        blocks = sum(1 + -(-len(content) // tarfile.BLOCKSIZE) for _, content in files) + 2
        if self.content and len(self.content) + blocks * tarfile.BLOCKSIZE > self.most:
            self.close()
        places = []
        for ending, content in files:
            entry = tarfile.TarInfo(f"{key}.{ending}")
            entry.size = len(content)
            self.content += entry.tobuf(tarfile.USTAR_FORMAT, "ascii")
            places.append([ending, len(self.content), len(content)])
            self.content += content + bytes(-len(content) % tarfile.BLOCKSIZE)
        self.samples.append([key, places, record.stratum, record.group])

    def close(self) -> None:
        """Write the shard, if there is one."""
        if not self.samples:
            return
        self.content += bytes(2 * tarfile.BLOCKSIZE)
        name = f"{self.split}-{self.number:06d}.tar"
        digest = hashlib.blake2b(self.content, digest_size=20).hexdigest()
        self.put(name, bytes(self.content))
        described = {"shard": name, "bytes": len(self.content), "blake2b": digest, "samples": self.samples}
        self.shards.setdefault(self.split, []).append(described)
        self.number, self.content, self.samples = self.number + 1, bytearray(), []


def pack(
    data: DatasetIndex,
    out: str | Path,
    shard_bytes: int = SHARD_BYTES,
    size: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    progress: Progress = no_progress,
) -> PackResult:
    """Write a data set as shards that `load_dataset` reads, and that WebDataset's own tools read too.

    OUT gets train-000000.tar, …, and dataset.json, which says what is where; a data set is there only once that
    file is. Of a sample KEY a shard has KEY.jpg (or .png, …), the image's file as it is, and KEY.mask.png, 8-bit gray
    class indices with 255 for "ignore"; of a multi-label sample KEY.mask.0.png, …, 0, 1 and 255, for each class that it
    has. Images are shuffled, so that neighbors in a video lie apart; the same data gives the same bytes.

    Args:
        data: what to pack, all of its splits.
        out: a folder that is not there yet, or a UPath or URL of any fsspec file system.
        shard_bytes: the most that a shard has, unless a single sample has more.
        size: reduce images whose shorter side is longer than this, to JPEGs of quality 95, and their masks.
        seed: settles the order.
        skip_bad: leave out what cannot be read.
        progress: see `Progress`.

    Raises DataError for an image or mask that cannot be read (unless `skip_bad`), or where OUT is there already or
    cannot be written; nothing half-made can be taken for a data set then.
    """
    if size is not None and data.read_spec.channels != 3:
        raise ConfigError(f"size: images of {data.read_spec.channels} channels cannot be reduced; leave it out")
    if not data.val:  # what is trained on will be split, and groups must be kept together then
        data = assign_groups(data)
    skipped: list[DataError] = []
    with _writing(out) as put:
        writer = _Writer(put, shard_bytes)
        count, total = 0, sum(len(getattr(data, split)) for split in SPLITS)
        ordered = _shuffled(data, seed)
        read = prefetch_map(partial(_sample, reading=data.read_spec, size=size), [record for _, record in ordered], 16)
        for (split, record), files in zip(ordered, progress(read, total), strict=True):
            if isinstance(files, DataError):
                if not skip_bad:
                    raise files
                skipped.append(files)
                continue
            if split != writer.split:
                writer.close()
                writer.split, writer.number = split, 0
            writer.add(f"{count:08d}-{_plain(record.image)}", record, files)
            count += 1
        writer.close()
        if not count:
            raise DataError(f"{data.root}: none of its images can be packed" + (f"; {skipped[0]}" if skipped else ""))
        put(INDEX, json.dumps(_index(data, writer.shards, size), ensure_ascii=False).encode())
    shards = [shard for split in writer.shards.values() for shard in split]
    return PackResult(
        str(out),
        tuple(shard["shard"] for shard in shards),
        count,
        sum(shard["bytes"] for shard in shards),
        tuple(skipped),
    )


def _shuffled(data: DatasetIndex, seed: int) -> list[tuple[str, Record]]:
    """All records, split after split, in a random order each."""
    ordered: list[tuple[str, Record]] = []
    for split in SPLITS:
        records = getattr(data, split)
        order = np.random.default_rng(seed).permutation(len(records))
        ordered += [(split, records[index]) for index in order.tolist()]
    return ordered


def _index(data: DatasetIndex, shards: dict[str, list[dict[str, Any]]], size: int | None) -> dict[str, Any]:
    return {
        "format": MARK,
        "version": VERSION,
        "classes": data.classes,
        "palette": data.palette,
        "channels": data.read_spec.channels,
        "bits": data.read_spec.bit_depth if size is None else 16,
        "multilabel": data.read_spec.task is MULTILABEL,
        "splits": shards,
    }


def _sample(record: Record, reading: ReadSpec, size: int | None) -> list[tuple[str, bytes]] | DataError:
    """A sample's files: (what follows the key in the name, content)."""
    try:
        image, mask = read_image_and_mask(record, reading)
        if size is not None and min(mask.shape[-2:]) > size:
            resized, mask = _reduced(image, mask, size)
            content = _encoded(resized, "JPEG", quality=95)
            ending = "jpg"
        else:
            content = record.image.read_bytes()
            ending = open_image(record.image, _suffix) if reading.channels == 3 else "tif"
    except DataError as error:
        return error
    except OSError as error:
        return DataError(f"{record.image}: cannot be read ({error.strerror or error})")
    if mask.ndim == 2:
        return [(ending, content), ("mask.png", _encoded(mask, "PNG"))]
    return [(ending, content)] + [
        (f"mask.{label}.png", _encoded(layer, "PNG")) for label, layer in enumerate(mask) if layer.any()
    ]


def _reduced(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, the shorter side `size`, by the resizing that training uses."""
    from pixelwise.data.resize import resize_image, resize_mask  # torch is not needed else

    height, width = mask.shape[-2:]
    scale = size / min(height, width)
    smaller = (max(size, round(height * scale)), max(size, round(width * scale)))
    resized = resize_image(image, smaller).permute(1, 2, 0).contiguous().numpy()
    return resized, resize_mask(mask, smaller).numpy()


def _suffix(image: Image.Image) -> str:
    name = image.format or "img"
    return _SUFFIXES.get(name, name.lower())


def _encoded(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _plain(source: BytesSource) -> str:
    """A file's name in letters that every tar tool knows, without dots: at the first one WebDataset's keys end."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", Path(source.name).stem)[:60]


@contextmanager
def _writing(out: str | Path) -> Iterator[Any]:
    """A function (name, content) that writes a file of OUT; OUT is there at the end of the block, or not at all."""
    from fsspec.core import url_to_fs

    options = dict(getattr(out, "storage_options", {}))
    try:
        system, path = url_to_fs(str(out), **options)
        there = system.exists(path)
    except Exception as error:
        raise DataError(f"{out}: cannot be reached ({first_line(error)})") from None
    if there:
        raise DataError(f"{out}: is there already; choose another place, or remove it first")
    local = "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))
    folder = Path(path)
    making = folder.with_name(f".{folder.name}.packing-{uuid.uuid4().hex[:12]}")

    def put(name: str, content: bytes) -> None:
        if local:
            (making / name).write_bytes(content)
        else:
            # One request a file; the index comes last, and without it there is no data set.
            system.pipe_file(f"{path.rstrip('/')}/{name}", content)

    try:
        if local:
            making.mkdir(parents=True)
        yield put
        if local:
            making.rename(folder)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{out}: cannot be written ({first_line(error)})") from None
    finally:
        if local:
            shutil.rmtree(making, ignore_errors=True)
