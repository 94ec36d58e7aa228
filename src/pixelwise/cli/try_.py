"""`pixelwise try`. The page of an exported file does not import torch."""

import time
import webbrowser
from contextlib import ExitStack, suppress
from pathlib import Path

from pixelwise.cli.components import DataPath
from pixelwise.cli.entry import DONE
from pixelwise.runtime.progress import ProgressBars


def try_command(model: DataPath, /, *, port: int = 0, browser: bool = True, runtime: Path | None = None) -> int:
    """Serve the page of a model on this machine, and open the browser.

    Args:
        model: Run directory, the model.safetensors of one, or an exported ONNX file.
        port: Port of the page. 0 takes a free one.
        browser: Open the page in the browser.
        runtime: Package file of ONNX Runtime Web. By default it is downloaded once.
    """
    from pixelwise.export.web.preview import page_folder
    from pixelwise.export.web.server import serve

    with ExitStack() as stack:
        with ProgressBars() as bars:
            folder = stack.enter_context(page_folder(model, runtime, bars.track("measuring")))
        url = stack.enter_context(serve(folder, port))
        print(f"page: {url} (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            if browser and not webbrowser.open(url):
                print("no browser was found; open the page in one", flush=True)
            while True:
                time.sleep(3600)  # on Windows, Ctrl-C interrupts no lock
    return DONE
