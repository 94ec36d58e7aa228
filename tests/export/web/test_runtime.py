"""The package file of ONNX Runtime Web: the cache, the download, and what is refused."""

import io
import logging
import urllib.error
from pathlib import Path

import pytest

from pixelwise.errors import ConfigError
from pixelwise.export.web import runtime
from pixelwise.export.web.runtime import ARCHIVE, CPU_FILES, GPU_FILES, LICENSES, URL, read_runtime


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder."""
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answer(monkeypatch: pytest.MonkeyPatch, result: bytes | Exception) -> list[str]:
    """Let downloads give these bytes or raise this error. Return the list of the requested URLs."""
    requested = []

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        requested.append(request.full_url)
        if isinstance(result, Exception):
            raise result
        return io.BytesIO(result)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return requested


def test_it_is_downloaded_once(
    archive: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requested = answer(monkeypatch, archive.read_bytes())
    with caplog.at_level(logging.INFO):
        files = read_runtime()
    assert set(files) == {*CPU_FILES, *GPU_FILES, *LICENSES}
    assert b"MIT License" in files["LICENSE"]
    assert files["ort-wasm-simd-threaded.wasm"].startswith(b"\0asm")
    assert caplog.messages == [f"downloading ONNX Runtime Web 1.30.0 (33 MB) into {cache / ARCHIVE}, once ..."]
    monkeypatch.setattr(runtime, "CPU_FILES", ())  # to unpack them takes a second
    monkeypatch.setattr(runtime, "GPU_FILES", ("ort.min.mjs",))
    assert read_runtime()["ort.min.mjs"] == files["ort.min.mjs"] == read_runtime(archive)["ort.min.mjs"]
    assert requested == [URL]
    (cache / ARCHIVE).write_bytes(b"damaged")
    assert read_runtime()["ort.min.mjs"] == files["ort.min.mjs"]
    assert requested == [URL, URL]
    assert (cache / ARCHIVE).read_bytes() == archive.read_bytes()


def test_without_a_network_the_error_names_the_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, urllib.error.URLError(OSError("name resolution failed")))
    with pytest.raises(ConfigError) as caught:
        read_runtime()
    assert str(caught.value) == (
        f"ONNX Runtime Web cannot be downloaded (name resolution failed); download {URL} on another machine and name "
        "the file with `runtime`"
    )
    assert not cache.exists()


def test_another_file_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"something else")
    with pytest.raises(ConfigError, match="has another checksum than the pinned file"):
        read_runtime()
    assert not cache.exists()
    (tmp_path / ARCHIVE).write_bytes(b"something else")
    with pytest.raises(ConfigError, match=rf"{ARCHIVE}: is not the file https://.*, or is damaged"):
        read_runtime(tmp_path / ARCHIVE)
    with pytest.raises(ConfigError, match=r"missing\.tgz: cannot be read \(No such file or directory\)"):
        read_runtime(tmp_path / "missing.tgz")


def test_an_http_error_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, urllib.error.HTTPError(URL, 503, "Service Unavailable", {}, None))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"cannot be downloaded \(Service Unavailable\)"):
        read_runtime()


def test_the_hash_is_checked_on_all_bytes(archive: Path) -> None:
    content = archive.read_bytes()
    assert runtime.is_pinned(content)
    assert not runtime.is_pinned(content[:-1])
