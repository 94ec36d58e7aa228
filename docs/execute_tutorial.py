"""Execute docs/tutorial.ipynb on the synthetic animals and store its outputs in it.

    python docs/execute_tutorial.py --weights mobilenetv2_100.safetensors --epochs 20

The repository contains no photos and no weights of others, so the outputs show synthetic animals. The metadata of the
notebook have a hash of the code. A test compares it, to find outputs of earlier code.
"""

import argparse
import base64
import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image, ImageSequence

from pixelwise.data.demo.synthetic import draw_dataset

NOTEBOOK = Path(__file__).parent / "tutorial.ipynb"
DATA_NAME = "synthetic-animals"

IOPUB: dict[str, Any] = {"iopub_timeout": 120, "raise_on_iopub_timeout": True}
"""Arguments of `NotebookClient`. By default, outputs that are more than 4 seconds late are lost without an error."""

HASH_KEY = "executed_code"
"""Key of the hash of the executed code in the notebook's metadata."""


def execute(weights: str, epochs: int) -> NotebookNode:
    """Return the notebook with new outputs, executed on the synthetic animals.

    Args:
        weights: "hub", or the path of a safetensors file with the weights of timm's mobilenetv2_100.
        epochs: the number of epochs of each training.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    source = settings.source
    with tempfile.TemporaryDirectory() as folder:
        draw_dataset(Path(folder) / DATA_NAME)
        # Relative paths keep the machine's own paths out of the outputs.
        values = {"DATA": DATA_NAME, "WEIGHTS": weights, "EPOCHS": epochs, "OUT": "runs/tutorial"}
        settings.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}}, **IOPUB).execute()
    settings.source = source
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # Warnings on stderr have paths of this machine, for example tqdm's about a missing ipywidgets.
            cell.outputs = [_smaller(output) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata[HASH_KEY] = hash_code(notebook)
    return notebook


def hash_code(notebook: NotebookNode) -> str:
    """Return a hash of the sources of a notebook's code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def _smaller(output: NotebookNode) -> NotebookNode:
    """Keep only the PNG version of an image, with 256 colors, and halve the size of an animation."""
    data = output.get("data", {})
    if "image/png" in data:
        data.pop("image/jpeg", None)
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        data["image/png"] = _encode(image.convert("RGB").quantize(256), "PNG", optimize=True)
    if "image/gif" in data:
        animation = Image.open(io.BytesIO(base64.b64decode(data["image/gif"])))
        frames, durations = [], []
        for frame in ImageSequence.Iterator(animation):
            durations.append(frame.info["duration"])
            frames.append(frame.convert("RGB").reduce(2).quantize(64))
        data["image/gif"] = _encode(
            frames[0], "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    return output


def _encode(image: Image.Image, format: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Execute the notebook and replace it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="hub", help="hub, or a safetensors file of mobilenetv2_100")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each training")
    arguments = parser.parse_args()
    weights = arguments.weights if arguments.weights == "hub" else str(Path(arguments.weights).resolve())
    notebook = execute(weights, arguments.epochs)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
