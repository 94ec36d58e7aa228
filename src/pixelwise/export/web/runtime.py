"""ONNX Runtime Web, which computes the masks in a browser: one pinned file of the npm registry, downloaded once."""

import base64
import hashlib
import http.client
import io
import logging
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from pixelwise.errors import ConfigError, first_line
from pixelwise.inference.exported.onnx_file import import_onnxruntime
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.files import expand_home, user_cache_folder

logger = logging.getLogger(__name__)

VERSION = "1.30.0"
"""The version of ONNX Runtime Web."""

ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
"""The name of its package file."""

URL = f"https://registry.npmjs.org/onnxruntime-web/-/{ARCHIVE}"

INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""The hash of the package file, as npm states it."""

CPU_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The files that compute on the processor."""

GPU_FILES = ("ort.min.mjs", "ort-wasm-simd-threaded.jsep.mjs", "ort-wasm-simd-threaded.jsep.wasm")
"""The files that compute on the graphics processor."""

LICENSES = ("LICENSE", "ThirdPartyNotices.txt")
"""The license of ONNX Runtime, and those of its parts. Its Python package has them, and its npm package does not."""

STALL_SECONDS = 30.0
"""Time limit in seconds for each wait for data."""


def read_runtime(source: str | Path | None = None) -> dict[str, bytes]:
    """Return the files of ONNX Runtime Web and its licenses.

    Args:
        source: the package file `ARCHIVE`. None takes the one in the user's cache folder, which is downloaded if it is
            not there.

    Returns:
        File name → content.

    Raises:
        ConfigError: The file cannot be downloaded or read, or it is another file than the pinned one. Or onnxruntime is
            not installed.
    """
    try:
        onnxruntime = import_onnxruntime()  # its package has the licenses
    except ImportError:
        raise ConfigError("the page needs onnxruntime; pip install 'pixelwise[onnx]'") from None
    content = _cached() if source is None else _read(expand_home(source))
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in (*CPU_FILES, *GPU_FILES):
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            files[name] = member.read()
    folder = Path(onnxruntime.__file__).parent
    return {**files, **{name: (folder / name).read_bytes() for name in LICENSES}}


def is_pinned(content: bytes) -> bool:
    """Return True if a file has the hash `INTEGRITY`."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}" == INTEGRITY


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `runtime` must be {ARCHIVE}") from None
    if not is_pinned(content):
        raise ConfigError(f"{path}: is not the file {URL}, or is damaged; download it again")
    return content


def _cached() -> bytes:
    """Return the package file in the cache. Download it if it is missing or damaged."""
    path = user_cache_folder() / ARCHIVE
    if path.is_file():
        content = path.read_bytes()
        if is_pinned(content):
            return content
    logger.info("downloading ONNX Runtime Web %s (33 MB) into %s, once ...", VERSION, path)
    content = _download()
    with atomic_write(path) as part:
        part.write_bytes(content)
    return content


def _download() -> bytes:
    fix = f"download {URL} on another machine and name the file with `runtime`"
    try:
        request = urllib.request.Request(URL, headers={"User-Agent": "pixelwise"})
        with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        text = first_line(reason) if isinstance(reason, Exception) else str(reason)
        raise ConfigError(f"ONNX Runtime Web cannot be downloaded ({text}); {fix}") from None
    if not is_pinned(content):
        raise ConfigError(f"{URL}: has another checksum than the pinned file; {fix}")
    return content
