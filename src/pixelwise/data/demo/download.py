"""Where `pixelwise demo` finds Oxford-IIIT Pet: on this machine, at its official host, or drawn here."""

import http.client
import os
import socket
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from pixelwise.data.demo import synthetic as drawn
from pixelwise.errors import DataError
from pixelwise.runtime.files import next_free_path

NAME = "oxford-iiit-pet"
"""The data set's folder, as torchvision calls it."""


DRAWN_IMAGES = (300, 150)
"""How many images are drawn for training and for testing. Whoever changes it raises drawn.VERSION too."""


STALL_SECONDS = 30.0
"""A download from which nothing comes for this long has failed."""


_FAILURES = (OSError, http.client.HTTPException, tarfile.TarError, RuntimeError)
"""What torchvision's download raises: RuntimeError is its word for a wrong checksum."""


def find_oxford_pets(cache: Path | None = None, timeout: float = 5.0) -> tuple[Path, str]:
    """The folder of Oxford-IIIT Pet, or of its drawn stand-in, and one line that says where it comes from.

    Tried in this order:
    1. the folder `oxford-iiit-pet` in the folder that the environment variable PIXELWISE_DATA names;
    2. the copy downloaded before into `cache`;
    3. a download from the official host into `cache`, if the host answers within `timeout` seconds;
    4. the drawn data set, made in `cache` once.

    `cache` is by default the folder that PIXELWISE_CACHE names, else the user's cache folder. During a
    download Python's default timeout of new sockets is STALL_SECONDS, for the whole process.

    Raises DataError where PIXELWISE_DATA does not hold the data set, or the cache cannot be written.

    >>> folder, line = find_oxford_pets()  # doctest: +SKIP
    >>> print(line)  # doctest: +SKIP
    data: Oxford-IIIT Pet downloaded before (/home/me/.cache/pixelwise/oxford-iiit-pet)
    """
    named = os.environ.get("PIXELWISE_DATA")
    if named:
        folder = Path(named).expanduser() / NAME
        if not folder.is_dir():
            raise DataError(
                f"PIXELWISE_DATA={named}: holds no folder {NAME}; set it to the folder that holds {NAME}/ "
                "(with images/ and annotations/ in it), or unset it"
            )
        return folder, f"data: Oxford-IIIT Pet from PIXELWISE_DATA ({folder})"
    if cache is None:
        chosen = os.environ.get("PIXELWISE_CACHE")
        cache = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("pixelwise")
    try:
        return _find_in(cache, timeout)
    except OSError as error:  # the network's own are dealt with inside
        raise DataError(
            f"{cache}: cannot be used as the cache ({_reason(error)}); set PIXELWISE_CACHE to a folder "
            "that can be written"
        ) from None


def _find_in(cache: Path, timeout: float) -> tuple[Path, str]:
    """Sources 2 to 4. Raises OSError only where the cache cannot be read or written."""
    from torchvision.datasets import OxfordIIITPet

    kept = cache / NAME
    if _is_whole(kept):
        return kept, f"data: Oxford-IIIT Pet downloaded before ({kept})"
    silence = _silence(OxfordIIITPet._RESOURCES[0][0], timeout)
    failure = f"no network ({silence})" if silence else _download(kept)
    if failure is None:
        return kept, f"data: Oxford-IIIT Pet downloaded now into {kept}"

    train, test = DRAWN_IMAGES
    stand_in = cache / f"drawn-pets-v{drawn.VERSION}"
    if not stand_in.exists():
        _say(f"drawing {train + test} images into {stand_in}, once (takes about half a minute) ...")
    drawn.draw_dataset(stand_in, train, test)
    return stand_in, (
        f"data: {failure}, so the built-in drawn animals ({stand_in}); for the real images set "
        f"PIXELWISE_DATA to a folder that holds {NAME}/"
    )


def _is_whole(folder: Path) -> bool:
    """Whether the download ended. Ours get their name only then; a half copy from elsewhere is caught too."""
    parts = ("images", "annotations/trimaps", "annotations/trainval.txt", "annotations/test.txt")
    return all((folder / part).exists() for part in parts)


def _silence(url: str, timeout: float) -> str | None:
    """Why the host of a URL does not answer within `timeout` seconds in all; None where it does."""
    from torchvision.datasets.utils import USER_AGENT

    answers: list[str | None] = []

    def ask() -> None:
        # Only the answer's head is read. It is what torchvision will ask for, through the same proxies.
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
        try:
            with urllib.request.urlopen(request, timeout=timeout):
                answers.append(None)
        except urllib.error.HTTPError as error:  # an answer, though a bad one: the download will tell
            error.close()
            answers.append(None)
        except Exception as error:
            answers.append(_reason(error))

    # A socket's timeout bounds neither the look-up of the name nor a chain of redirects: the thread does.
    thread = threading.Thread(target=ask, name="pixelwise-reachable", daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else f"no answer within {timeout:g} s"


def _download(kept: Path) -> str | None:
    """Download the official archives and unpack them as `kept`; returns why that failed, None if it did not.

    torchvision checks their sums and shows its progress bar. Raises OSError where the cache cannot be
    written.
    """
    from torchvision.datasets import OxfordIIITPet

    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=kept.parent) as scratch:
        _say(f"downloading Oxford-IIIT Pet into {kept}, once ...")
        try:
            with _stalls_raise():
                OxfordIIITPet(scratch, download=True)
        except _FAILURES as error:
            return f"the download failed ({_reason(error)})"
        made = Path(scratch) / NAME
        for url, _ in OxfordIIITPet._RESOURCES:
            (made / url.rpartition("/")[2]).unlink()
        try:
            made.rename(kept)
        except OSError:
            if not _is_whole(kept):  # else another process was quicker, and its copy is as good
                kept.rename(next_free_path(kept.with_name(f"{NAME}-incomplete")))
                made.rename(kept)
    return None


@contextmanager
def _stalls_raise() -> Iterator[None]:
    """Let new sockets raise when nothing comes for STALL_SECONDS: torchvision's download sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    """An error in a few words, on one line."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
