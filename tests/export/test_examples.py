"""The example programs give the masks of the run, and reject a file whose self-test fails. Each needs its runtime."""

import base64
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from pixelwise.data.task import MULTILABEL
from pixelwise.export.export import ExportResult, export_model
from pixelwise.inference.predictor import Predictor
from tests.export.helpers import make_config, write_file

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 120
"""Time limit of an installation or a build."""


def python_program(folder: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "python/segment.py")]


def javascript_program(folder: Path) -> list[str]:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    copy = shutil.copytree(EXAMPLES / "javascript", folder / "javascript")
    # A script of onnxruntime-node downloads a library for CUDA, or fails without a network.
    command = ["npm", "config", "get", "ignore-scripts"]
    assert subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout.strip() == "true"
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        installed = subprocess.run(command, cwd=copy, capture_output=True, timeout=SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        installed = False
    if not installed:
        pytest.skip("the packages of the example cannot be installed")
    return ["node", str(copy / "segment.mjs")]


def cpp_program(folder: Path) -> list[str]:
    if shutil.which("cmake") is None or shutil.which("pkg-config") is None:
        pytest.skip("cmake or pkg-config is not installed")
    if subprocess.run(["pkg-config", "--exists", "libonnxruntime"], check=False).returncode:
        pytest.skip("libonnxruntime-dev is not installed")
    build = folder / "build"
    for arguments in (["-S", str(EXAMPLES / "cpp"), "-B", str(build)], ["--build", str(build)]):
        subprocess.run(["cmake", *arguments], capture_output=True, timeout=SECONDS, check=True)
    return [str(build / "segment")]


@pytest.mark.integration
@pytest.mark.parametrize("make_program", [python_program, javascript_program, cpp_program])
def test_an_example_gives_the_mask_of_the_run(
    make_program: Callable[[Path], list[str]], exported: ExportResult, predictor: Predictor, tmp_path: Path
) -> None:
    check_program(make_program(tmp_path), exported.path, predictor, tmp_path)


@pytest.mark.integration
def test_the_example_of_torch_gives_the_mask_of_the_run(
    small_sizes: None, run: Path, predictor: Predictor, tmp_path: Path
) -> None:
    exported = export_model(run, tmp_path / "model.pt2", "torch")
    check_program([sys.executable, str(EXAMPLES / "python/segment_torch.py")], exported.path, predictor, tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize("make_program", [python_program, javascript_program, cpp_program])
@pytest.mark.parametrize("fields", [{"task": MULTILABEL}, {"channels": 4}], ids=["multi-label", "four bands"])
def test_an_example_refuses_a_model_for_other_masks_or_images(
    make_program: Callable[[Path], list[str]], fields: dict[str, Any], tmp_path: Path
) -> None:
    model = write_file(tmp_path / "model.onnx", make_config(**fields))
    Image.new("RGB", (30, 20)).save(tmp_path / "image.png")
    arguments = [str(model), str(tmp_path / "image.png"), str(tmp_path / "mask.png")]
    command = [*make_program(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode and "this program is for RGB images and one class per pixel" in done.stderr
    assert not (tmp_path / "mask.png").exists()


def check_program(program: list[str], model: Path, predictor: Predictor, tmp_path: Path) -> None:
    """Assert that a program gives the mask of the run, and that it refuses a file with a wrong self-test."""
    image = np.random.default_rng(0).integers(0, 256, (47, 61, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")

    def run(model: Path) -> subprocess.CompletedProcess[str]:
        arguments = [str(model), str(tmp_path / "image.png"), str(tmp_path / "mask.png")]
        return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)

    done = run(model)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[:-3] == ["self-test: 100.00% of the pixels equal"] * 2
    assert [line.split(":")[0] for line in lines[-3:]] == ["pet", "background", "border"]
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.array(mask), predictor(image).mask)

    done = run(with_wrong_mask(model, tmp_path / f"wrong{model.suffix}"))
    assert done.returncode == 2 and "self-test: 0.00%" in done.stdout.splitlines()[-1]


def with_wrong_mask(source: Path, out: Path) -> Path:
    """Write an exported file whose last self-test expects another class for each pixel."""
    if source.suffix == ".pt2":
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                is_metadata = name.endswith("extra/pixelwise")
                new.writestr(name, with_wrong_test(content.decode()) if is_metadata else content)
        return out
    model = onnx.load(source)
    entry = next(entry for entry in model.metadata_props if entry.key == "pixelwise")
    entry.value = with_wrong_test(entry.value)
    onnx.save(model, out)
    return out


def with_wrong_test(metadata: str) -> str:
    """Return metadata whose last self-test expects another class for each pixel."""
    facts = json.loads(metadata)
    with Image.open(io.BytesIO(base64.b64decode(facts["tests"][-1]["mask"]))) as mask:
        changed = io.BytesIO()
        Image.fromarray((np.array(mask) + 1) % 3).save(changed, "PNG")
    facts["tests"][-1]["mask"] = base64.b64encode(changed.getvalue()).decode()
    return json.dumps(facts)
