"""The export of a run: the files, their content, and what is refused."""

import errno
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import pixelwise
from pixelwise.errors import ConfigError, OutputError, OutputExistsError, RunError
from pixelwise.export import export
from pixelwise.export.base import EXPORTERS, ExportedModel, ExportJob
from pixelwise.export.export import ExportResult, export_model
from pixelwise.export.onnx_exporter import export_onnx
from pixelwise.export.web import exporter
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.self_test import verify
from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import SegmentationModel
from tests.inference.conftest import make_model
from tests.inference.helpers import contents, make_image


def test_the_file_gives_the_masks_of_the_run(exported: ExportResult, predictor: Predictor) -> None:
    file = ExportedPredictor.load(exported.path)
    for number, size in enumerate(((1, 1), (40, 64), (200, 151))):
        image = make_image(*size, seed=number)
        expected, result = predictor(image, probabilities=True), file(image, probabilities=True)
        assert_array_equal(result.mask, expected.mask)
        assert result.probabilities is not None and expected.probabilities is not None
        assert_allclose(result.probabilities, expected.probabilities, atol=1e-4)
    gray = Image.fromarray(make_image()).convert("L")
    assert_array_equal(file(gray).mask, predictor(gray).mask)


@pytest.mark.parametrize(("target", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml"), ("torch", ".pt2")])
def test_thresholds_are_in_the_file(target: str, suffix: str, run: Path, small_sizes: None, tmp_path: Path) -> None:
    thresholds = {"border": 0.2, "pet": 0.6}
    result = export_model(run, tmp_path / f"model{suffix}", target, thresholds=thresholds)
    assert result.metadata.thresholds == thresholds and result.metadata.parity >= 0.999
    assert json.loads(result.report.read_text())["thresholds"] == thresholds
    assert verify(result.path).is_passed
    file, image = Predictor.load(result.path), make_image(90, 120)
    expected = Predictor.load(run, "cpu", "32-true", thresholds=thresholds)(image)
    assert np.mean(file(image).mask == expected.mask) >= 0.999
    plain = Predictor.load(run, "cpu", "32-true")
    assert np.mean(plain(image).mask == expected.mask) < 0.99
    # The masks of the self-test have the thresholds too.
    assert any(np.any(plain(each.image).mask != each.mask) for each in result.images if each.name == "self-test")


def test_thresholds_are_in_the_model_of_a_page(
    run: Path, small_sizes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "read_runtime", lambda path: {})
    page, image = export_model(run, tmp_path / "page", "web", thresholds={"border": 0.2}).path, make_image(90, 120)
    expected = Predictor.load(run, "cpu", "32-true", thresholds={"border": 0.2})(image)
    assert np.mean(Predictor.load(page / "model.onnx")(image).mask == expected.mask) >= 0.999
    assert np.mean(Predictor.load(run, "cpu", "32-true")(image).mask == expected.mask) < 0.99


def test_wrong_thresholds_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`thresholds`: unknown class 'peet'"):
        export_model(run, tmp_path / "model.onnx", thresholds={"peet": 0.4})
    assert list(tmp_path.iterdir()) == []


def test_it_has_only_plain_operators_and_no_batch_norm(exported: ExportResult) -> None:
    model = onnx.load(exported.path)
    assert {each.domain for each in model.opset_import} == {""}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert not model.functions
    shapes = {
        value.name: [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": [1, "height", "width", 3],
        "mask": [1, "height", "width"],
        "probabilities": [1, 3, "height", "width"],
        "class_confidence": [3],
    }


def test_its_metadata_describe_the_model(exported: ExportResult, predictor: Predictor) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    metadata = json.loads(entries["pixelwise"])
    assert metadata["version"] == pixelwise.__version__
    assert (metadata["opset"], metadata["precision"]) == (18, "float32")
    assert 0.999 <= metadata["parity"] <= 1
    assert metadata["model"]["classes"] == ["pet", "background", "border"]
    assert metadata["model"]["palette"] == [list(color) for color in predictor.config.palette]
    assert metadata["model"]["metrics"] == {"val_miou": 0.75}
    assert len(metadata["tests"]) == 2
    assert verify(exported.path).equal == (1.0, 1.0)


def test_its_report_lists_each_measured_image(exported: ExportResult) -> None:
    report = json.loads(exported.report.read_text())
    names = ["one pixel", "one row", "large", "grayscale", "RGBA", "self-test", "self-test"]
    assert [image["name"] for image in report["images"]] == names
    assert min(image["equal"] for image in report["images"]) >= 0.999
    assert report["bytes"] == exported.path.stat().st_size
    assert report["smallest_fraction_of_equal_pixels"] == exported.metadata.parity
    with Image.open(exported.picture) as picture:
        assert picture.format == "PNG" and picture.height > picture.width


class TestRefused:
    def test_a_file_that_gives_other_masks(self, small_sizes: None, run: Path, tmp_path: Path) -> None:
        other = SegmentationModel.load(run)
        other.decoder.load_state_dict({k: -v for k, v in other.decoder.state_dict().items()})

        def export_other(job: ExportJob) -> ExportedModel:
            return export_onnx(ExportJob(Predictor(other, "cpu", "32-true")))

        EXPORTERS.register("other", export_other, suffix=".onnx")
        try:
            with pytest.raises(RunError, match=r"other masks.*are equal, and 99\.9% are needed; nothing was written"):
                export_model(run, tmp_path / "model.onnx", "other")
        finally:
            EXPORTERS.unregister("other")
        assert contents(tmp_path) == {}

    @pytest.mark.parametrize("name", ["model.onnx", "model.onnx-report.json", "model.onnx-report.png"])
    def test_files_that_exist(self, run: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputExistsError, match=rf"{name}: exists already; .* or set `overwrite`"):
            export_model(run, tmp_path / "model.onnx")
        assert contents(tmp_path) == {name: b"mine"}

    def test_another_suffix_and_an_unknown_target(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"ends with \.onnx; choose another `out`"):
            export_model(run, tmp_path / "model.pt")
        with pytest.raises(ConfigError, match=r"unknown export target 'onx' .*did you mean 'onnx'"):
            export_model(run, tmp_path / "model.onnx", "onx")

    def test_a_model_of_windows(self, tmp_path: Path) -> None:
        model = make_model(("a", "b"))
        model.config = model.config.model_copy(update={"view": "tiles"})
        (tmp_path / "run").mkdir()
        model.save(tmp_path / "run")
        with pytest.raises(ConfigError, match=r"overlapping windows.*predict with the run, or train with `view` whole"):
            export_model(tmp_path / "run", tmp_path / "model.onnx")


def test_overwrite_replaces_the_files(small_sizes: None, run: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.onnx-report.json", "model.onnx-report.png"):
        (tmp_path / name).write_text("old")
    result = export_model(run, tmp_path / "model.onnx", overwrite=True)
    assert verify(result.path).is_passed
    assert sorted(contents(tmp_path)) == ["model.onnx", "model.onnx-report.json", "model.onnx-report.png"]
    assert all(content != b"old" for content in contents(tmp_path).values())
    assert json.loads(result.report.read_text())["target"] == "onnx"


def test_targets_with_one_stem_have_their_own_reports(small_sizes: None, run: Path, tmp_path: Path) -> None:
    first = export_model(run, tmp_path / "model.onnx")
    before = contents(tmp_path)
    second = export_model(run, tmp_path / "model.pt2", "torch")
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
    reports = [json.loads(each.report.read_text())["target"] for each in (first, second)]
    assert reports == ["onnx", "torch"] and first.picture != second.picture


@pytest.mark.parametrize("target", ["onnx", "web"])
def test_nothing_is_left_if_the_report_cannot_be_written(
    small_sizes: None, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(exporter, "read_runtime", lambda path: {})

    def fail(table: Path, picture: Path, *args: object) -> None:
        picture.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(picture))

    monkeypatch.setattr(export, "write_report", fail)
    out = tmp_path / "new" / ("model.onnx" if target == "onnx" else "page")
    with pytest.raises(OutputError, match=rf"{out.name}: no space left on device; free space"):
        export_model(run, out, target)
    assert list(tmp_path.iterdir()) == []


def test_the_test_images_of_a_model_with_ranges_are_those_that_the_file_takes(
    small_sizes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(("leaf", "soil"))
    model.config = model.config.model_copy(update={"band_ranges": ((0.0, 255.0),) * 3, "nodata": 7.0})
    model.save(tmp_path / "run")
    drawn = np.full((24, 32, 3), 7, np.uint8)
    drawn[:12] = make_image(12, 32)
    monkeypatch.setattr(export, "draw_image", lambda *_: drawn)
    result = export_model(tmp_path / "run", tmp_path / "model.onnx")
    image, mask = result.metadata.tests[0].decode(3, None)
    assert image.min() == 0 and (image[12:] == 0).all(), "0 has no data in the file"
    assert (mask[12:] == 255).all() and verify(result.path).equal == (1.0, 1.0)
