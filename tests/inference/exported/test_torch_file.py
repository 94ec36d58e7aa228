"""torch.export programs that are damaged, of another kind, or from a stranger: one line, and no code of theirs runs."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.errors import RunError
from pixelwise.inference.exported import torch_archive
from pixelwise.inference.exported.metadata import SelfTest
from pixelwise.inference.exported.self_test import verify
from pixelwise.inference.exported.torch_file import TorchFile
from tests.export.helpers import assert_refused, make_config, write_file

PROGRAM = "models/model.json"
WEIGHTS, FIRST_WEIGHT = "data/weights/model_weights_config.json", "data/weights/weight_0"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the content of a file."""
    return write_file(tmp_path_factory.mktemp("source") / "model.pt2", make_config()).read_bytes()


@pytest.fixture
def path(source: bytes, tmp_path: Path) -> Path:
    """Write a file."""
    (tmp_path / "model.pt2").write_bytes(source)
    return tmp_path / "model.pt2"


def rewrite(path: Path, entries: Mapping[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    """Replace entries of a file, or remove those that are None."""
    with zipfile.ZipFile(path) as archive:
        kept = {each.split("/", 1)[1]: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**kept, **entries}.items():
            if content is not None:
                archive.writestr(f"archive/{name}", content)


def read(path: Path, name: str) -> Any:
    """Return an entry as JSON."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"archive/{name}"))


def change(path: Path, name: str, edit: Callable[[Any], object]) -> None:
    """Edit an entry as JSON."""
    content = read(path, name)
    edit(content)
    rewrite(path, {name: json.dumps(content).encode()})


def change_nodes(path: Path, edit: Callable[[list[Any]], object]) -> None:
    """Edit the operators."""
    change(path, PROGRAM, lambda program: edit(program["graph_module"]["graph"]["nodes"]))


def change_metadata(path: Path, **fields: Any) -> None:
    """Replace fields of a file's metadata. Names that begin with "model_" are those of the model."""

    def edit(metadata: dict[str, Any]) -> None:
        for name, value in fields.items():
            target = metadata["model"] if name.startswith("model_") else metadata
            target[name.removeprefix("model_")] = value

    change(path, "extra/pixelwise", edit)


class TestDamaged:
    def test_truncated(self, path: Path) -> None:
        content = path.read_bytes()
        for length in (len(content) - 500, len(content) // 2, 40):
            path.write_bytes(content[:length])
            assert_refused(path, "is not a whole torch.export program", "copy or export it again")

    def test_a_bit_in_the_weights(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            weights = archive.read(f"archive/{FIRST_WEIGHT}")
        content = bytearray(path.read_bytes())
        content[content.index(weights)] ^= 1
        path.write_bytes(content)
        assert_refused(path, "Bad CRC-32")

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0" + b"a" * 999, b"PK\x03\x04", b"\0" * 4096])
    def test_a_file_of_another_kind(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert_refused(path, "is not a whole torch.export program")

    def test_other_archives(self, path: Path, tmp_path: Path) -> None:
        torch.save({"weights": torch.zeros(3)}, path)
        assert_refused(path, "is not a whole torch.export program")
        write_file(path, make_config())
        rewrite(path, {"archive_format": b"pt3"})
        assert_refused(path, "is not a torch.export program")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat.jpg", b"cat")
        assert_refused(path, "it has no entry 'archive_format'")

    def test_missing_file_and_directory(self, tmp_path: Path) -> None:
        assert_refused(tmp_path / "gone.pt2", "No such file")
        (tmp_path / "folder.pt2").mkdir()
        assert_refused(tmp_path / "folder.pt2", "cannot be read")

    def test_a_file_of_another_program(self, path: Path) -> None:
        rewrite(path, {"extra/pixelwise": None})
        assert_refused(path, "another program")

    def test_other_versions(self, path: Path) -> None:
        def edit(program: dict[str, Any]) -> None:
            program.update(schema_version={"major": 99, "minor": 1}, torch_version="9.1")

        change(path, PROGRAM, edit)
        assert_refused(path, "version 99, written by torch 9.1", "update pixelwise and torch")
        rewrite(path, {"archive_version": b"7"})
        assert_refused(path, "version 7", "update pixelwise and torch")

    def test_an_operator_that_this_torch_does_not_have(self, path: Path) -> None:
        change_nodes(path, lambda nodes: nodes[0].update(target="torch.ops.aten.add.Surprise"))
        assert_refused(path, f"torch {torch.__version__} has no operator 'torch.ops.aten.add.Surprise'", "update torch")


class TestLimits:
    def test_a_huge_entry(self, path: Path) -> None:
        rewrite(path, {"huge": b"\0" * (1 << 24)}, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 1 << 20
        assert_refused(path, "is compressed")

    def test_entries_that_are_larger_than_the_file(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        record = content.rindex(f"archive/{FIRST_WEIGHT}".encode()) - 46
        assert content[record : record + 4] == b"PK\x01\x02"
        content[record + 20 : record + 28] = (1 << 30).to_bytes(4, "little") * 2
        path.write_bytes(content)
        assert_refused(path, "are larger than the file")

    def test_an_entry_twice(self, path: Path) -> None:
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/models/model.json", b"{}")
        assert_refused(path, "there twice")

    def test_descriptions(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(torch_archive, "_MAX_PROGRAM_BYTES", 1000)
            assert_refused(path, "at most 1000 are allowed")
        rewrite(path, {PROGRAM: b"[" * 1_000_000})
        assert_refused(path, "is not valid JSON")
        rewrite(path, {PROGRAM: b"[]"})
        assert_refused(path, "is not a whole torch.export program")
        rewrite(path, {"extra/pixelwise": b"[" * 10_000_000})
        assert_refused(path, "at most")

    def test_operators_that_need_too_much_memory(self, path: Path) -> None:
        size = {"name": "size", "arg": {"as_ints": [1 << 45]}, "kind": 1}
        huge = {"as_tensor": {"name": "huge"}}
        zeros = {"target": "torch.ops.aten.zeros.default", "inputs": [size], "outputs": [huge]}
        value = {"name": "self", "arg": huge, "kind": 1}
        use = {
            "target": "torch.ops.aten.relu_.default",
            "inputs": [value],
            "outputs": [{"as_tensor": {"name": "more"}}],
        }
        change_nodes(path, lambda nodes: nodes.extend([zeros, use]))
        with pytest.raises(MemoryError):
            TorchFile(path).run(np.zeros((4, 4, 3), np.uint8))


class TestCodeOfAStranger:
    @pytest.mark.parametrize(
        "target",
        [
            "torch.os.system", "torch.ops.aten.from_file.default", "torch.load", "math.factorial", "_operator.call",
            "torch.ops.aten.conv2d.default.__class__", "#extension:os.system", "torch.ops.aten.add.out",
            "torch.ops.prim.print.default", "torch.ops.aten._unsafe_view.default",
        ],
    )  # fmt: skip
    def test_operators_that_are_not_allowed(self, path: Path, tmp_path: Path, target: str) -> None:
        command = {"name": "command", "arg": {"as_string": f"touch {tmp_path / 'ran'}"}, "kind": 1}
        outputs = [{"as_tensor": {"name": "more"}}]
        change_nodes(path, lambda nodes: nodes.insert(0, {"target": target, "inputs": [command], "outputs": outputs}))
        assert_refused(path, f"the operator {target!r} is not among those that a program may use")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("kind", ["as_custom_obj", "as_graph", "as_operator", "as_surprise"])
    def test_arguments_that_are_not_allowed(self, path: Path, kind: str) -> None:
        argument = {"name": "more", "arg": {kind: {"name": "more", "class_fqn": "os.system"}}, "kind": 1}
        change_nodes(path, lambda nodes: nodes[0]["inputs"].append(argument))
        assert_refused(path, f"an argument of the kind {kind!r}")

    def test_text_that_torch_evaluates_is_not_evaluated(self, path: Path, tmp_path: Path) -> None:
        code = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"

        def edit(program: dict[str, Any]) -> None:
            program["guards_code"] = [code]
            for size in program["graph_module"]["graph"]["tensor_values"]["image"]["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code

        change(path, PROGRAM, edit)
        verify(path)
        assert not (tmp_path / "ran").exists()

    def test_nothing_is_unpickled(self, path: Path, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        harm = pickle.dumps(Harm(ran))
        rewrite(path, {"data/sample_inputs/model.pt": harm})
        verify(path)
        change(path, WEIGHTS, lambda weights: [each.update(use_pickle=True) for each in weights["config"].values()])
        rewrite(path, {FIRST_WEIGHT: harm})
        assert_refused(path, "a weight is not a plain array")
        assert not ran.exists()
        pickle.load(io.BytesIO(harm))
        assert ran.exists(), "the pickle would have run code"


class Harm:
    """An object whose pickle makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class TestProgram:
    @pytest.mark.parametrize(
        ("edit", "part"),
        [
            (lambda meta: meta["sizes"][0].update(as_int=1 << 30), "fewer bytes"),
            (lambda meta: meta["strides"][0].update(as_int=1 << 40), "fewer bytes"),
            (lambda meta: meta["storage_offset"].update(as_int=99), "fewer bytes"),
            (lambda meta: meta["sizes"][0].update(as_int=-1), "invalid shape"),
            (lambda meta: meta["sizes"].pop(), "invalid shape"),
            (lambda meta: meta.update(dtype=10), "not a plain array"),
            (lambda meta: meta.update(layout=1), "not a plain array"),
        ],
    )
    def test_weights_that_do_not_fit_their_bytes(
        self, path: Path, edit: Callable[[dict[str, Any]], None], part: str
    ) -> None:
        change(path, WEIGHTS, lambda weights: edit(next(iter(weights["config"].values()))["tensor_meta"]))
        assert_refused(path, part)

    def test_operators_in_another_order_and_names_that_do_not_exist(self, path: Path) -> None:
        content = path.read_bytes()
        change_nodes(path, lambda nodes: nodes.reverse())
        assert_refused(path, "its operators are not in order")
        path.write_bytes(content)
        change_nodes(path, lambda nodes: nodes.pop())
        assert_refused(path, "an output is not computed")
        path.write_bytes(content)
        rewrite(path, {WEIGHTS: b'{"config": {}}'})
        assert_refused(path, "no bytes for a weight")

    def test_an_output_without_a_name(self, path: Path) -> None:
        def edit(program: dict[str, Any]) -> None:
            program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = "[1, {}]"

        change(path, PROGRAM, edit)
        assert_refused(path, "does not return outputs by name")

    def test_arguments_that_an_operator_does_not_take(self, path: Path) -> None:
        change_nodes(path, lambda nodes: nodes[-1]["inputs"].pop())
        with pytest.raises(RunError, match="cannot compute a mask"):
            verify(path)


class TestMetadata:
    @pytest.mark.parametrize(
        ("fields", "part"),
        [
            ({"format": 2}, "format"),
            ({"model_palette": [[0, 0, 0], [300, 0, 0], [0, 0, 0]]}, "palette"),
            ({"model_size": 10**9}, "size"),
            ({"tests": []}, "tests"),
        ],
    )
    def test_invalid_fields(self, path: Path, fields: dict[str, Any], part: str) -> None:
        change_metadata(path, **fields)
        assert_refused(path, "its metadata cannot be read", part)

    def test_text_that_is_not_utf_8(self, path: Path) -> None:
        rewrite(path, {"extra/pixelwise": b"\xff\xfe"})
        assert_refused(path, "not text")

    def test_other_channels_than_the_operators(self, path: Path) -> None:
        change_metadata(path, model_mean=[1.0, 1.0], model_std=[1.0, 1.0])
        assert_refused(path, "does not take an image (1, H, W, 2)")

    def test_fewer_classes_than_the_operators(self, path: Path) -> None:
        change_metadata(path, model_classes=["a", "b"], model_palette=[[0, 0, 0], [1, 1, 1]])
        assert_refused(path, "gives")

    def test_a_huge_test_image(self, path: Path) -> None:
        huge = SelfTest.encode(np.zeros((5000, 5000, 3), np.uint8), np.zeros((5000, 5000), np.uint8))
        change_metadata(path, tests=[huge.model_dump()])
        assert_refused(path, "5000x5000 pixels", "are allowed")
