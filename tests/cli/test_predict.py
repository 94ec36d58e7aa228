"""`pixelwise predict` as people type it: the place of RUN, the default output directory, and what is left out."""

import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli.demo import find_chelsea
from pixelwise.cli.predict import _default_out, _order_arguments
from pixelwise.data.mask_format import ObjectScale
from pixelwise.errors import ConfigError, RunError
from pixelwise.inference.model_location import find_model, is_model
from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import SegmentationModel
from tests.cli.helpers import RunCommand, assert_one_line_error
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image, touch


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    """Build a model of random weights."""
    return make_model(("pet", "background", "border"))


@pytest.fixture
def here(model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a current directory with a model in runs/pets and three images in "my photos"."""
    (tmp_path / "runs" / "pets").mkdir(parents=True)
    model.save(tmp_path / "runs" / "pets")
    (tmp_path / "my photos").mkdir()
    for number in range(3):
        Image.fromarray(make_image(12, 16, number)).save(tmp_path / "my photos" / f"Kätzchen [{number}].png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def masks(out: str | Path) -> list[str]:
    """Return the names of the masks in a directory without their common ending."""
    return sorted(path.name.removesuffix("_mask.png") for path in Path(out).rglob("*_mask.png"))


class TestOutput:
    def test_each_prediction_has_a_new_directory(self, here: Path, run_cli: RunCommand) -> None:
        for out in ("predictions", "predictions-2"):
            result = run_cli("predict", "runs/pets", "my photos")
            assert (result.code, result.err) == (0, "")
            assert result.out == f"3 images predicted; masks, overlays and tables are in {out}\n"
            assert masks(out) == ["Kätzchen [0]", "Kätzchen [1]", "Kätzchen [2]"]

    def test_resume_continues_the_newest_directory(self, here: Path, run_cli: RunCommand) -> None:
        run_cli("predict", "runs/pets", "my photos/Kätzchen [0].png")
        result = run_cli("predict", "runs/pets", "my photos", "--resume")
        assert result.out == "3 images predicted (1 of them earlier); masks, overlays and tables are in predictions\n"
        result = run_cli("predict", "runs/pets", "my photos", "--overwrite")
        assert result.out == "3 images predicted; masks, overlays and tables are in predictions\n"

    def test_the_default_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert _default_out(continues=True) == _default_out(continues=False) == Path("predictions")
        touch(tmp_path, "predictions/a", "predictions-2/a", "predictions-10/a", "predictions-old/a")
        assert _default_out(continues=False) == Path("predictions-3")
        assert _default_out(continues=True) == Path("predictions-10")

    def test_earlier_outputs_are_not_predicted(self, here: Path, run_cli: RunCommand) -> None:
        for out in ("my photos/out", "my photos/out 2"):
            assert "3 images predicted" in run_cli("predict", "runs/pets", "my photos", "--out", out).out
        result = run_cli("predict", "runs/pets", ".", "--out", "all")
        assert masks("all") == ["Kätzchen [0]", "Kätzchen [1]", "Kätzchen [2]"]
        assert "outputs of an earlier prediction, 2 files of a run" in result.err
        assert result.code == 0

    def test_an_empty_result_writes_nothing(self, here: Path, run_cli: RunCommand) -> None:
        (here / "text.jpg").write_text("text")
        result = run_cli("predict", "runs/pets", "text.jpg", "--out", "deep/out")
        assert result.code == 1
        assert result.out == ""
        first, second = result.err.splitlines()
        assert first.startswith("skipped: text.jpg: not an image")
        assert second == "no image could be predicted, and nothing was written"
        assert not (here / "deep").exists()

    def test_many_skipped_files_are_counted(self, here: Path, run_cli: RunCommand) -> None:
        for number in range(23):
            (here / "my photos" / f"text{number:02}.jpg").write_text("text")
        result = run_cli("predict", "runs/pets", "my photos")
        assert result.code == 1
        lines = result.err.splitlines()
        assert len(lines) == 21 and lines[-1] == "skipped: 3 more; all are in predictions/predictions.json"
        assert len(json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8"))["failed"]) == 23

    def test_files_of_other_types_are_counted(self, here: Path, run_cli: RunCommand) -> None:
        touch(here / "my photos", "a.psd", "b.txt", "c.txt")
        result = run_cli("predict", "runs/pets", "my photos")
        assert result.code == 1
        assert result.err == "skipped: my photos: 1 .psd (a.psd: save them as PNG or TIFF), 2 .txt\n"
        (here / "my photos" / "a.psd").unlink()
        result = run_cli("predict", "runs/pets", "my photos")
        assert (result.code, result.err) == (0, "my photos: left out: 2 .txt\n")

    def test_the_advice_after_an_interrupt_is_a_command(
        self, here: Path, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("pixelwise.inference.batch.predict_folder", interrupt)
        result = run_cli("predict", "runs/pets", "my photos", "--pixel-size", "0.5 um", "--overlays", "jpg")
        assert result.code == 130
        command = "pixelwise predict runs/pets 'my photos' --out predictions --pixel-size '0.5 um' --resume"
        assert result.err == f"pixelwise: stopped; continue with {command}\n"

    def test_flags_of_masks_overlays_and_tables(self, here: Path, run_cli: RunCommand) -> None:
        result = run_cli("predict", "runs/pets", "my photos", "--overlays", "none", "--pixel-size", "0.5um")
        assert result.code == 0
        assert not list(Path("predictions").glob("*_overlay.*"))
        assert "area_um2" in Path("predictions/objects.csv").read_text(encoding="utf-8").splitlines()[0]
        refused = run_cli("predict", "runs/pets", "my photos", "--masks", "as-given")
        assert_one_line_error(refused, "the model does not contain one mask value per class", "set --masks to index")
        assert not Path("predictions-2").exists()


class TestViews:
    def test_much_larger_images_are_noted_with_the_command_for_windows(
        self, here: Path, model: SegmentationModel, run_cli: RunCommand
    ) -> None:
        mosaic = make_model(("pet", "background", "border"))
        mosaic.set_data_facts(None, ObjectScale(32.0, 8.0))
        mosaic.save(here / "runs" / "pets")
        Image.fromarray(make_image(128, 150)).save(here / "a mosaic.png")
        whole = run_cli("predict", "runs/pets", "a mosaic.png", "my photos", "--out", "whole")
        assert whole.code == 0
        assert "1 image is 4x as large as the training images (32 px)" in whole.err
        command = "pixelwise predict runs/pets 'a mosaic.png' --view tiles"
        assert f"predict images of many such objects with --view tiles\nwindows: {command}\n" in whole.err
        tiles = run_cli(*shlex.split(command)[1:], "--out", "tiles")
        assert tiles.code == 0 and "larger" not in tiles.err and "windows:" not in tiles.err
        expected = Predictor(mosaic, "cpu", view="tiles")("a mosaic.png").mask
        with Image.open("tiles/a mosaic_mask.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask), expected)
        with Image.open("whole/a mosaic_mask.png") as mask:
            assert not np.array_equal(np.asarray(mask), expected)

    def test_the_command_for_windows_of_many_images_can_be_pasted(
        self, here: Path, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mosaic = make_model(("pet", "background", "border"))
        mosaic.set_data_facts(None, ObjectScale(3.0, 1.0))
        mosaic.save(here / "runs" / "pets")
        monkeypatch.setattr("pixelwise.cli.predict._MAX_NAMED", 2)
        flags = ["--view", "whole", "--overlays", "none", "--tta"]
        line = run_cli("predict", "runs/pets", "my photos", *flags).err.splitlines()[-1]
        assert line == "windows: pixelwise predict runs/pets 'my photos' --overlays none --view tiles --tta"
        assert run_cli(*shlex.split(line.removeprefix("windows: pixelwise "))).code == 0
        Image.fromarray(make_image(4, 4)).save(here / "my photos" / "small.png")
        line = run_cli("predict", "runs/pets", "my photos", "--overlays", "none").err.splitlines()[-1]
        named = [f"my photos/Kätzchen [{number}].png" for number in range(2)]
        command = shlex.join(["pixelwise", "predict", "runs/pets", *named, "--overlays", "none", "--view", "tiles"])
        assert line == f"windows (2 of 3 images): {command}"

    def test_scale(self, here: Path, run_cli: RunCommand) -> None:
        Image.fromarray(make_image(100, 150)).save(here / "large.png")
        assert run_cli("predict", "runs/pets", "large.png", "--view", "tiles", "--scale", "0.5").code == 0
        model = Predictor.load("runs/pets", "cpu", view="tiles", scale=0.5)
        with Image.open("predictions/large_mask.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask), model("large.png").mask)
        refused = run_cli("predict", "runs/pets", "large.png", "--scale", "0.5")
        assert_one_line_error(refused, "--scale has no effect on whole images; set --view to tiles, or leave it out")


class TestSources:
    def test_patterns_and_urls(self, here: Path, run_cli: RunCommand, memory: str) -> None:
        import fsspec

        fsspec.filesystem("memory").pipe(f"{memory}/at url.png", (here / "my photos/Kätzchen [2].png").read_bytes())
        sources = ("my photos/*[[]0]*", "my photos/Kätzchen [1].png", f"{memory}/at url.png")
        result = run_cli("predict", "runs/pets", *sources, "--out", "out")
        assert (result.code, result.err) == (0, "")
        assert masks("out") == ["Kätzchen [0]", "Kätzchen [1]", "at url"]
        entries = json.loads(Path("out/predictions.json").read_text(encoding="utf-8"))["photos"]
        assert entries[2]["photo"] == f"{memory}/at url.png"
        again = run_cli("predict", "runs/pets", *sources, "--out", "out", "--resume")
        assert "3 images predicted (3 of them earlier)" in again.out

    def test_from_and_to_a_url(self, here: Path, run_cli: RunCommand, memory: str) -> None:
        import fsspec

        system = fsspec.filesystem("memory")
        system.pipe(f"{memory}/images/cat.png", (here / "my photos/Kätzchen [2].png").read_bytes())
        out = ["--out", f"{memory}/masks/"]
        result = run_cli("predict", "runs/pets", f"{memory}/images/*.png", *out)
        assert (result.code, result.err) == (0, "")
        assert result.out == f"1 image predicted; masks, overlays and tables are in {memory}/masks\n"
        assert system.exists(f"{memory}/masks/cat_mask.png") and not Path("memory:").exists()
        again = run_cli("predict", "runs/pets", f"{memory}/images/", *out)
        assert again.code == 2
        assert (
            f"{memory}/masks/predictions.json: exists already; choose another --out, continue with --resume"
            in again.err
        )
        refused = run_cli("predict", "runs/pets", "my photos", "--out", "https://a.b/masks")
        assert refused.code == 2 and "https://a.b/masks: cannot be written file by file; set --out to" in refused.err

    def test_a_url_that_is_missing_is_skipped(self, here: Path, run_cli: RunCommand, memory: str) -> None:
        result = run_cli("predict", "runs/pets", f"{memory}/gone.png", "my photos")
        assert result.code == 1
        assert f"skipped: {memory}/gone.png: no such file" in result.err
        assert "3 images predicted" in result.out

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("my fotos", "my fotos: no such file or directory; did you mean my photos?"),
            ("my photos/*.jpg", "my photos/*.jpg: no file matches this pattern"),
            ("masks", "masks: holds masks, not images"),
            ("ftp://a.b/c.png", "has the protocol 'ftp'"),
        ],
    )
    def test_mistakes(self, here: Path, run_cli: RunCommand, source: str, message: str) -> None:
        (here / "masks").mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(here / "masks" / "a.png")
        assert_one_line_error(run_cli("predict", "runs/pets", source), message)
        assert not (here / "predictions").exists()

    def test_a_folder_without_images_is_an_empty_result(self, here: Path, run_cli: RunCommand) -> None:
        (here / "empty").mkdir()
        result = run_cli("predict", "runs/pets", "empty")
        assert result.code == 1 and not (here / "predictions").exists()
        assert "skipped: empty: no images in this directory (it is empty)" in result.err
        assert "no image could be predicted, and nothing was written" in result.err
        both = run_cli("predict", "runs/pets", "empty", "my photos")
        assert both.code == 1 and "3 images predicted" in both.out


class TestRun:
    def test_exchanged_arguments(self, here: Path, run_cli: RunCommand) -> None:
        result = run_cli("predict", "my photos/Kätzchen [0].png", "my photos/Kätzchen [1].png", "runs/pets")
        assert result.code == 0
        assert result.err == "note: RUN comes before the images; using runs/pets as RUN\n"
        assert masks("predictions") == ["Kätzchen [0]", "Kätzchen [1]"]

    def test_order_of_arguments(self, here: Path) -> None:
        assert _order_arguments("runs/pets", ["a", "b"]) == ("runs/pets", ["a", "b"])
        assert _order_arguments("runs/pets", ["runs/pets"]) == ("runs/pets", ["runs/pets"])
        assert _order_arguments("a", ["b"]) == ("a", ["b"])
        assert _order_arguments("hf://me", []) == ("hf://me", [])  # loading raises the error
        with pytest.raises(ConfigError, match=r"no images to predict; name them: pixelwise predict runs/pets IMAGES"):
            _order_arguments("runs/pets", [])

    @pytest.mark.parametrize("images", [["my photos"], ["my photos/*.png"], ["https://a.b/cat.jpg"], ["cat", "gone"]])
    def test_images_without_a_run_use_the_model_of_the_package(
        self, here: Path, images: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copyfile(next(Path("my photos").glob("*.png")), "cat")
        assert _order_arguments(images[0], images[1:]) == (None, images)
        first = shlex.quote(images[0])
        expected = f"using the model for pets in the package; with your run: pixelwise predict runs/pets {first}\n"
        assert capsys.readouterr().err == expected

    @pytest.mark.parametrize("place", ["runs", "runs/new", "gone", "notes.txt", "empty", "hf://me", "runs/pts"])
    def test_what_is_not_an_image_is_taken_for_a_run(self, here: Path, place: str) -> None:
        touch(here, "runs/new/config.yaml", "notes.txt", "empty/notes.txt")
        assert _order_arguments(place, ["my photos"]) == (place, ["my photos"])

    @pytest.mark.parametrize(
        ("place", "fault"),
        [
            ("my photo", "my photo: no such file or directory; did you mean my photos?"),
            ("empty", "empty: no images in this directory (it is empty)"),
            ("notes.txt", "notes.txt: is neither an image nor a model; name images, or a run before them: "),
            ("runs", "runs: no model here, but runs in it: runs/pets; name one"),
        ],
    )
    def test_a_single_argument_without_images(self, here: Path, place: str, fault: str, run_cli: RunCommand) -> None:
        touch(here, "notes.txt")
        Path("empty").mkdir()
        assert_one_line_error(run_cli("predict", place), fault)

    def test_a_cat_is_found_without_a_run(self, here: Path, run_cli: RunCommand) -> None:
        shutil.rmtree("runs")
        photo = find_chelsea()
        if photo is None:
            pytest.skip("needs scikit-image")
        result = run_cli("predict", photo, "--out", "masks")
        assert result.code == 0
        line = "using the model for pets in the package; for your own classes: pixelwise train DATA"
        assert result.err.splitlines()[0] == line
        with Image.open("masks/chelsea_mask.png") as mask, Image.open(photo) as image:
            assert mask.size == image.size
            assert np.asarray(mask)[160, 230] == 0
        again = run_cli("predict", photo, "--out", "masks", "--resume")
        assert again.code == 0 and "1 image predicted (1 of them earlier)" in again.out

    @pytest.mark.parametrize(
        "place", ["runs/pets", "runs/pets/model.safetensors", "runs/pets/model.json", "pets v2.safetensors"]
    )
    def test_places_of_a_model(self, here: Path, model: SegmentationModel, place: str) -> None:
        (here / "pets v2.safetensors").write_bytes((here / "runs/pets/model.safetensors").read_bytes())
        assert is_model(place)
        image = make_image(12, 16)
        expected = Predictor(model, "cpu", "32-true")(image).mask
        assert np.array_equal(Predictor.load(place, "cpu", "32-true")(image).mask, expected)

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("runs", r"runs: no model here, but runs in it: runs/pets; name one"),
            ("runs/new", r"runs/new: this run has no model yet \(model\.safetensors\); its training writes it after"),
            ("runs/pts", r"runs/pts: no such run directory; did you mean runs/pets\?"),
            ("gone", r"gone: no such run directory; train one with pixelwise train"),
            ("my photos", r"my photos/model\.safetensors: no model here; name a run directory, or train one first"),
            ("notes.txt", r"notes\.txt: is not a model; name a run directory or a \.safetensors file"),
            ("other.safetensors", r"other\.safetensors: has no configuration of a model; name a directory that has"),
        ],
    )
    def test_places_without_a_model(self, here: Path, place: str, message: str) -> None:
        from safetensors.torch import save_file

        touch(here, "runs/new/config.yaml", "notes.txt")
        save_file({}, here / "other.safetensors")
        with pytest.raises(RunError, match=message):
            SegmentationModel.load(find_model(place))

    def test_a_url_is_no_model(self) -> None:
        assert not is_model("https://a.b/model.safetensors")

    def test_the_newest_run_is_the_example(self, here: Path) -> None:
        touch(here, "runs/older/model.safetensors", "runs/newer/model.safetensors")
        os.utime(here / "runs/older/model.safetensors", (1, 1))
        os.utime(here / "runs/newer/model.safetensors", (2e9, 2e9))
        touch(here, "notes.txt")
        with pytest.raises(ConfigError, match="name images, or a run before them: pixelwise predict runs/newer IMAGES"):
            _order_arguments("notes.txt", [])


def test_thresholds_and_filters_are_options_of_the_command(here: Path, run_cli: RunCommand) -> None:
    result = run_cli(
        "predict", "runs/pets", "my photos", "--thresholds", "pet=0.7", "--write", "mask", "--min-object", "9"
    )
    assert result.code == 0, result.err
    assert result.out.endswith("predicted; written to predictions: mask\n")
    refused = run_cli("predict", "runs/pets", "my photos", "--thresholds", "pet")
    assert_one_line_error(refused, "--thresholds: 'pet' is not CLASS=VALUE")
    assert_one_line_error(
        run_cli("predict", "runs/pets", "my photos", "--thresholds", "dog=0.3"), "unknown class 'dog'"
    )
