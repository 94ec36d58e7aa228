"""Find the images in a folder at a URL, or those that a pattern such as s3://bucket/images/*.jpg matches."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.data.io.image_formats import IMAGE_SUFFIXES
from pixelwise.data.io.network import check_url, is_http, retry_once
from pixelwise.data.io.remote import RemoteFile, file_system, open_url
from pixelwise.errors import DataError, first_line
from pixelwise.inference.folder_files import OUTPUT_STEM
from pixelwise.inference.inputs import UrlImage
from pixelwise.runtime.disk_list import DiskList
from pixelwise.runtime.windows import portable_name

T = TypeVar("T")

_VERSION_KEYS = ("ETag", "etag", "blob_id")
"""Keys of the version of a file: S3; Google Cloud and Azure; the Hugging Face hub. A time is no version, because two
contents can have the same."""

_REPORTS = ("predictions.json", "predictions.jsonl")
"""Files in a folder of predictions."""


def names_many(url: str) -> bool:
    """Return True if a URL is a pattern or that of a folder. Web addresses are neither.

    A URL whose name has no suffix is looked up.

    Raises:
        DataError: The protocol is not allowed, its package is not installed, or the URL cannot be looked up.
    """
    check_url(url)
    if is_http(url) or isinstance(open_url(url), Path):
        return False
    name = url.rstrip("/").rpartition("/")[2]
    if url.endswith("/") or "*" in url:
        return True
    return "." not in name and _ask(url, lambda system, path: bool(system.isdir(path)))


def find_at_url(url: str) -> tuple[Sequence[tuple[UrlImage, Path]], str]:
    """Find the images in a folder at a URL at any depth, or those that a pattern matches.

    Images are files with the suffixes that training reads. Files that an earlier prediction has written are left out.

    Args:
        url: the URL of a folder, or a pattern: "*" stands for any characters but "/", "**" for any folders.

    Returns:
        Each image with its name for output files, relative to the folder or to the fixed part of the pattern; and a
        description of the files that are left out, empty if there are none.

    Raises:
        DataError: There are no images, or the folder cannot be listed.
    """
    is_pattern = "*" in url

    def find(system: Any, path: str) -> dict[str, str]:
        system.invalidate_cache()
        try:
            files = system.glob(path, detail=True) if is_pattern else system.find(path, detail=True)
        except FileNotFoundError:
            return {}
        root = _fixed_part(path)
        # Each entry is removed when its version is known, because the entries of all files need much memory.
        return {file.removeprefix(f"{root}/"): content_version(files.pop(file)) for file in sorted(files)}

    versions = _ask(url, find)
    images, left_out = _sort(versions)
    if not images:
        content = f"only {left_out}" if left_out else "there is no file"
        raise DataError(f"{url}: no images at this URL ({content})")
    address = _fixed_part(url)
    found = ((UrlImage(RemoteFile(f"{address}/{name}"), versions[name]), _output_name(name)) for name in images)
    return DiskList(found), left_out


def content_version(entry: Mapping[str, Any]) -> str:
    """Return the version of a file in the listing of a file system, or an empty text if it has none.

    >>> content_version({"name": "bucket/a.png", "ETag": '"5d41"'}), content_version({"name": "a.png", "mtime": 1.5})
    ('"5d41"', '')
    """
    return next((str(entry[key]) for key in _VERSION_KEYS if entry.get(key)), "")


def _fixed_part(path: str) -> str:
    """Return the part of a pattern before the first name with "*", without a slash at its end.

    >>> _fixed_part("s3://bucket/a/*/b.jpg"), _fixed_part("s3://bucket/a/")
    ('s3://bucket/a', 's3://bucket/a')
    """
    if "*" in path:
        path = path[: path.index("*")].rpartition("/")[0]
    return path.rstrip("/")


def _sort(names: Iterable[str]) -> tuple[list[str], str]:
    """Return the images among the names of files, and a description of the others."""
    outputs = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in _REPORTS}
    images: list[str] = []
    others: Counter[str] = Counter()
    for name in names:
        path = Path(name)
        suffix = path.suffix.lower().removeprefix(".")
        folders = {"" if parent == Path() else parent.as_posix() for parent in path.parents}
        if OUTPUT_STEM.fullmatch(path.stem) and outputs & folders:
            others["outputs of an earlier prediction"] += 1
        elif suffix in IMAGE_SUFFIXES:
            images.append(name)
        else:
            others[f".{suffix}" if suffix else "without suffix"] += 1
    return images, ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))


def _output_name(name: str) -> Path:
    return Path(*map(portable_name, name.split("/"))).with_suffix("")


def _ask(url: str, use: Callable[[Any, str], T]) -> T:
    """Call a function with the file system and the path of a URL. Convert its errors to DataErrors."""
    try:
        return retry_once(url, lambda: use(*file_system(url, {})))
    except Exception as error:  # each protocol has its own exceptions, for example for the network or for keys
        raise DataError(
            f"{url}: cannot be listed ({first_line(error)}); check the URL, its keys and the network"
        ) from None
