"""The tutorial notebook runs from top to bottom, on few images and few steps."""

from pathlib import Path

import nbformat
import pytest
import timm
from nbclient import NotebookClient
from safetensors.torch import save_file

import pixelwise as pw

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def executed(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # An encoder of random weights in a file: frozen and of the real size, without a download.
    weights = folder / "mobilenetv2.safetensors"
    save_file(timm.create_model("mobilenetv2_100").state_dict(), weights)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values = {"DATA": str(pets.root), "WEIGHTS": str(weights), "EPOCHS": 2, "OUT": str(folder / "run")}
    settings.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    return [
        output.data[kind] if "data" in output else output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if (kind in output.data if "data" in output else kind == output.output_type)
    ]


def test_the_tutorials_figures_appear(executed: nbformat.NotebookNode) -> None:
    printed = "".join(outputs(executed, "stream"))
    assert "4,660,323 trainable parameters" in printed
    assert "3.0486, 30.4859" in printed
    assert "tensor([0.4000, 0.4000, 0.2000])" in printed
    assert "torch.Size([12, 3, 128, 128]) torch.uint8" in printed


def test_images_appear_inline(executed: nbformat.NotebookNode) -> None:
    # A sheet, the architecture, two overlays; and in each of two trainings: before, two epochs, the loss curve.
    assert len(outputs(executed, "image/png")) == 4 + 2 * 4
    assert len(outputs(executed, "image/gif")) == 1
