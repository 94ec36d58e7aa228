"""The page in a browser, used as a person would use it."""

import base64
import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from pixelwise.data.task import MULTILABEL
from pixelwise.export.web.folder import write_page
from pixelwise.export.web.runtime import CPU_FILES
from pixelwise.export.web.server import serve
from pixelwise.inference.exported.metadata import SelfTest
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import ModelConfig
from tests.export.helpers import make_config, write_file
from tests.inference.helpers import make_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Download, Locator, Page


def write_images(folder: Path) -> list[Path]:
    """Write images of three sizes: a JPEG file that is stored turned, a PNG file with transparency, a grayscale one."""
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(make_image(180, 320, 1)).save(folder / "turned.jpg", exif=exif)
    opacity = np.linspace(0, 255, 250).astype(np.uint8)[None].repeat(201, 0)
    Image.fromarray(np.dstack([make_image(201, 250, 2), opacity])).save(folder / "transparent.png")
    Image.fromarray(make_image(333, 64, 3)).convert("L").save(folder / "gray.png")
    return [folder / name for name in ("turned.jpg", "transparent.png", "gray.png")]


def choose(page: "Page", *paths: Path) -> "Locator":
    """Choose image files, wait until they are computed, and return the result of the last one."""
    page.get_by_label("Choose images").set_input_files(paths)
    page.wait_for_selector("article[aria-busy]", state="detached")
    return page.get_by_role("article").first


def download(page: "Page", click: Callable[[], None], tmp_path: Path) -> Path:
    """Return the file that a click downloads."""
    with page.expect_download() as event:
        click()
    path = tmp_path / "downloads" / event.value.suggested_filename
    event.value.save_as(path)
    return path


def press(page: "Page", name: str, tmp_path: Path) -> Path:
    """Return the file that a button downloads."""
    return download(page, page.get_by_role("button", name=name, exact=True).click, tmp_path)


def make_page(
    folder: Path, runtime: dict[str, bytes], config: ModelConfig, tests: tuple[SelfTest, ...] | None = None
) -> Path:
    """Write a page with a small model."""
    folder.mkdir()
    write_file(folder / "model.onnx", config, tests)
    write_page(folder, config, runtime, CPU_FILES)
    return folder


def test_the_self_test_is_shown(page: "Page") -> None:
    assert page.get_by_role("heading", level=1).inner_text() == "Find pet, border"
    text = page.locator("#self-test").inner_text()
    assert text.startswith("Self-test: 100 % of the pixels of 2 images are equal (WebAssembly, ")
    assert page.evaluate("crossOriginIsolated") is True


def test_masks_are_those_of_the_predictor(page: "Page", predictor: Predictor, tmp_path: Path) -> None:
    for path in write_images(tmp_path):
        choose(page, path)
        expected = predictor(path)
        with Image.open(press(page, f"Mask (PNG) of {path.name}", tmp_path)) as file:
            assert file.mode == "L"
            mask = np.array(file)
        assert mask.shape == expected.mask.shape
        assert np.mean(mask == expected.mask) >= 0.999
        with Image.open(press(page, f"Cutout (PNG) of {path.name}", tmp_path)) as file:
            cutout = np.array(file)
        shown = mask != 1
        assert_array_equal(cutout, np.dstack([expected.image * shown[..., None], shown * np.uint8(255)]))
        with press(page, f"Table (CSV) of {path.name}", tmp_path).open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert [(row["image"], row["class"]) for row in rows] == [(path.name, name) for name in predictor.classes]
        for index, row in enumerate(rows):
            assert int(row["pixels"]) == np.sum(mask == index)
            assert float(row["fraction"]) == pytest.approx(np.mean(mask == index), abs=1e-6)
            confidence = (expected.class_confidences or {})[row["class"]]
            assert (float(row["mean_confidence"]) if row["mean_confidence"] else None) == (
                None if confidence is None else pytest.approx(confidence, abs=2e-3)
            )
    with press(page, "Download the table of all images (CSV)", tmp_path).open(newline="") as table:
        assert len(list(csv.DictReader(table))) == 9


def test_a_table_shows_the_classes(page: "Page", predictor: Predictor, tmp_path: Path) -> None:
    path = write_images(tmp_path)[0]
    article = choose(page, path)
    cells = [row.split("\t") for row in article.get_by_role("row").all_inner_texts()]
    prediction = predictor(path)
    assert cells[0] == ["Class", "Fraction", "Pixels"]
    assert [cell[0] for cell in cells[1:]] == ["pet", "background", "border"]
    for _, fraction, pixels in cells[1:]:
        assert float(fraction.removesuffix(" %")) == pytest.approx(
            100 * int(pixels.replace(",", "")) / prediction.mask.size, abs=0.051
        )
    swatches = article.locator(".swatch").evaluate_all("all => all.map(each => each.style.background)")
    colors = [f"rgb({', '.join(map(str, color))})" for color in predictor.config.palette]
    assert swatches == [colors[0], "", colors[2]], "the mask is transparent in the background"
    label = article.get_by_role("img").get_attribute("aria-label")
    assert label is not None and label.startswith("turned.jpg with its mask: pet ")


def test_it_works_with_the_keyboard(page: "Page", tmp_path: Path) -> None:
    path = write_images(tmp_path)[0]
    with page.expect_file_chooser() as chooser:  # Chromium reports a dialog only some time after this line
        page.get_by_role("heading", level=1).click()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        page.keyboard.press("Space")
    chooser.value.set_files(path)
    page.wait_for_selector("article[aria-busy]", state="detached")
    slider = page.get_by_role("slider", name="Mask of turned.jpg: opacity")
    while page.evaluate("document.activeElement.type") != "range":
        page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "1" and slider.get_attribute("aria-valuetext") == "1 %"
    tree = page.get_by_role("article", name="turned.jpg", exact=True).aria_snapshot()
    assert "status" not in tree, "a screen reader says the value of the slider once"
    assert page.locator("canvas").nth(1).evaluate("canvas => canvas.style.opacity") == "0.01"
    page.keyboard.press("Tab")
    assert download(page, lambda: page.keyboard.press("Enter"), tmp_path).name == "turned_mask.png"


def test_images_are_dropped(page: "Page", tmp_path: Path) -> None:
    path = write_images(tmp_path)[1]
    content = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """content => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            transfer.items.add(new File(["text"], "notes.txt"));
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("article[aria-busy]", state="detached")
    assert page.get_by_role("button", name="Mask (PNG) of dropped.png").is_visible()
    assert page.get_by_role("article").first.inner_text().endswith("cannot decode it. Save it again as JPEG or PNG.")
    page.get_by_role("button", name="Remove all images").click()
    assert page.get_by_role("article").count() == 0


def test_images_that_are_dropped_too_early_are_not_lost_silently(browser: "Browser", url: str) -> None:
    page = browser.new_page(service_workers="block")
    page.route("**/model.onnx", lambda route: None)  # a slow download
    page.goto(url)
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["image"], "early.png", {type: "image/png"}));
            return transfer;
        }"""
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    assert page.locator("#status").inner_text().startswith("The model is not ready. Drop the images again")
    page.close()


def test_the_camera_takes_an_image(page: "Page") -> None:
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the image").click()
    page.get_by_role("button", name="Mask (PNG) of camera-1.png").wait_for()
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_it_fits_a_phone(page: "Page", tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    choose(page, *write_images(tmp_path))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [button.bounding_box() for button in page.locator("button:visible, label.button").all()]
    assert len(boxes) == 2 + 2 + 3 * 3
    assert all(box is not None and box["height"] >= 44 for box in boxes)


def test_it_works_offline_after_the_first_visit(browser: "Browser", folder: Path, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    with serve(folder, headers={}) as url:  # as on a host that sends no headers for threads
        page.goto(url)
        page.wait_for_selector("#self-test.good")
        assert page.evaluate("crossOriginIsolated") is False
        assert "1 thread)" in page.locator("#self-test").inner_text()
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.reload()
    page.wait_for_selector("#self-test.good")
    assert page.evaluate("crossOriginIsolated") is True
    choose(page, write_images(tmp_path)[0])
    assert page.get_by_role("button", name="Mask (PNG) of turned.jpg").is_visible()
    context.close()


@pytest.mark.slow  # the processor emulates a graphics processor
def test_webgpu_is_used_if_it_passes_the_self_test(
    browser: "Browser", url: str, predictor: Predictor, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_selector("#self-test.good")
    page.get_by_label("Compute with").select_option("webgpu")
    page.wait_for_selector("#self-test:not(.good)")
    page.wait_for_selector("#self-test.good")
    assert "are equal (WebGPU)" in page.locator("#self-test").inner_text()
    path = write_images(tmp_path)[0]
    choose(page, path)
    with Image.open(press(page, "Mask (PNG) of turned.jpg", tmp_path)) as file:
        assert np.mean(np.array(file) == predictor(path).mask) >= 0.999
    page.close()


def test_webgpu_that_fails_is_not_used(browser: "Browser", folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "ort" / "ort-wasm-simd-threaded.jsep.wasm").unlink()
    with serve(copy) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#self-test.good")
        page.get_by_label("Compute with").select_option("webgpu")
        page.get_by_text("WebGPU is not used.").wait_for()
        assert "(WebAssembly, " in page.locator("#self-test").inner_text()
        assert page.get_by_label("Compute with").input_value() == "wasm"
        choose(page, write_images(tmp_path)[0])
        assert page.get_by_role("button", name="Mask (PNG) of turned.jpg").is_visible()
        page.close()


def test_other_masks_are_refused(browser: "Browser", runtime: dict[str, bytes], tmp_path: Path) -> None:
    image = make_image(20, 30)
    test = SelfTest.encode(image, np.full((20, 30), 7, np.uint8))
    with serve(make_page(tmp_path / "page", runtime, make_config(), (test,))) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#self-test.bad")
        assert page.locator("#self-test").inner_text() == (
            "The page cannot be used. WebAssembly gives other masks: 0.000 % of the pixels are equal, and 99.9 % are "
            "needed."
        )
        assert page.get_by_label("Choose images").is_disabled()
        assert page.get_by_role("button", name="Use the camera").is_disabled()
        page.get_by_text("About the model").click()
        about = page.locator("#about").inner_text()
        assert "class 0, class 1, class 2" in about and "ONNX Runtime Web 1.30.0 (MIT license)" in about
        page.close()


def test_a_multilabel_model_gives_a_mask_per_class(
    browser: "Browser", runtime: dict[str, bytes], tmp_path: Path
) -> None:
    config = make_config(task=MULTILABEL).model_copy(update={"classes": ("a/b", "</script>", "=c")})
    image = make_image(20, 30)
    mask = ExportedPredictor.load(write_file(tmp_path / "first.onnx", config))(image).mask
    folder = make_page(tmp_path / "page", runtime, config, (SelfTest.encode(image, mask),))
    path = write_images(tmp_path)[1]
    expected = ExportedPredictor.load(folder / "model.onnx")(path).mask
    with serve(folder) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#self-test.good")
        choose(page, path)
        files: list[Download] = []
        page.on("download", lambda file: files.append(file))
        press(page, "Mask (PNG) of transparent.png", tmp_path)
        while len(files) < 3:
            page.wait_for_timeout(50)
        assert [file.suggested_filename for file in files] == [
            f"transparent_mask_{name}.png" for name in ("a_b", "_script_", "_c")
        ]
        for index, file in enumerate(files):
            with Image.open(file.path()) as opened:
                assert np.mean(np.array(opened) == expected[index]) >= 0.999
        table = press(page, "Table (CSV) of transparent.png", tmp_path).read_text()
        assert "transparent.png,'=c," in table
        page.close()
