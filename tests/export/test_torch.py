"""The export of a run as a torch.export program, and predictions with it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import pixelwise
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, RunError
from pixelwise.export import torch_exporter
from pixelwise.export.export import ExportResult, export_model
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.self_test import verify
from pixelwise.inference.model_location import is_model
from pixelwise.inference.predictor import Predictor
from tests.export.helpers import assert_not_imported, assert_same_predictions, code_of_command, make_config, write_file
from tests.export.test_onnx_graph import CONFIGS, SIZES, make_image, predict
from tests.inference.helpers import contents
from tests.inference.helpers import make_image as make_rgb_image


@pytest.fixture(scope="module")
def torch_export(small_sizes: None, run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Return an export of the run, with probabilities."""
    return export_model(run, tmp_path_factory.mktemp("torch") / "model.pt2", "torch", probabilities=True)


def test_the_file_gives_the_masks_of_the_run(torch_export: ExportResult, predictor: Predictor) -> None:
    assert_same_predictions(torch_export.path, predictor, (1, 1), (1, 300), (40, 64), (200, 151))


def test_there_is_one_file_and_a_report(torch_export: ExportResult) -> None:
    folder = torch_export.path.parent
    assert sorted(contents(folder)) == ["model.pt2", "model.pt2-report.json", "model.pt2-report.png"]
    report = json.loads(torch_export.report.read_text())
    assert (report["target"], report["bytes"]) == ("torch", torch_export.path.stat().st_size)
    assert report["smallest_fraction_of_equal_pixels"] >= 0.999
    result = verify(torch_export.path)
    assert result.equal == (1.0, 1.0) and result.package == "torch"
    assert is_model(torch_export.path)


def test_torch_loads_it_where_pixelwise_cannot_be_imported(
    torch_export: ExportResult, predictor: Predictor, tmp_path: Path
) -> None:
    image = make_rgb_image(61, 77)
    np.save(tmp_path / "image.npy", image)
    code = (
        "import json, sys\n"
        "sys.modules['pixelwise'] = None\n"  # its import raises ModuleNotFoundError
        "import numpy as np, torch\n"
        "texts = {'pixelwise': ''}\n"
        f"module = torch.export.load({str(torch_export.path)!r}, extra_files=texts).module()\n"
        f"outputs = module(torch.from_numpy(np.load({str(tmp_path / 'image.npy')!r}))[None])\n"
        "assert not any(each.requires_grad for each in outputs.values())\n"
        f"np.save({str(tmp_path / 'mask.npy')!r}, outputs['mask'].numpy())\n"
        "print(list(outputs), json.loads(texts['pixelwise'])['model']['classes'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "['mask', 'class_confidence', 'probabilities'] ['pet', 'background', 'border']\n"
    assert_array_equal(np.load(tmp_path / "mask.npy")[0], predictor(image).mask)


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.startswith("many")])
def test_the_program_that_torch_loads_gives_the_prediction_of_pytorch(name: str, tmp_path: Path) -> None:
    config = make_config(**CONFIGS[name])
    module = torch.export.load(write_file(tmp_path / "model.pt2", config, probabilities=True)).module()
    for size in SIZES:
        image = make_image(config, *size)
        expected = predict(config, image, probabilities=True)
        outputs = module(torch.from_numpy(image)[None])
        assert expected.probabilities is not None
        assert_array_equal(outputs["mask"][0].numpy(), expected.mask)
        assert outputs["mask"].ndim == (4 if config.task is MULTILABEL else 3)
        assert_allclose(outputs["probabilities"][0].numpy(), expected.probabilities, atol=1e-5)
        confidences = [np.nan if value is None else value for value in (expected.class_confidences or {}).values()]
        assert_allclose(outputs["class_confidence"].numpy(), confidences, atol=1e-5)


def test_it_has_plain_operators_and_nothing_of_this_machine(torch_export: ExportResult) -> None:
    with zipfile.ZipFile(torch_export.path) as archive:
        text = archive.read("archive/models/model.json").decode()
    targets = {node["target"] for node in json.loads(text)["graph_module"]["graph"]["nodes"]}
    assert "torch.ops.aten.conv2d.default" in targets
    assert {target.rsplit(".", 2)[0] for target in targets} == {"torch.ops.aten"}
    assert str(Path(pixelwise.__file__).parent) not in text and str(Path(torch.__file__).parent) not in text
    assert "stack_trace" not in text
    assert 'requires_grad": true' not in text


def test_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"8-bit integers needs operators .*; export with `int8` to onnx or openvino"):
        export_model(run, tmp_path / "model.pt2", "torch", int8=True)
    with pytest.raises(ConfigError, match=r"ends with \.pt2; choose another `out`"):
        export_model(run, tmp_path / "model.pt", "torch")

    def find_operator(target: str) -> None:
        raise LookupError(f"the operator {target!r} is not among those that a program may use")

    monkeypatch.setattr(torch_exporter, "find_operator", find_operator)
    with pytest.raises(RunError, match=r"the encoder \w+ cannot be exported to torch .*; export it to onnx"):
        export_model(run, tmp_path / "model.pt2", "torch")
    assert contents(tmp_path) == {}


def test_a_prediction_loads_neither_timm_nor_the_compiler_of_torch(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.pt2", make_config())
    pixels = make_rgb_image(20, 30)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    code = code_of_command("predict", path, tmp_path / "images", "--out", tmp_path / "masks")
    assert_not_imported(code, "timm", "torch._inductor", "onnx", "onnxruntime")
    with Image.open(tmp_path / "masks" / "a_mask.png") as mask:
        assert_array_equal(np.array(mask), ExportedPredictor.load(path)(pixels).mask)


def test_the_same_model_in_each_format(tmp_path: Path) -> None:
    image = make_rgb_image(61, 77)
    masks = [
        ExportedPredictor.load(write_file(tmp_path / f"a{s}", make_config()))(image).mask for s in (".pt2", ".onnx")
    ]
    assert_array_equal(masks[0], masks[1])
