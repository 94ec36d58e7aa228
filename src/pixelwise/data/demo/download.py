"""Find the data set Oxford-IIIT Pet on this machine, download it from its official host, or draw a replacement."""

import hashlib
import http.client
import logging
import os
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pixelwise.data.demo import synthetic
from pixelwise.errors import DataError, first_line
from pixelwise.runtime.files import expand_home, next_free_path, user_cache_folder
from pixelwise.runtime.progress import Progress, no_progress

logger = logging.getLogger(__name__)

NAME = "oxford-iiit-pet"
"""Name of the data set's folder, the same as in torchvision."""

BASE_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
ARCHIVES = {
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
"""File name → MD5 checksum, as published with the data set."""

SYNTHETIC_IMAGES = (300, 150)
"""Numbers of synthetic images for training and testing. Increase `synthetic.VERSION` when you change them."""

STALL_SECONDS = 30.0
"""Time limit in seconds for each wait for data. A download that waits longer fails."""

_CHUNK_BYTES = 1 << 20

_HEADERS = {"User-Agent": "pixelwise"}

_FAILURES = (OSError, http.client.HTTPException, tarfile.TarError, EOFError)


def find_oxford_pets(
    cache: Path | None = None, timeout: float = 5.0, progress: Progress = no_progress
) -> tuple[Path, str]:
    """Return the folder of Oxford-IIIT Pet, or of a synthetic replacement.

    The folder is the first of these that exists or can be created:

    1. the folder `oxford-iiit-pet` in the folder that the environment variable PIXELWISE_DATA names;
    2. a previous download in `cache`;
    3. a download from the official host into `cache`, if the host responds;
    4. the synthetic data set, drawn into `cache` once.

    Args:
        cache: the cache folder. None uses the folder that the environment variable PIXELWISE_CACHE names, else the
            user's cache folder.
        timeout: time in seconds for the host to respond.
        progress: see `Progress`. It counts the MiB of a download, or the drawn images.

    Returns:
        The folder, and one line about its origin for the user.

    Raises:
        DataError: PIXELWISE_DATA does not contain the data set, or the cache is not writable.

    >>> folder, line = find_oxford_pets()  # doctest: +SKIP
    >>> print(line)  # doctest: +SKIP
    data: Oxford-IIIT Pet downloaded before (/home/me/.cache/pixelwise/oxford-iiit-pet)
    """
    if data := os.environ.get("PIXELWISE_DATA"):
        folder = expand_home(data) / NAME
        if not folder.is_dir():
            raise DataError(
                f"PIXELWISE_DATA={data}: has no folder {NAME}; set it to the folder that contains {NAME}/ "
                "(with images/ and annotations/ in it), or unset it"
            )
        return folder, f"data: Oxford-IIIT Pet from PIXELWISE_DATA ({folder})"
    if cache is None:
        cache = user_cache_folder()
    try:
        return _find_in_cache(cache, timeout, progress)
    except OSError as error:  # network errors are handled inside
        raise DataError(
            f"{cache}: cannot be used as the cache ({_reason(error)}); set PIXELWISE_CACHE to a writable folder"
        ) from None


def _find_in_cache(cache: Path, timeout: float, progress: Progress) -> tuple[Path, str]:
    """Try sources 2 to 4 of `find_oxford_pets`. Raise OSError only if the cache cannot be read or written."""
    pets = cache / NAME
    if _is_complete(pets):
        return pets, f"data: Oxford-IIIT Pet downloaded before ({pets})"
    unreachable = _unreachable_reason(f"{BASE_URL}/{next(iter(ARCHIVES))}", timeout)
    failure = f"no network ({unreachable})" if unreachable else _download(pets, progress)
    if failure is None:
        return pets, f"data: Oxford-IIIT Pet downloaded now into {pets}"

    train, test = SYNTHETIC_IMAGES
    replacement = cache / f"drawn-pets-v{synthetic.VERSION}"
    if not replacement.exists():
        logger.info("drawing %d images into %s, once (takes about half a minute) ...", train + test, replacement)
    synthetic.draw_dataset(replacement, train, test, progress=progress)
    return replacement, (
        f"data: {failure}, so synthetic animals ({replacement}); for the real images set "
        f"PIXELWISE_DATA to a folder that contains {NAME}/"
    )


def _is_complete(folder: Path) -> bool:
    """Return True if the folder has all parts of the data set. A copy from elsewhere can lack some."""
    parts = ("images", "annotations/trimaps", "annotations/trainval.txt", "annotations/test.txt")
    return all((folder / part).exists() for part in parts)


def _unreachable_reason(url: str, timeout: float) -> str | None:
    """Return the reason why the host is unreachable within `timeout` seconds, or None if it responds."""
    answers: list[str | None] = []

    def request() -> None:
        try:
            # Reads only the headers.
            with urllib.request.urlopen(urllib.request.Request(url, headers=_HEADERS), timeout=timeout):
                answers.append(None)
        except urllib.error.HTTPError as error:  # the host responds, and the download will report the error
            error.close()
            answers.append(None)
        except Exception as error:
            answers.append(_reason(error))

    # The timeout of a socket does not limit name resolution and redirects. The timeout of `join` does.
    thread = threading.Thread(target=request, name="pixelwise-reachable", daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else f"no answer within {timeout:g} s"


def _download(pets: Path, progress: Progress) -> str | None:
    """Download and unpack the archives as the folder `pets`.

    Returns:
        The reason why the download failed, or None if it succeeded.

    Raises:
        OSError: A folder in the cache cannot be created or renamed.
    """
    pets.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=pets.parent) as scratch:
        folder = Path(scratch) / NAME
        folder.mkdir()
        logger.info("downloading Oxford-IIIT Pet into %s, once ...", pets)
        try:
            for name, checksum in ARCHIVES.items():
                archive = Path(scratch) / name
                _fetch(f"{BASE_URL}/{name}", archive, checksum, progress)
                _extract(archive, folder)
                archive.unlink()
        except _FAILURES as error:
            return f"the download failed ({_reason(error)})"
        try:
            folder.rename(pets)
        except OSError:
            if not _is_complete(pets):  # otherwise another process has downloaded the same files
                pets.rename(next_free_path(pets.with_name(f"{NAME}-incomplete")))
                folder.rename(pets)
    return None


def _fetch(url: str, file: Path, checksum: str, progress: Progress) -> None:
    """Download a file and verify its MD5 checksum.

    torchvision's `download_and_extract_archive` is not used for three reasons. It has no timeout, so a stalled
    connection blocks it forever. It falls back to unencrypted HTTP. It prints a progress bar.
    """
    digest = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers=_HEADERS)
    with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response, file.open("wb") as out:
        for chunk in progress(_chunks(response), -(-(response.length or 0) // _CHUNK_BYTES)):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != checksum:
        raise OSError(f"{url}: wrong checksum")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK_BYTES):
        yield chunk


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def _reason(error: Exception) -> str:
    """Return an error as a short text without line breaks."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    text = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return text.rstrip(".")
