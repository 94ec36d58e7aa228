"""`pixelwise try`: the page is served until Ctrl-C."""

import urllib.request
from pathlib import Path

import pytest

from pixelwise.export import export, parity
from pixelwise.export.web import preview
from pixelwise.export.web.runtime import CPU_FILES, GPU_FILES, LICENSES
from tests.cli.helpers import RunCommand, assert_one_line_error
from tests.export.helpers import assert_not_imported, make_config, write_file
from tests.inference.conftest import make_model


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use empty files instead of ONNX Runtime Web, and a cache folder of the test."""
    monkeypatch.setattr(preview, "read_runtime", lambda _: dict.fromkeys((*CPU_FILES, *GPU_FILES, *LICENSES), b""))
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Return the list of opened pages: URL and model. Ctrl-C is pressed after a page was opened."""
    pages: list[tuple[str, bytes]] = []

    def open_page(url: str) -> bool:
        with urllib.request.urlopen(f"{url}model.onnx", timeout=10) as response:
            pages.append((url, response.read()))
        return len(pages) == 1

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_page)
    monkeypatch.setattr("time.sleep", interrupt)
    return pages


def test_a_file_is_served_until_ctrl_c(run_cli: RunCommand, tmp_path: Path, opened: list[tuple[str, bytes]]) -> None:
    file = write_file(tmp_path / "model.onnx", make_config())
    result = run_cli("try", file)
    assert (result.code, result.err) == (0, "")
    ((url, model),) = opened
    assert result.out == f"page: {url} (Ctrl-C ends it)\n"
    assert model == file.read_bytes()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=10)
    assert "no browser was found; open the page in one\n" in run_cli("try", file).out
    assert run_cli("try", file, "--no-browser").code == 0
    assert len(opened) == 2


def test_a_file_is_served_without_torch() -> None:
    code = "import pixelwise.cli.try_, pixelwise.export.web.preview, pixelwise.export.web.server"
    assert_not_imported(code, "torch")


def test_a_run_is_exported_once(
    run_cli: RunCommand, tmp_path: Path, opened: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ODD_SIZES", {"one pixel": (1, 1)})
    monkeypatch.setattr(export, "SIZES", ((20, 30),))
    monkeypatch.setattr(preview, "MAX_CACHED", 1)
    cache = tmp_path / "cache" / "exported"
    cache.mkdir(parents=True)
    for name in ("old.onnx", "old.onnx-report.json", "old.onnx-report.png"):
        (cache / name).write_text("old")
    run = tmp_path / "run"
    run.mkdir()
    make_model(("pet", "background", "border")).save(run)
    assert run_cli("try", run).code == 0
    (exported,) = cache.glob("*.onnx")
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".onnx", ".png"]
    time = exported.stat().st_mtime_ns
    assert run_cli("try", run).code == 0
    assert exported.stat().st_mtime_ns == time
    assert [model for _, model in opened] == [exported.read_bytes()] * 2


def test_wrong_input_is_one_line(run_cli: RunCommand, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.onnx", make_config())
    assert_one_line_error(run_cli("try", file, "--port", "70000"), "port 70000 cannot be used", "choose another --port")
    assert_one_line_error(run_cli("try", tmp_path / "missing.onnx"), "missing.onnx: cannot be read")
    assert_one_line_error(run_cli("try", tmp_path / "missing"), "no such run directory")
    bands = write_file(tmp_path / "bands.onnx", make_config(channels=4))
    assert_one_line_error(run_cli("try", bands), "browsers decode RGB images of 8 bits only")
