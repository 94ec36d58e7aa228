"""The export of a run as an OpenVINO model, and predictions with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper
from PIL import Image

import pixelwise
from pixelwise.data.input_size import to_pair
from pixelwise.data.resize import resize_image
from pixelwise.errors import ConfigError, OutputExistsError, RunError
from pixelwise.export import openvino_exporter, validation
from pixelwise.export.export import ExportResult, export_model
from pixelwise.export.graph_builder import GraphBuilder
from pixelwise.export.onnx_exporter import OnnxModel
from pixelwise.export.onnx_graph import OPSET
from pixelwise.export.onnx_resize import add_input_resize
from pixelwise.export.openvino_exporter import OpenVinoModel
from pixelwise.inference.exported.exported_file import IMAGE_LABELS, LABELS, MASK, NETWORK_INPUT, PLANES
from pixelwise.inference.exported.metadata import ExportMetadata, SelfTest
from pixelwise.inference.exported.openvino_file import OpenVinoFile, import_openvino
from pixelwise.inference.exported.openvino_graph import fix_size
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.self_test import verify
from pixelwise.inference.model_location import is_model
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.threads import available_cpus
from tests.export.helpers import (
    assert_not_imported,
    assert_same_predictions,
    code_of_command,
    make_config,
    make_network,
    write_file,
)
from tests.inference.helpers import contents, make_image


@pytest.fixture(scope="module")
def openvino_export(small_sizes: None, run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Return an export of the run, with probabilities."""
    folder = tmp_path_factory.mktemp("openvino")
    return export_model(run, folder / "model.xml", "openvino", probabilities=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write the model of a small network. Its only test is a mask of zeros."""
    return write_file(tmp_path / "model.xml", make_config())


def test_the_files_give_the_masks_of_the_run(openvino_export: ExportResult, predictor: Predictor) -> None:
    assert_same_predictions(openvino_export.path, predictor, (1, 1), (40, 64), (200, 151))


def test_there_are_two_files_and_a_report(openvino_export: ExportResult) -> None:
    folder = openvino_export.path.parent
    assert openvino_export.files == (folder / "model.xml", folder / "model.bin")
    assert sorted(contents(folder)) == ["model.bin", "model.xml", "model.xml-report.json", "model.xml-report.png"]
    report = json.loads(openvino_export.report.read_text())
    assert report["target"] == "openvino"
    assert report["bytes"] == sum(file.stat().st_size for file in openvino_export.files)
    result = verify(openvino_export.path)
    assert result.equal == (1.0, 1.0) and result.package == "openvino"
    assert openvino_export.metadata.model.metrics == {"val_miou": 0.75}


def test_a_file_of_weights_that_exists_is_kept(run: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"model\.bin: exists already"):
        export_model(run, tmp_path / "model.xml", "openvino")
    assert contents(tmp_path) == {"model.bin": b"mine"}


@pytest.mark.parametrize("size", [(96, 128), (375, 500), (333, 501), (1, 700)])
def test_images_are_resized_as_by_torch_although_it_computes_in_float32(size: tuple[int, int]) -> None:
    graph, config = GraphBuilder(), make_config(size=(208, 160))
    add_input_resize(graph, "image", config, "result")
    made = helper.make_graph(
        graph.nodes,
        "resize",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("result", TensorProto.UINT8, [1, 3, *to_pair(config.size)])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    core = import_openvino().Core()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    result = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)({"image": image[None]})
    difference = result[0][0] != resize_image(image, (208, 160)).numpy()
    assert difference.mean() < 1e-4


class TestRefused:
    def test_missing_weights(self, path: Path) -> None:
        assert is_model(path)
        path.with_suffix(".bin").unlink()
        with pytest.raises(RunError, match=r"model\.bin: cannot be read \(No such file"):
            verify(path)
        assert not is_model(path)

    def test_truncated_files(self, path: Path) -> None:
        weights, text = path.with_suffix(".bin"), path.read_bytes()
        path.write_bytes(text[:-500])
        self.assert_refused(path, "is not a whole OpenVINO model")
        path.write_bytes(text)
        weights.write_bytes(weights.read_bytes()[:10])
        self.assert_refused(path, "is not a whole OpenVINO model")

    def test_a_file_of_another_kind_and_of_another_program(self, path: Path, tmp_path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        path.write_text("<annotation><object>cat</object></annotation>", encoding="utf-8")
        self.assert_refused(path, "is not a whole OpenVINO model")
        path.write_text(text.replace("<pixelwise ", "<other "), encoding="utf-8")
        self.assert_refused(path, "another program")
        path.write_text(text.replace("&quot;palette&quot;", "&quot;colors&quot;"), encoding="utf-8")
        self.assert_refused(path, "its metadata cannot be read")

    def test_a_model_that_takes_no_image(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("1,?,?,3", "1,?,?,4"), encoding="utf-8")
        with pytest.raises(RunError):
            verify(path)

    @staticmethod
    def assert_refused(path: Path, part: str) -> None:
        """Assert that the model cannot be opened, with one line that names it and has this part."""
        with pytest.raises(RunError) as caught:
            verify(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 600
        assert part in message


def test_8_bit_integers(tmp_path: Path) -> None:
    config = make_config()
    image = make_image(40, 50)
    metadata = ExportMetadata(
        version=pixelwise.__version__, opset=OPSET, precision="int8", parity=1.0, model=config,
        tests=(SelfTest.encode(image, np.zeros((40, 50), np.uint8)),),
    )  # fmt: skip
    network = make_network(config)
    network.graph.node.append(helper.make_node("Conv", ["first", "more"], ["logits"]))
    network.graph.node[2].output[0] = "first"
    for number, node in enumerate(network.graph.node):
        node.name = f"node {number}"
    weights = np.random.default_rng(1).normal(0, 1, (3, 3, 1, 1)).astype(np.float32)
    network.graph.initializer.append(onnx.numpy_helper.from_array(weights, "more"))
    model = OpenVinoModel(OnnxModel(network, config, for_openvino=True))
    model.write(tmp_path / "float.xml", metadata)
    inputs = [np.ascontiguousarray(resize_image(image, (32, 32)).numpy()[None])]
    layers, quantized = next(model.quantized(inputs))
    quantized.write(tmp_path / "int8.xml", metadata)
    assert layers == 1
    assert "FakeQuantize" in (tmp_path / "int8.xml").read_text()
    masks = [ExportedPredictor.load(tmp_path / name)(image).mask for name in ("float.xml", "int8.xml")]
    assert np.mean(masks[0] == masks[1]) > 0.95
    assert len(np.unique(masks[0])) > 1


def test_a_prediction_imports_neither_torch_nor_the_telemetry_of_openvino(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = make_image(20, 30)
    Image.fromarray(pixels).save(folder / "a.png")
    code = code_of_command("predict", path, folder, "--out", tmp_path / "masks")
    assert_not_imported(code, "torch", "torchvision", "onnx", "onnxruntime", "openvino_telemetry")
    expected = ExportedPredictor.load(path)(pixels).mask
    with Image.open(tmp_path / "masks" / "a_mask.png") as mask:
        assert_array_equal(np.array(mask), expected)


def test_an_image_whose_positions_exceed_32_bits_is_too_large(path: Path) -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (1, 1 << 25, 3))
    with pytest.raises(MemoryError, match="32 bits"):
        ExportedPredictor.load(path).file.run(image)


def test_the_same_model_in_both_formats(path: Path, tmp_path: Path) -> None:
    other = ExportedPredictor.load(write_file(tmp_path / "model.onnx", make_config()))
    image = make_image(61, 77)
    assert_array_equal(ExportedPredictor.load(path)(image).mask, other(image).mask)


def test_bfloat16(tiny_run: pixelwise.Run, small_sizes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_exporter, "has_bfloat16", lambda _: False)
    with pytest.raises(ConfigError, match="this processor has no instructions for bfloat16"):
        export_model(tiny_run.path, tmp_path / "model.xml", "openvino", bfloat16=True)
    # OpenVINO computes in float32 if the processor has no bfloat16.
    monkeypatch.setattr(openvino_exporter, "has_bfloat16", lambda _: True)
    result = export_model(tiny_run.path, tmp_path / "model.xml", "openvino", bfloat16=True)
    assert result.metadata.precision == "bfloat16" and verify(result.path).is_passed
    assert result.score is not None and 0.99 <= result.score.equal == result.metadata.parity
    assert json.loads(result.report.read_text())["bfloat16"]["images"] == result.score.images > 0
    monkeypatch.setattr(validation, "MIN_EQUAL_LOW", 1.01)
    with pytest.raises(RunError, match=r"bfloat16 changes too much: .* export in float32; nothing was written"):
        export_model(tiny_run.path, tmp_path / "other.xml", "openvino", bfloat16=True)
    assert sorted(contents(tmp_path)) == ["model.bin", "model.xml", "model.xml-report.json", "model.xml-report.png"]


@pytest.mark.parametrize(("precision", "hint"), [("float32", "f32"), ("int8", "f32"), ("bfloat16", "bf16")])
def test_the_precision_of_the_runtime_is_that_of_the_file(path: Path, precision: Any, hint: str) -> None:
    file = OpenVinoFile(path)
    file.metadata = file.metadata.model_copy(update={"precision": precision})
    core, used = file._core, []

    class Recorder:
        def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
            used.append(options["INFERENCE_PRECISION_HINT"])
            return core.compile_model(model, device, options)

    file._core = Recorder()
    file.run_all([make_image(40, 50)] * 2)
    file.run(make_image(40, 50))
    assert used == [hint] * len(used) and used


@pytest.mark.parametrize(("target", "name"), [("onnx", "model.onnx"), ("torch", "model.pt2"), ("web", "page")])
def test_other_targets_have_no_bfloat16(target: str, name: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`bfloat16` is for the target openvino"):
        export_model(run, tmp_path / name, target, bfloat16=True)
    with pytest.raises(ConfigError, match="`bfloat16` is for the target openvino, without `int8`"):
        export_model(run, tmp_path / "model.xml", "openvino", bfloat16=True, int8=True)


@pytest.mark.parametrize("is_old", [False, True])
def test_an_image_of_the_size_of_the_model_is_not_resized(is_old: bool, path: Path) -> None:
    file = ExportedPredictor.load(path).file
    assert isinstance(file, OpenVinoFile)
    model = file._model
    if is_old:  # files of older versions have no such names
        for output in (output for node in model.get_ops() for output in node.outputs()):
            output.get_tensor().set_names(output.get_names() - {PLANES, NETWORK_INPUT, LABELS, IMAGE_LABELS})
    fixed = model.clone()
    fix_size(fixed, (32, 32))
    kinds = [node.get_type_name() for node in fixed.get_ordered_ops()]
    assert ("MatMul" in kinds) == is_old
    value, path_to_network = fixed.inputs[0], list[str]()
    while not is_old and path_to_network[-1:] != ["Convolution"]:
        (user,) = (each.get_node() for each in value.get_target_inputs())
        path_to_network.append(user.get_type_name())
        value = user.output(0)
    assert is_old or path_to_network.index("Subtract") < path_to_network.index("Transpose")
    images = [make_image(32, 32, seed) for seed in range(20)]
    resizing = file._compile(False, False, False)
    expected = [resizing.infer(file._tensor(image[None]), [MASK])[0][0] for image in images]
    outputs = file.run_all(images)
    for output, mask in zip(outputs, expected, strict=True):
        assert_array_equal(output.mask, mask)
    assert len({mask.tobytes() for mask in expected}) > 10
    (compiled,) = file._models.values()
    assert 1 <= len(compiled._requests) <= available_cpus(), "requests are used again"
    file.run(make_image(40, 32))
    assert not file._compiled(False, False, False)._requests, (
        "one that has the memory of an image of any size is not kept"
    )
