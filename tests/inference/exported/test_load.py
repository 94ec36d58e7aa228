"""`Predictor.load` of exported files: the interface of a run, and one clear error for what a file does not have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.errors import ConfigError, RunError
from pixelwise.inference.image_predictor import ImagePredictor
from tests.export.helpers import assert_not_imported, make_config, write_file
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

SUFFIXES = (".onnx", ".xml", ".pt2")


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a file of each kind."""
    return write_file(tmp_path / f"model{request.param}", make_config(), probabilities=True)


def test_masks_and_interface(path: Path, tmp_path: Path) -> None:
    predictor, image = pw.Predictor.load(path), make_image(31, 45)
    assert isinstance(predictor, pw.ExportedPredictor)
    prediction = predictor(image, probabilities=True)
    assert prediction.probabilities is not None
    np.testing.assert_array_equal(prediction.mask, prediction.probabilities.argmax(0))
    assert len(np.unique(prediction.mask)) > 1
    # The same public names as the predictor of a run, except for those of a network in torch.
    make_model(("a", "b")).save(tmp_path / "run")
    run = pw.Predictor.load(tmp_path / "run", "cpu")
    of_runs = ("bfloat16", "forward", "image_view", "logits", "model", "shift")
    for name in (name for name in dir(run) if not name.startswith("_")):
        if name in of_runs:
            with pytest.raises(AttributeError, match=f"{path.name}: an exported file has no `{name}`; load its run"):
                getattr(predictor, name)
        elif name != "load_run":
            getattr(predictor, name)
    assert (predictor.device, predictor.tta, predictor.options) == ("cpu", False, "")
    with pytest.raises(AttributeError, match="has no attribute 'madel'"):
        getattr(predictor, "madel")  # noqa: B009 (mypy knows that there is none)


def test_the_masks_are_those_of_the_command(path: Path, tmp_path: Path) -> None:
    image = make_image(40, 30)
    pw.predict_folder(pw.Predictor.load(str(path)), [_save(image, tmp_path)], tmp_path / "out")
    np.testing.assert_array_equal(
        _read(tmp_path / "out" / "image_mask.png"), pw.ExportedPredictor.load(path)(image).mask
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"device": "cuda"}, "an exported file predicts on the CPU; leave out `device`"),
        ({"precision": "bf16-mixed"}, "computes in float32; leave out `precision`"),
        ({"view": "tiles"}, "has no `view`"),
        ({"scale": 0.5}, "has no `scale`"),
        ({"tta": True}, "has no `tta`"),
        ({"thresholds": {"class 1": 0.3}}, "leave out `thresholds`, and export the run with them"),
    ],
)
def test_options_that_a_file_does_not_have(tmp_path: Path, options: dict[str, object], error: str) -> None:
    path = write_file(tmp_path / "model.onnx", make_config())
    with pytest.raises(ConfigError) as caught:
        pw.Predictor.load(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{path}: ") and error in str(caught.value)
    assert "\n" not in str(caught.value) and "the run" in str(caught.value)


def test_options_that_change_nothing(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.onnx", make_config())
    predictor = pw.Predictor.load(path, "cpu", "32-true", "whole", None, False, {})
    assert isinstance(predictor, ImagePredictor)


def test_load_run_refuses_a_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.onnx", make_config())
    with pytest.raises(RunError, match="which has no weights to train or export; name its run here"):
        pw.Predictor.load_run(path)
    with pytest.raises(RunError, match="No such file"):
        pw.Predictor.load(tmp_path / "gone.onnx")


def test_an_onnx_file_does_not_import_torch(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.onnx", make_config())
    code = (
        "import numpy as np, pixelwise as pw\n"
        f"mask = pw.Predictor.load({str(path)!r})(np.full((9, 7, 3), 200, np.uint8)).mask\n"
        "assert mask.shape == (9, 7)\n"
    )
    assert_not_imported(code, "torch", "torchvision", "timm", "onnx")


def _save(image: np.ndarray, folder: Path) -> Path:
    Image.fromarray(image).save(folder / "image.png")
    return folder / "image.png"


def _read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))
