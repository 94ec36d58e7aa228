"""Packing of a data set into shards: tar files in WebDataset's layout, in a local folder or at a URL."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.formats.webdataset import INDEX, MARK, VERSION
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.pack_output import WriteFile, open_output
from pixelwise.data.schema import SPLITS, BytesSource, ReadSpec, Record, Split
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

SHARD_BYTES = 64 * 2**20
"""Default maximum size of a shard in bytes."""

_PREFETCHED_SAMPLES = 16

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
"""Pillow's format name → file suffix, for formats whose suffix is not the name in lower case."""

Files = list[tuple[str, bytes]]
"""The files of a sample, the image first, as pairs (suffix after the key, content)."""


@dataclass(frozen=True)
class PackResult:
    """The output of `pack`.

    Attributes:
        out: folder or URL.
        shards: names of the tar files.
        samples: number of samples in all shards.
        bytes: total size of all shards in bytes.
        skipped: the errors of the records that were left out.
    """

    out: str
    shards: tuple[str, ...]
    samples: int
    bytes: int
    skipped: tuple[DataError, ...] = ()

    def __repr__(self) -> str:
        """Return the output and the numbers of shards, samples, bytes and skipped records."""
        counts = f"shards={len(self.shards)}, samples={self.samples}, bytes={self.bytes}, skipped={len(self.skipped)}"
        return f"PackResult(out={self.out!r}, {counts})"


def pack(
    data: DatasetIndex,
    out: str | Path | RemoteFile,
    shard_bytes: int = SHARD_BYTES,
    image_size: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    progress: Progress = no_progress,
) -> PackResult:
    """Write a data set as shards, which `load_dataset` and WebDataset's own tools can read.

    `out` contains the shards train-000000.tar, … and the index dataset.json. The index is written last, so a data set
    without it is incomplete. If a remote `pack` was stopped, the next one to the same URL replaces its output.

    A shard has two files of a sample KEY. KEY.jpg (or .png, …) is the unchanged image file. KEY.mask.png has 8-bit gray
    class indices, and 255 for "ignore". A multi-label sample has a file KEY.mask.0.png, … with the values 0, 1 and 255
    for each class with pixels.

    The images of each split are shuffled, so that consecutive frames of a video are far apart. The same data, options
    and seed give the same bytes.

    Args:
        data: the data set. All its splits are packed.
        out: a new local folder, or the URL of a new folder on any file system that fsspec can write.
        shard_bytes: maximum size of a shard in bytes. Only a shard with a single sample can be larger.
        image_size: maximum shorter side of images in pixels. Larger images and their masks are resized to it, and the
            images saved as JPEG of quality 95. None packs all image files unchanged.
        seed: random seed of the order.
        skip_unreadable: leave out records that cannot be read instead of raising an error.
        progress: see `Progress`.

    Returns:
        The names of the shards, their total size, and the errors of the records that were left out.

    Raises:
        DataError: An image or mask cannot be read (unless `skip_unreadable`), no record can be packed, or `out` cannot
            be reached.
        OutputExistsError: `out` exists already.
        OutputError: `out` cannot be written.
        ConfigError: `data` is not a data set, or `image_size` is given for images that do not have 3 channels.
    """
    check_index(data)
    if data.sets:
        raise DataError(f"{data.root}: joined data sets cannot be packed; pack each by itself, and join the shards")
    if image_size is not None and data.read_spec.channels != 3:
        raise ConfigError(f"`image_size`: images of {data.read_spec.channels} channels cannot be resized; leave it out")
    if not data.val:  # training needs the groups when it splits off validation images
        data = assign_groups(data)
    with open_output(out) as write_file:
        writer = _ShardWriter(write_file, shard_bytes)
        skipped = _write_samples(writer, data, _read_samples(data, image_size, seed, progress), skip_unreadable)
        write_file(INDEX, json.dumps(_index(data, writer.shards, image_size), ensure_ascii=False).encode())
    shards = [shard for split in writer.shards.values() for shard in split]
    return PackResult(
        out=str(out),
        shards=tuple(shard["shard"] for shard in shards),
        samples=writer.sample_count,
        bytes=sum(shard["bytes"] for shard in shards),
        skipped=tuple(skipped),
    )


def _read_samples(
    data: DatasetIndex, image_size: int | None, seed: int, progress: Progress
) -> Iterator[tuple[Split, Record, Files | DataError]]:
    """Yield the samples of one split after the other, each split in random order."""
    order: list[tuple[Split, Record]] = []
    for split in SPLITS:
        records: tuple[Record, ...] = getattr(data, split)
        indices = np.random.default_rng(seed).permutation(len(records)).tolist()
        order += [(split, records[index]) for index in indices]
    encode = partial(_encode_sample, read_spec=data.read_spec, image_size=image_size)
    samples = prefetch_map(encode, [record for _, record in order], _PREFETCHED_SAMPLES)
    for (split, record), files in zip(order, progress(samples, len(order)), strict=True):
        yield split, record, files


def _write_samples(
    writer: "_ShardWriter",
    data: DatasetIndex,
    samples: Iterator[tuple[Split, Record, Files | DataError]],
    skip_unreadable: bool,
) -> list[DataError]:
    """Write samples to shards. Return the errors of the samples that are left out."""
    skipped: list[DataError] = []
    for split, record, files in samples:
        if isinstance(files, DataError):
            if not skip_unreadable:
                raise files
            skipped.append(files)
        else:
            writer.add(split, record, files)
    writer.close()
    if not writer.sample_count:
        raise DataError(f"{data.root}: none of its images can be packed" + (f"; {skipped[0]}" if skipped else ""))
    return skipped


def _index(data: DatasetIndex, shards: dict[str, list[dict[str, Any]]], image_size: int | None) -> dict[str, Any]:
    return {
        "format": MARK,
        "version": VERSION,
        "classes": data.classes,
        "palette": data.palette,
        "channels": data.read_spec.channels,
        "bits": data.read_spec.bit_depth if image_size is None else 16,
        "multilabel": data.read_spec.task is MULTILABEL,
        "splits": shards,
    }


@dataclass
class _ShardWriter:
    """Collects samples in a shard, writes full shards, and records them for the index."""

    write_file: WriteFile
    max_bytes: int
    split: str = ""
    number: int = 0
    sample_count: int = 0
    content: bytearray = field(default_factory=bytearray)
    samples: list[list[Any]] = field(default_factory=list)
    shards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, split: str, record: Record, files: Files) -> None:
        """Add a sample. Start a new shard if the split is new or if the sample does not fit into the current shard."""
        blocks = sum(1 + -(-len(content) // tarfile.BLOCKSIZE) for _, content in files) + 2
        is_full = self.content and len(self.content) + blocks * tarfile.BLOCKSIZE > self.max_bytes
        if split != self.split or is_full:
            self.close()
        if split != self.split:
            self.split, self.number = split, 0
        key = f"{self.sample_count:08d}-{_key_of(record.image)}"
        places = []
        for ending, content in files:
            header = tarfile.TarInfo(f"{key}.{ending}")
            header.size = len(content)
            self.content += header.tobuf(tarfile.USTAR_FORMAT, "ascii")
            places.append([ending, len(self.content), len(content)])
            self.content += content + bytes(-len(content) % tarfile.BLOCKSIZE)
        self.samples.append([key, places, record.stratum, record.group])
        self.sample_count += 1

    def close(self) -> None:
        """Write the current shard if it has samples."""
        if not self.samples:
            return
        self.content += bytes(2 * tarfile.BLOCKSIZE)
        name = f"{self.split}-{self.number:06d}.tar"
        digest = hashlib.blake2b(self.content, digest_size=20).hexdigest()
        self.write_file(name, bytes(self.content))
        entry = {"shard": name, "bytes": len(self.content), "blake2b": digest, "samples": self.samples}
        self.shards.setdefault(self.split, []).append(entry)
        self.number, self.content, self.samples = self.number + 1, bytearray(), []


def _encode_sample(record: Record, read_spec: ReadSpec, image_size: int | None) -> Files | DataError:
    """Return the files of a sample, or the error if the record cannot be read."""
    try:
        image, mask = read_image_and_mask(record, read_spec)
        if image_size is not None and min(mask.shape[-2:]) > image_size:
            image, mask = _reduce(image, mask, image_size)
            content, ending = _encode_image(image, "JPEG", quality=95), "jpg"
        else:
            content = record.image.read_bytes()
            ending = open_image(record.image, _suffix) if read_spec.channels == 3 else "tif"
    except DataError as error:
        return error
    except OSError as error:
        return DataError(f"{record.image}: cannot be read ({error.strerror or error})")
    if read_spec.task is not MULTILABEL:
        return [(ending, content), ("mask.png", _encode_image(mask, "PNG"))]
    channels = [(index, channel) for index, channel in enumerate(mask) if channel.any()]
    return [(ending, content)] + [(f"mask.{index}.png", _encode_image(channel, "PNG")) for index, channel in channels]


def _reduce(image: np.ndarray, mask: np.ndarray, shorter_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image and its mask with the functions of training, to a shorter side of this many pixels."""
    from pixelwise.data.resize import resize_image, resize_mask  # imported here, because it imports torch

    height, width = mask.shape[-2:]
    scale = shorter_side / min(height, width)
    size = (max(shorter_side, round(height * scale)), max(shorter_side, round(width * scale)))
    resized = resize_image(image, size).permute(1, 2, 0).contiguous().numpy()
    return resized, resize_mask(mask, size).numpy()


def _suffix(image: Image.Image) -> str:
    name = image.format or "img"
    return _SUFFIXES.get(name, name.lower())


def _encode_image(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _key_of(source: BytesSource) -> str:
    """Return at most 60 characters of a file's stem, with "_" for every character other than A-Z, a-z, 0-9, _ and -.

    Dots are replaced too, because a key in WebDataset ends at the first dot.
    """
    return re.sub(r"[^A-Za-z0-9_-]", "_", Path(source.name).stem)[:60]
