"""Fraction of pixels of images that a page computes as ONNX Runtime does here with the same file.

    python tools/page_masks.py model.onnx IMAGES [--count 20]

The page is that of `pixelwise export --to web`, in Chromium with WebAssembly. Its limit for the self-test is lifted, so
that files are measured that it would refuse. Images are converted to PNG files, so that decoders do not count. Needs
playwright and Chromium.
"""

import argparse
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from pixelwise.export.web.folder import write_page
from pixelwise.export.web.runtime import CPU_FILES, read_runtime
from pixelwise.export.web.server import serve
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.sources import find_images

LIMIT = "MIN_EQUAL = 0.999"


def make_page(model: Path, predictor: ExportedPredictor, folder: Path) -> None:
    """Write the page of a file, which takes images after each self-test."""
    folder.mkdir()
    shutil.copyfile(model, folder / "model.onnx")
    write_page(folder, predictor.config, read_runtime(), CPU_FILES)
    script = folder / "page.js"
    text = script.read_text(encoding="utf-8")
    assert LIMIT in text
    script.write_text(text.replace(LIMIT, "MIN_EQUAL = 0"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    predictor = ExportedPredictor.load(options.model)
    paths = [path for path, _ in find_images(options.images).images]
    paths = random.Random(0).sample(paths, min(options.count, len(paths)))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        make_page(options.model, predictor, Path(name) / "page")
        executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        with serve(Path(name) / "page") as url:
            page = browser.new_page(service_workers="block")
            page.goto(url)
            page.wait_for_selector("#self-test.good", timeout=120_000)
            print(page.locator("#self-test").inner_text())
            equal = []
            for number, path in enumerate(paths):
                file = Path(name) / f"{number}.png"
                with Image.open(path) as image:
                    image.convert("RGB").save(file)
                page.get_by_label("Choose images").set_input_files(file)
                page.wait_for_selector("article[aria-busy]", state="detached", timeout=120_000)
                with page.expect_download() as download:
                    page.get_by_role("button", name=f"Mask (PNG) of {file.name}").click()
                with Image.open(download.value.path()) as mask:
                    equal.append(float(np.mean(np.array(mask) == predictor(file).mask)))
                print(f"{equal[-1]:.4%}  {path}", flush=True)
                page.get_by_role("button", name="Remove all images").click()
        browser.close()
    low = sum(each < 0.999 for each in equal)
    print(f"equal pixels: {min(equal):.4%} or more, {np.mean(equal):.4%} on average")
    print(f"images below 99.9 %: {low} of {len(equal)}")


if __name__ == "__main__":
    main()
