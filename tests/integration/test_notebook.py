"""Test of the tutorial notebook: it runs from top to bottom on a few images and for a few steps."""

from pathlib import Path

import nbformat
import pytest
import timm
from nbclient import NotebookClient
from safetensors.torch import save_file

import pixelwise as pw

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"

SLOW_KERNEL = "IOStream.flush timed out"
"""ipykernel prints this on stderr if its thread for outputs does not run for 10 seconds."""


@pytest.fixture(scope="module")
def executed(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run the notebook on `pets` with one epoch."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Random encoder weights in a file stand in for the pretrained ones, which need a download.
    weights = folder / "mobilenetv2.safetensors"
    save_file(timm.create_model("mobilenetv2_100").state_dict(), weights)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values = {"DATA": str(pets.root), "WEIGHTS": str(weights), "EPOCHS": 1, "OUT": str(folder / "run")}
    settings.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    # By default, outputs that are more than 4 seconds late, as on a busy machine, are lost without an error.
    NotebookClient(
        notebook, timeout=600, iopub_timeout=120, raise_on_iopub_timeout=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()  # fmt: skip
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [output for output in cell.outputs if SLOW_KERNEL not in output.get("text", "")]
    return notebook


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    """Return the outputs of a MIME type or, with "stream", the printed text."""
    return [
        output.data[kind] if "data" in output else output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if (kind in output.data if "data" in output else kind == output.output_type)
    ]


def test_numbers_of_the_original_tutorial_are_printed(executed: nbformat.NotebookNode) -> None:
    printed = "".join(outputs(executed, "stream"))
    assert "4,660,323 trainable parameters" in printed
    assert "3.0486, 30.4859" in printed
    assert "tensor([0.4000, 0.4000, 0.2000])" in printed
    assert "torch.Size([12, 3, 128, 128]) torch.uint8" in printed


def test_objects_and_images_are_shown(executed: nbformat.NotebookNode) -> None:
    assert len(outputs(executed, "image/png")) == 1  # the architecture
    assert len(outputs(executed, "image/gif")) == 1
    shown = "".join(outputs(executed, "text/html"))
    assert "12 train, 10 test images" in shown
    assert shown.count("<th ") >= 15  # the report and the metrics of two models


def test_a_training_is_one_output_that_was_replaced(executed: nbformat.NotebookNode) -> None:
    trainings = [cell for cell in executed.cells if cell.cell_type == "code" and "pw.train(" in cell.source]
    for cell in trainings:
        (output,) = cell.outputs
        assert output.output_type == "display_data"
        html = output.data["text/html"]
        assert "1 epoch, best validation mIoU" in html and "<progress" not in html
        assert html.count("data:image/jpeg") == 2  # the curves and the predictions after the last epoch
        assert len(html) < 300_000


def test_no_warning_is_printed(executed: nbformat.NotebookNode) -> None:
    texts = [
        output.text
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]
    # tqdm, a dependency of a dependency, warns if ipywidgets is not installed.
    assert not [text for text in texts if "IProgress not found" not in text]
