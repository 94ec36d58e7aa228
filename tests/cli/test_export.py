"""`pixelwise export` and `pixelwise verify`, and predictions with exported files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.export import export, parity
from pixelwise.inference.exported.metadata import SelfTest
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.predictor import Predictor
from tests.cli.helpers import RunCommand, assert_one_line_error
from tests.export.helpers import assert_not_imported, code_of_command, make_config, write_file
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of three images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(make_image(30 + number, 40, number)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(("target", "suffix"), [("onnx", ".onnx"), ("torch", ".pt2")])
def test_export_verify_and_predict(
    target: str, suffix: str, run_cli: RunCommand, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ODD_SIZES", {"one pixel": (1, 1)})
    monkeypatch.setattr(export, "SIZES", ((20, 30),))
    run = tmp_path / "run"
    run.mkdir()
    make_model(("pet", "background", "border")).save(run)
    file = tmp_path / f"model{suffix}"
    result = run_cli("export", run, "--to", target, "--out", file)
    assert (result.code, result.err) == (0, "")
    assert f"file:        {file} (" in result.out and "one pixel (1x1)" in result.out
    assert f"pixelwise verify {file}" in result.out
    result = run_cli("verify", file)
    assert result.code == 0
    assert result.out == f"30x20: 100.0000% of the pixels equal\n{file}: gives the expected masks on this machine\n"
    result = run_cli("predict", file, photos, "--out", tmp_path / "masks")
    assert (result.code, result.err) == (0, "")
    predictor = Predictor.load(run, "cpu", "32-true")
    with (tmp_path / "masks" / "predictions.csv").open(newline="") as table:
        rows = {(row["image"].split("/")[-1], row["class"]): row for row in csv.DictReader(table)}
    for number in range(3):
        expected = predictor(photos / f"{number}.png")
        with Image.open(tmp_path / "masks" / f"{number}_mask.png") as mask:
            np.testing.assert_array_equal(np.array(mask), expected.mask)
        assert (tmp_path / "masks" / f"{number}_overlay.jpg").exists()
        for name, fraction in expected.class_fractions.items():
            assert float(rows[f"{number}.png", name]["fraction"]) == pytest.approx(fraction, abs=1e-6)
    assert run_cli("predict", file, photos, "--out", tmp_path / "masks", "--resume").out.startswith(
        "3 images predicted (3 of them earlier)"
    )
    assert_one_line_error(run_cli("export", run, "--to", target, "--out", file), file, "exists already", "--overwrite")


def test_verify_refuses_other_masks(run_cli: RunCommand, tmp_path: Path) -> None:
    image = make_image(20, 30)
    file = write_file(tmp_path / "model.onnx", make_config(), (SelfTest.encode(image, np.full((20, 30), 7, np.uint8)),))
    result = run_cli("verify", file)
    assert result.code == 2
    assert result.out == "30x20: 0.0000% of the pixels equal\n"
    assert "other masks on this machine: 0.00% of the pixels are equal, and 99.9% are needed" in result.err


class TestRefused:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Write a file."""
        return write_file(tmp_path / "model.onnx", make_config())

    @pytest.mark.parametrize(
        ("flags", "part"),
        [
            (["--view", "tiles"], "has no --view"),
            (["--scale", "0.5"], "has no --scale"),
            (["--tta"], "has no --tta"),
            (["--device", "cuda"], "predicts on the CPU; leave out --device"),
        ],
    )
    def test_options_of_a_run(
        self, run_cli: RunCommand, file: Path, photos: Path, tmp_path: Path, flags: list[str], part: str
    ) -> None:
        result = run_cli("predict", file, photos, "--out", tmp_path / "masks", *flags)
        assert_one_line_error(result, file, part)
        assert not (tmp_path / "masks").exists()

    def test_outputs_that_need_probabilities(
        self, run_cli: RunCommand, file: Path, photos: Path, tmp_path: Path
    ) -> None:
        for name in ("confidence", "probabilities"):
            result = run_cli("predict", file, photos, "--out", tmp_path / "masks", "--write", name)
            assert_one_line_error(result, file, "has no probabilities; export it with --probabilities")
            assert result.err.endswith("--probabilities\n")
            assert not (tmp_path / "masks").exists()
        other = write_file(tmp_path / "other.onnx", make_config(), probabilities=True)
        result = run_cli(
            "predict", other, photos, "--out", tmp_path / "masks", "--write", "confidence", "probabilities"
        )
        assert (result.code, result.err) == (0, "")
        assert len(list((tmp_path / "masks").glob("*_confidence.png"))) == 3

    def test_commands_that_need_a_run(self, run_cli: RunCommand, file: Path, tmp_path: Path) -> None:
        assert_one_line_error(run_cli("export", file, "--out", tmp_path / "again.onnx"), file, "is an exported file")

    def test_a_truncated_file(self, run_cli: RunCommand, file: Path, photos: Path, tmp_path: Path) -> None:
        other = write_file(tmp_path / "model.pt2", make_config())
        for path, part in ((file, "truncated"), (other, "is not a whole torch.export program")):
            path.write_bytes(path.read_bytes()[:-400])
            for command in (("verify", path), ("predict", path, photos, "--out", tmp_path / "masks")):
                assert_one_line_error(run_cli(*command), path, part)
        assert not (tmp_path / "masks").exists()

    def test_class_names_with_directories_stay_in_the_output(
        self, run_cli: RunCommand, photos: Path, tmp_path: Path
    ) -> None:
        names = ("../../evil", "/etc/passwd", "c")
        config = make_config(task="multilabel").model_copy(update={"classes": names})
        file = write_file(tmp_path / "labels.onnx", config)
        assert run_cli("predict", file, photos, "--out", tmp_path / "a" / "masks").code == 0
        written = list(tmp_path.rglob("*_mask_*.png"))
        assert len(written) == 9
        assert all(path.parent == tmp_path / "a" / "masks" for path in written)

    def test_an_image_that_is_read_in_parts(self, run_cli: RunCommand, file: Path, tmp_path: Path) -> None:
        pytest.importorskip("tifffile")
        import tifffile

        tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 5.0, 0.0), True)]
        tifffile.imwrite(tmp_path / "map.tif", make_image(64, 64), photometric="rgb", tile=(32, 32), extratags=tags)
        result = run_cli("predict", file, tmp_path / "map.tif", "--out", tmp_path / "masks")
        assert result.code == 1
        assert "map.tif: is large or has a georeference" in result.err and "predict it with the run" in result.err


def test_thresholds(run_cli: RunCommand, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "ODD_SIZES", {"one pixel": (1, 1)})
    run, file = tmp_path / "run", tmp_path / "model.onnx"
    run.mkdir()
    make_model(("pet", "background", "border")).save(run)
    result = run_cli("export", run, "--out", file, "--thresholds", "pet=0.7", "border=0.2")
    assert (result.code, result.err) == (0, "") and "thresholds:  pet=0.7 border=0.2\n" in result.out
    assert run_cli("predict", file, photos, "--out", tmp_path / "of file").code == 0
    words = ("--thresholds", "pet=0.7", "border=0.2", "--device", "cpu")
    assert run_cli("predict", run, photos, "--out", tmp_path / "of run", *words).code == 0
    assert run_cli("predict", run, photos, "--out", tmp_path / "plain").code == 0
    of_file, of_run, plain = (
        np.concatenate([np.array(Image.open(tmp_path / name / f"{number}_mask.png")).ravel() for number in range(3)])
        for name in ("of file", "of run", "plain")
    )
    assert np.mean(of_file == of_run) > 0.98 > np.mean(of_file == plain)  # a run can compute in bfloat16
    result = run_cli("predict", file, photos, "--out", tmp_path / "more", "--thresholds", "pet=0.5")
    assert_one_line_error(result, "are set by its export; leave out --thresholds")
    assert_one_line_error(run_cli("export", run, "--out", tmp_path / "b.onnx", "--thresholds", "pet"), "CLASS=VALUE")


def test_evaluate_a_file(
    run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ODD_SIZES", {"one pixel": (1, 1)})
    file = tmp_path / "pets.onnx"
    assert run_cli("export", run_copy, "--out", file).code == 0
    result = run_cli("evaluate", file, pets_folder)
    assert (result.code, result.err) == (0, "")
    assert f"model: {file} (onnxruntime, float32)" in result.out
    assert "must be exported with --probabilities" in result.out
    assert f"evaluation: {tmp_path / 'pets-evaluation-test.json'}" in result.out
    run_cli("evaluate", run_copy, pets_folder)
    values = [
        json.loads(path.read_text())["miou"]
        for path in (tmp_path / "pets-evaluation-test.json", run_copy / "evaluation-test.json")
    ]
    assert values[0] == pytest.approx(values[1], abs=0.01)
    assert_one_line_error(run_cli("evaluate", file), "does not state where its data set is")
    assert_one_line_error(run_cli("evaluate", file, pets_folder, "--resolution", "model"), "leave out --resolution")
    assert_one_line_error(run_cli("evaluate", file, pets_folder, "--view", "tiles"), "has no --view; leave it out")


def test_a_prediction_does_not_import_torch(photos: Path, tmp_path: Path) -> None:
    image = make_image(20, 30)
    mask = ExportedPredictor.load(write_file(tmp_path / "first.onnx", make_config()))(image).mask
    file = write_file(tmp_path / "model.onnx", make_config(), (SelfTest.encode(image, mask),))
    code = code_of_command("verify", file) + code_of_command("predict", file, photos, "--out", tmp_path / "masks")
    assert_not_imported(code, "torch", "torchvision", "timm", "onnx")
    assert len(list((tmp_path / "masks").glob("*_mask.png"))) == 3
