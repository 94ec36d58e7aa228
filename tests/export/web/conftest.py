"""A page in a real browser. Without Chromium, playwright or the package file of ONNX Runtime Web, its tests skip."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

from pixelwise.export.export import export_model
from pixelwise.export.web.runtime import ARCHIVE, read_runtime
from pixelwise.export.web.server import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def archive() -> Path:
    """Return the package file in the user's cache folder, or the file that PIXELWISE_WEB_RUNTIME names."""
    path = Path(os.environ.get("PIXELWISE_WEB_RUNTIME") or platformdirs.user_cache_path("pixelwise") / ARCHIVE)
    if not path.is_file():
        pytest.skip(f"needs {ARCHIVE} in the user's cache folder")
    return path


@pytest.fixture(scope="session")
def runtime(archive: Path) -> dict[str, bytes]:
    """Return the files of ONNX Runtime Web."""
    return read_runtime(archive)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Start Chromium with an emulated camera and an emulated graphics processor."""
    api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs Chromium")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def folder(small_sizes: None, run: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the run as a page."""
    return export_model(run, tmp_path_factory.mktemp("page") / "pets", "web", runtime=archive).path


@pytest.fixture(scope="package")
def url(folder: Path) -> Iterator[str]:
    """Serve the page."""
    with serve(folder) as url:
        yield url


@pytest.fixture(scope="package")
def opened(browser: "Browser", url: str) -> "Iterator[Page]":
    """Open the page once, and wait for its self-test. Fail if the page raised an error."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#self-test.good, #self-test.bad")
    yield page
    page.close()
    assert errors == []


@pytest.fixture
def page(opened: "Page") -> "Page":
    """Return the open page without images, on a large screen, with the focus before its first element."""
    opened.set_viewport_size({"width": 1400, "height": 900})
    clear = opened.get_by_role("button", name="Remove all images")
    if clear.is_visible():
        clear.click()
    opened.evaluate("document.activeElement.blur()")
    return opened
