"""Exported files that are damaged, of another kind, or from a stranger: one line with the file and the fix."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pixelwise.errors import ConfigError
from pixelwise.inference.exported.metadata import METADATA_KEY, SelfTest
from pixelwise.inference.exported.onnx_file import OnnxFile
from pixelwise.inference.exported.self_test import verify
from tests.export.helpers import assert_refused, make_config, write_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a file."""
    return write_file(tmp_path / "model.onnx", make_config())


@pytest.mark.parametrize("name", ["runs/pets", "cat.jpg"])
def test_another_kind_of_path_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: is not an exported file; .* ends with \.onnx, \.xml or \.pt2$"):
        verify(name)


@pytest.mark.parametrize(("variables", "seen"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_onnx_runtime_is_imported_without_its_telemetry(
    path: Path, tmp_path: Path, variables: dict[str, str], seen: str
) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os\n\nprint(os.environ.get('ORT_DISABLE_TELEMETRY'))\nraise ImportError\n"
    )
    code = (
        "import os, sys, pixelwise as pw\n"
        "try:\n    pw.ExportedPredictor.load(sys.argv[1])\nexcept pw.ConfigError as error:\n    print(error)\n"
        "print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | variables
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, check=True
    )
    imported, error, after = done.stdout.splitlines()
    assert imported == seen and "needs onnxruntime; pip install 'pixelwise[onnx]'" in error
    assert after == str(variables.get("ORT_DISABLE_TELEMETRY")), "the environment is not changed"


def change_metadata(path: Path, **fields: Any) -> None:
    """Replace fields of a file's metadata. Names that begin with "model_" are those of the model."""
    model = onnx.load(path)
    metadata = json.loads(model.metadata_props[0].value)
    for name, value in fields.items():
        target = metadata["model"] if name.startswith("model_") else metadata
        target[name.removeprefix("model_")] = value
    helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    path.write_bytes(model.SerializeToString())


class TestDamaged:
    def test_truncated(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-500])
        assert_refused(path, "truncated", "export it again")

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0" + b"a" * 999, b"PK\x03\x04", b"\0" * 4096])
    def test_a_file_of_another_kind(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert_refused(path, "file of another kind")

    def test_missing_file_and_directory(self, tmp_path: Path) -> None:
        assert_refused(tmp_path / "gone.onnx", "No such file")
        (tmp_path / "folder.onnx").mkdir()
        assert_refused(tmp_path / "folder.onnx", "cannot be read", "; copy it here, or name another file")

    @pytest.mark.parametrize("field", ["opset", "ir"])
    def test_operators_of_a_later_version(self, path: Path, field: str) -> None:
        model = onnx.load(path)
        if field == "opset":
            model.opset_import[0].version = 99
        else:
            model.ir_version = 99
        path.write_bytes(model.SerializeToString())
        assert_refused(path, "99", "update onnxruntime")

    def test_a_file_of_another_program(self, path: Path) -> None:
        model = onnx.load(path)
        del model.metadata_props[:]
        path.write_bytes(model.SerializeToString())
        assert_refused(path, "another program")

    def test_an_operator_that_does_not_exist(self, path: Path) -> None:
        model = onnx.load(path)
        model.graph.node[0].op_type = "Surprise"
        path.write_bytes(model.SerializeToString())
        assert_refused(path, "Surprise")

    def test_weights_in_a_file_of_another_directory(self, path: Path) -> None:
        (path.parent.parent / "secret.bin").write_bytes(b"\0" * 36)
        model = onnx.load(path)
        weights = next(each for each in model.graph.initializer if each.name == "weights")
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "../secret.bin", "offset": "0", "length": "36"}.items():
            weights.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())
        assert_refused(path, "escapes")


class TestMetadata:
    @pytest.mark.parametrize(
        ("fields", "part"),
        [
            ({"format": 2}, "format"),
            ({"model_palette": [[0, 0, 0], [300, 0, 0], [0, 0, 0]]}, "palette"),
            ({"model_palette": [[0, 0, 0]]}, "1 colors for 3 classes"),
            ({"model_size": 10**9}, "size"),
            ({"model_classes": ["a" * 100_000, "b", "c"]}, "classes"),
            ({"model_std": [0.0, 1.0, 1.0]}, "std"),
            ({"model_encoder": "hf-hub:stranger/model"}, "encoder"),
            ({"unknown": 1}, "unknown"),
            ({"tests": []}, "tests"),
            ({"opset": "many"}, "opset"),
            ({"thresholds": {"class 1": 1.5}}, "thresholds"),
            ({"thresholds": {"secret": 0.5}}, "a threshold of 'secret', which is not a class"),
            ({"data": "all"}, "data"),
        ],
    )
    def test_invalid_fields(self, path: Path, fields: dict[str, Any], part: str) -> None:
        change_metadata(path, **fields)
        assert_refused(path, "its metadata cannot be read", part)

    def test_text_that_is_not_json_and_text_that_is_too_long(self, path: Path) -> None:
        model = onnx.load(path)
        for text, part in (("{", "cannot be read"), ("[" * 10_000_000, "at most")):
            helper.set_model_props(model, {METADATA_KEY: text})
            path.write_bytes(model.SerializeToString())
            assert_refused(path, part)

    def test_other_channels_than_the_operators(self, path: Path) -> None:
        change_metadata(path, model_mean=[1.0, 1.0], model_std=[1.0, 1.0])
        assert_refused(path, "does not take an image (1, H, W, 2)")

    def test_fewer_classes_than_the_operators(self, path: Path) -> None:
        change_metadata(path, model_classes=["a", "b"], model_palette=[[0, 0, 0], [1, 1, 1]])
        assert_refused(path, "gives")

    @pytest.mark.parametrize("text", ["", "not base64!", "aGVsbG8="])
    def test_a_test_image_that_is_no_png(self, path: Path, text: str) -> None:
        change_metadata(path, tests=[{"image": text, "mask": text}])
        assert_refused(path, "a test image is not a PNG file")

    def test_a_huge_test_image(self, path: Path) -> None:
        huge = SelfTest.encode(np.zeros((5000, 5000, 3), np.uint8), np.zeros((5000, 5000), np.uint8))
        change_metadata(path, tests=[huge.model_dump()])
        assert_refused(path, "5000x5000 pixels", "are allowed")

    def test_a_mask_of_another_size(self, path: Path) -> None:
        test = SelfTest.encode(np.zeros((5, 6, 3), np.uint8), np.zeros((6, 5), np.uint8))
        change_metadata(path, tests=[test.model_dump()])
        assert_refused(path, "do not belong together")


def test_operators_that_need_too_much_memory(path: Path) -> None:
    model = onnx.load(path)
    graph = model.graph
    size = onnx.numpy_helper.from_array(np.array([1 << 50], np.int64), "huge_size")
    graph.initializer.append(size)
    shape = helper.make_node("Mul", ["huge_size", "height"], ["huge_shape"])
    height = helper.make_node("Shape", ["image"], ["height"], start=1, end=2)
    huge = helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"])
    total = helper.make_node("ReduceSum", ["huge"], ["class_confidence"], keepdims=1)
    last = next(node for node in graph.node if "class_confidence" in node.output)
    last.output[0] = "unused"
    graph.node.extend([height, shape, huge, total])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(MemoryError):
        OnnxFile(path).run(np.zeros((4, 4, 3), np.uint8))
