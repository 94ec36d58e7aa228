"""Contract tests over all writers: default, resume, overwrite, marks, large images and videos."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference import large_file as large_file_module
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.output_options import DEFAULT_OUTPUTS, OUTPUTS
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writers import WRITERS
from tests.inference.conftest import make_model
from tests.inference.helpers import contents, make_image

NAMES = sorted(set(WRITERS))


def check_same(first: Path, second: Path) -> None:
    """Check that two directories have the same files. Probabilities in batches differ in their last digits."""
    files, others = contents(first), contents(second)
    assert files.keys() == others.keys()
    for name in [name for name in files if name.endswith("_probabilities.tif")]:
        np.testing.assert_allclose(tifffile.imread(first / name), tifffile.imread(second / name), atol=1e-4)
        del files[name], others[name]
    assert files == others


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write two images, one of them in a folder."""
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(make_image(40, 60, 1)).save(folder / "one.jpg")
    Image.fromarray(make_image(31, 17, 2)).save(folder / "deeper" / "zwei drei.png")
    return folder


def test_the_command_line_knows_all_writers() -> None:
    from pixelwise.cli.predict import predict_command

    assert list(OUTPUTS) == list(WRITERS)
    text = (predict_command.__doc__ or "").split("\n        write:")[1].split("masks:")[0]
    assert [name for name in OUTPUTS if name not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_prediction_keeps_earlier_images(
    name: str, predictor: Predictor, images: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    Image.fromarray(make_image(25, 33, 3)).save(images / "new.png")
    predict_folder(predictor, [images], whole, write=[name])
    (images / "new.png").rename(tmp_path / "new.png")
    predict_folder(predictor, [images], out, write=[name])
    before = contents(out)
    again = predict_folder(predictor, [images], out, write=[name], resume=True)
    assert again.resumed == 2 and contents(out) == before
    (tmp_path / "new.png").rename(images / "new.png")
    third = predict_folder(predictor, [images], out, write=[name], resume=True)
    assert third.resumed == 2 and third.image_count == 3
    check_same(out, whole)
    with pytest.raises(OutputExistsError, match="exists already"):
        predict_folder(predictor, [images], out, write=[name])
    assert predict_folder(predictor, [images], out, write=[name], overwrite=True).resumed == 0
    check_same(out, whole)


@pytest.mark.parametrize("name", NAMES)
def test_if_no_image_can_be_predicted_nothing_is_written(name: str, predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = predict_folder(predictor, [tmp_path / "broken.png"], tmp_path / "out", write=[name])
    assert len(result.failed) == 1 and not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "predictions.jsonl"
    kept.write_text("of another prediction")
    predict_folder(predictor, [tmp_path / "broken.png"], tmp_path / "out", write=[name], overwrite=True)
    assert kept.read_text() == "of another prediction"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "csv"])
def test_outputs_of_another_model_are_an_error(name: str, predictor: Predictor, images: Path, tmp_path: Path) -> None:
    predict_folder(predictor, [images], tmp_path / "out", write=[name])
    before = contents(tmp_path / "out")
    other = Predictor(make_model(("pet", "background", "rim")), "cpu", "32-true")
    with pytest.raises(OutputExistsError, match="was not made by this model"):
        predict_folder(other, [images], tmp_path / "out", write=[name], resume=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_prediction_continues(
    name: str, predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    predict_folder(predictor, [images], whole, write=[name])

    def stop_after_one(items: Iterator[object], total: int) -> Iterator[object]:
        for number, item in enumerate(items):
            if number == 1:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        predict_folder(predictor, [images], out, stop_after_one, write=[name])  # type: ignore[arg-type]
    assert not (out / "predictions.json").exists()
    assert predict_folder(predictor, [images], out, write=[name], resume=True).resumed == 1
    check_same(out, whole)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DEFAULT_OUTPUTS])
def test_outputs_are_not_predicted_again(name: str, predictor: Predictor, images: Path) -> None:
    predict_folder(predictor, [images], images / "out", write=[name])
    result = predict_folder(predictor, [images], images / "out", write=[name], overwrite=True)
    assert result.image_count == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_large_image_has_the_outputs_of_the_same_image_in_memory(
    name: str, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, make_image(130, 90), photometric="rgb", tile=(64, 64), compression="zlib", metadata=None)
    predict_folder(predictor, [path], tmp_path / "small", write=[name])
    monkeypatch.setattr(large_file_module, "LARGE_PIXELS", 1_000)
    large = predict_folder(predictor, [path], tmp_path / "large", write=[name])
    assert not large.failed and large.image_count == 1
    if name == "overlay":
        return  # its legend and its size are tested elsewhere
    for small_file in sorted((tmp_path / "small").rglob("*.png")) + sorted((tmp_path / "small").rglob("*.tif")):
        large_file = (tmp_path / "large" / small_file.relative_to(tmp_path / "small")).with_suffix(".tif")
        small = np.asarray(Image.open(small_file)) if small_file.suffix == ".png" else tifffile.imread(small_file)
        written = tifffile.imread(large_file)
        assert written.shape == small.shape and written.dtype == small.dtype
        # The resized images of the two ways differ by rounding.
        assert np.mean(np.abs(written.astype(float) - small) <= 2e-2 * max(1.0, small.max())) > 0.99


@pytest.mark.parametrize("name", NAMES)
def test_multilabel_masks(name: str, multilabel_predictor: Predictor, images: Path, tmp_path: Path) -> None:
    result = predict_folder(multilabel_predictor, [images], tmp_path / "out", write=[name])
    assert result.image_count == 2 and not result.failed


def test_a_line_states_what_videos_do_not_have(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    frames = [Image.fromarray(make_image(20, 30, number)) for number in range(3)]
    frames[0].save(images / "a.gif", save_all=True, append_images=frames[1:])
    result = predict_folder(predictor, [images], tmp_path / "out", write=["cutout", "overlay"])
    assert result.notes == (
        f"{images / 'a.gif'}: cutout are not written for videos; predict frames that are image files",
    )
    (entry,) = [entry for entry in result.report["photos"] if entry["photo"].endswith("a.gif")]
    assert entry["overlay"] == "a_overlay.gif" and sum(entry["shares"].values()) == pytest.approx(1, abs=1e-5)
    again = predict_folder(predictor, [images], tmp_path / "out", write=["cutout", "overlay"], resume=True)
    assert again.resumed == 3 and again.report == result.report


def test_wrong_outputs_are_refused(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown output 'masks'"):
        predict_folder(predictor, [images], tmp_path / "out", write=["masks"])
    with pytest.raises(ConfigError, match="`write` is empty"):
        predict_folder(predictor, [images], tmp_path / "out", write=[])
    with pytest.raises(ConfigError, match="`frame_masks` needs the output mask"):
        predict_folder(predictor, [images], tmp_path / "out", write=["csv"], frame_masks=True)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as context:
        context.setattr("pixelwise.inference.writers.base.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"'label-tiff' needs tifffile; pip install 'pixelwise\[tiff\]'"):
            predict_folder(predictor, [images], tmp_path / "out", write=["label-tiff"])
    assert not (tmp_path / "out").exists()


def test_the_default_has_no_journal(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    predict_folder(predictor, [images], tmp_path / "default")
    predict_folder(predictor, [images], tmp_path / "named", write=["csv", "overlay", "mask"])
    assert contents(tmp_path / "default") == contents(tmp_path / "named")
    assert not (tmp_path / "default" / "predictions.jsonl").exists()
    predict_folder(predictor, [images], tmp_path / "cutouts", write=["cutout"])
    _, *lines = (tmp_path / "cutouts" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == [
        str(images / "deeper" / "zwei drei.png"),
        str(images / "one.jpg"),
    ]
