"""Tests of `resume` and `overwrite`: a prediction that was killed goes on, and nothing is replaced unasked."""

import contextlib
import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.visualization import save_image
from tests.inference.conftest import make_model
from tests.inference.helpers import contents, fingerprint, make_image


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def kill_after(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end in place of writing the next file."""
    written, lock = 0, threading.Lock()

    def save(image: Image.Image, out: Path, texts: dict[str, str] | None = None) -> None:
        nonlocal written
        with lock:
            written += 1
            if written > files:
                raise Killed
        save_image(image, out, texts)

    monkeypatch.setattr("pixelwise.inference.outputs.save_image", save)


class TestResume:
    @pytest.mark.parametrize("files", [0, 1, 2, 5, 8, 10])
    def test_a_killed_prediction_goes_on(
        self, predictor: Predictor, many: Path, tmp_path: Path, files: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = predict_folder(predictor, [many], tmp_path / "whole")
        with monkeypatch.context() as patch:
            kill_after(files, patch)
            with contextlib.suppress(Killed):
                predict_folder(predictor, [many], tmp_path / "out")
        if files == 10:
            (tmp_path / "out" / "predictions.json").unlink()
        done = fingerprint(tmp_path / "out")
        table = tmp_path / "out" / "predictions.csv"
        complete = {line.split(",")[0] for line in table.read_text().splitlines()[1:]} if table.exists() else set()
        if files:
            with pytest.raises(OutputExistsError, match=r"`resume`, or replace it with `overwrite`"):
                predict_folder(predictor, [many], tmp_path / "out")
        result = predict_folder(predictor, [many], tmp_path / "out", resume=True)
        assert result.resumed == len(complete) <= files // 2
        assert result.report == whole.report
        assert [str(error) for error in result.failed] == [str(error) for error in whole.failed]
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")
        now = fingerprint(tmp_path / "out")
        kept = [file for path in complete for file in (f"{Path(path).stem}_mask.png", f"{Path(path).stem}_overlay.jpg")]
        assert all(now[name] == done[name] for name in kept), "images that were done are not predicted again"
        assert complete or files < 10

    def test_what_killed_processes_left_is_removed(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        left = tmp_path / "out" / ".pixelwise-0123456789ab"
        left.mkdir(parents=True)
        (left / "0_mask.png").touch()
        predict_folder(predictor, [many], tmp_path / "out", resume=True)
        assert not left.exists()

    def test_new_images_are_added(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        predict_folder(predictor, [many], tmp_path / "out")
        Image.fromarray(make_image(9, 9, 9)).save(many / "9.png")
        result = predict_folder(predictor, [many], tmp_path / "out", resume=True)
        assert (result.resumed, result.image_count) == (5, 6)
        stored = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert [Path(entry["photo"]).stem for entry in stored["photos"]] == ["0", "1", "2", "3", "4", "9"]

    def test_masks_of_another_model_or_image_are_an_error(
        self, predictor: Predictor, many: Path, tmp_path: Path
    ) -> None:
        predict_folder(predictor, [many], tmp_path / "out")
        before = fingerprint(tmp_path / "out")
        other = Predictor(make_model(("pet", "background")), "cpu")
        with pytest.raises(OutputExistsError, match=r"was not made by this model from .*; choose another `out`"):
            predict_folder(other, [many], tmp_path / "out", resume=True)
        Image.fromarray(make_image(20, 30, 77)).save(many / "0.png")
        with pytest.raises(OutputExistsError, match=r"0_\w+.png: was not made by this model from .*0\.png"):
            predict_folder(predictor, [many], tmp_path / "out", resume=True)
        assert fingerprint(tmp_path / "out") == before

    def test_resume_in_the_folder_of_the_images(self, predictor: Predictor, many: Path) -> None:
        first = predict_folder(predictor, [many], many)
        before = contents(many)
        second = predict_folder(predictor, [many], many, resume=True)
        assert second.report == first.report and second.resumed == 5
        assert contents(many) == before

    def test_files_of_a_user_stop_it(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        Image.new("P", (30, 20)).save(tmp_path / "out" / "0_mask.png")
        with pytest.raises(OutputExistsError, match=r"0_mask\.png: was not made by this model"):
            predict_folder(predictor, [many], tmp_path / "out", resume=True)


class TestOverwrite:
    def test_existing_files_are_replaced(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        whole = predict_folder(predictor, [many], tmp_path / "whole")
        other = Predictor(make_model(("pet", "background")), "cpu")
        predict_folder(other, [many], tmp_path / "out")
        result = predict_folder(predictor, [many], tmp_path / "out", overwrite=True)
        assert result.resumed == 0 and result.report == whole.report
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    @pytest.mark.parametrize("argument", ["overwrite", "resume"])
    def test_an_image_is_never_replaced(self, predictor: Predictor, many: Path, argument: str) -> None:
        Image.fromarray(make_image(8, 8)).save(many / "0_mask.png")  # a mask that a person drew
        before = contents(many)
        with pytest.raises(OutputExistsError, match=r"0_mask\.png: is one of the images and would be replaced; choose"):
            predict_folder(predictor, [many], many, **{argument: True})  # type: ignore[arg-type]
        assert contents(many) == before

    def test_both_are_refused(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="`overwrite` and `resume` exclude each other"):
            predict_folder(predictor, [many], tmp_path / "out", overwrite=True, resume=True)
