"""The files of a page, the folders that are replaced, and the server, without a browser."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.export import export
from pixelwise.export.export import export_model
from pixelwise.export.onnx_exporter import OnnxModel
from pixelwise.export.web import exporter
from pixelwise.export.web.exporter import WebFolder
from pixelwise.export.web.folder import check_images, is_page, write_page
from pixelwise.export.web.runtime import CPU_FILES, GPU_FILES, LICENSES
from pixelwise.export.web.server import serve
from pixelwise.inference.exported.self_test import verify
from pixelwise.models.config import ModelConfig
from tests.export.helpers import make_config, make_network
from tests.inference.helpers import contents

RUNTIME = {name: name.encode() for name in (*CPU_FILES, *GPU_FILES, *LICENSES)}


def make_page(folder: Path, config: ModelConfig, model: bytes = b"model") -> Path:
    """Write a page with a file that is no model."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    write_page(folder, config, RUNTIME, CPU_FILES)
    return folder


def kept_files(folder: Path) -> list[str]:
    """Return the files that the service worker keeps at the first visit."""
    found = re.search(r"const FILES = (\[.+\]);", (folder / "service-worker.js").read_text())
    assert found is not None
    return list(json.loads(found[1]))


def cache_name(folder: Path) -> str:
    """Return the last part of the name of the service worker's cache."""
    found = re.search(r'"-([0-9a-f]{16})";', (folder / "service-worker.js").read_text())
    assert found is not None
    return found[1]


def test_the_service_worker_keeps_files_that_exist(tmp_path: Path) -> None:
    folder = make_page(tmp_path / "page", make_config())
    kept = kept_files(folder)
    assert kept[0] == "./" and all((folder / name).is_file() for name in kept[1:])
    assert {"page.js", "model.onnx", "ort/ort-wasm-simd-threaded.wasm"} < set(kept)
    assert set(contents(folder / "ort")) == set(RUNTIME)


def test_another_model_has_another_cache(tmp_path: Path) -> None:
    first = cache_name(make_page(tmp_path / "a", make_config()))
    assert first == cache_name(make_page(tmp_path / "b", make_config()))
    assert first != cache_name(make_page(tmp_path / "c", make_config(), b"other"))


def test_class_names_cannot_end_the_settings(tmp_path: Path) -> None:
    names = ("</script><script>alert(1)</script>", "background", "c")
    folder = make_page(tmp_path / "page", make_config().model_copy(update={"classes": names}))
    text = (folder / "index.html").read_text()
    found = re.search(r'<script type="application/json" id="settings">(.*?)</script>', text)
    assert found is not None
    settings = json.loads(found[1])
    assert settings == {"title": f"Find {names[0]}, c", "background": [1], "runtime": "1.30.0"}
    assert text.count("<script") == 2


def test_models_of_bands_are_refused() -> None:
    check_images(make_config())
    for config in (make_config(channels=4), make_config(band_ranges=((0.0, 9.0),) * 3)):
        with pytest.raises(ConfigError, match=r"browsers decode RGB images of 8 bits only; export it to onnx"):
            check_images(config)


def test_8_bit_integers_are_refused(tmp_path: Path) -> None:
    folder = WebFolder(OnnxModel(make_network(make_config()), make_config()), RUNTIME)
    with pytest.raises(ConfigError, match="8-bit integers give other masks in WebAssembly than here; export without"):
        folder.quantized([])
    with pytest.raises(ConfigError, match="export without `int8`"):
        export_model(tmp_path / "a run that is not opened", tmp_path / "page", "web", int8=True)


def test_export_replaces_a_page_and_nothing_else(
    small_sizes: None, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "read_runtime", lambda _: RUNTIME)
    out = tmp_path / "page"
    result = export_model(run, out, "web")
    assert is_page(out) and verify(out / "model.onnx").is_passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "page-report.json", "page-report.png"]
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert json.loads(result.report.read_text())["bytes"] == size
    monkeypatch.setattr(export, "load_model", lambda _: pytest.fail("must be refused before"))
    with pytest.raises(OutputExistsError, match="page: exists already"):
        export_model(run, out, "web")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("mine")
    with pytest.raises(OutputExistsError, match="mine: has other files than those of a page"):
        export_model(run, mine, "web", overwrite=True)
    assert contents(mine) == {"index.html": b"mine"}
    with pytest.raises(ConfigError, match="`runtime` is for the target web; leave it out for onnx"):
        export_model(run, tmp_path / "model.onnx", "onnx", runtime=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(exporter, "read_runtime", lambda _: RUNTIME)
    (out / "page.js").write_text("old")
    export_model(run, out, "web", overwrite=True)
    assert (out / "page.js").read_text() != "old"


def test_the_server_sends_types_and_headers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_page(tmp_path / "page", make_config())
    types = {
        "": "text/html; charset=utf-8",
        "page.js": "text/javascript",
        "ort/ort.wasm.min.mjs": "text/javascript",
        "ort/ort-wasm-simd-threaded.wasm": "application/wasm",
    }
    with serve(folder) as url:
        assert url.startswith("http://127.0.0.1:")
        for name, kind in types.items():
            with urllib.request.urlopen(url + name, timeout=10) as response:
                assert response.headers["Content-Type"] == kind
                assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        port = int(url.rstrip("/").rpartition(":")[2])
        with (
            pytest.raises(ConfigError, match=rf"port {port} cannot be used \(.*\); choose another `port`"),
            serve(folder, port),
        ):
            pass
    with pytest.raises(ConfigError, match="port 70000 cannot be used"), serve(folder, 70000):
        pass
    assert capsys.readouterr() == ("", "")
