"""Tests of output files: their names, their marks, and the mark's hashes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.inference.file_names import mask_kinds, output_files
from pixelwise.inference.fingerprint import fingerprint
from pixelwise.inference.outputs import Mark, digest, read_mark, write_outputs
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.sources import find_images
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image, touch

SUFFIXES = {"mask": ".png", "overlay": ".jpg"}


class TestOutputFiles:
    def test_images_of_the_same_name_have_different_files(self, tmp_path: Path) -> None:
        touch(tmp_path / "x", "cat.jpg", "cat.png", "cat-2.jpg", "cat-2.png", "dog.v1.jpg", "dog.v2.jpg")
        touch(tmp_path / "y", "cat.jpg", "cat-2-2.jpg", "sub/cat.jpg")
        images = find_images([tmp_path / "x", tmp_path / "y", tmp_path / "x" / "cat.jpg"]).images
        assert len(images) == 9, "an image that is listed twice is predicted once"
        targets = list(output_files([name for _, name in images], SUFFIXES, tmp_path / "out"))
        assert len({file for files in targets for file in files.values()}) == 18
        assert targets[[path for path, _ in images].index(tmp_path / "x" / "cat.jpg")] == {
            "mask": tmp_path / "out" / "cat_mask.png",
            "overlay": tmp_path / "out" / "cat_overlay.jpg",
        }
        assert all(file.is_relative_to(tmp_path / "out") for files in targets for file in files.values())

    def test_files_differ_if_case_is_ignored(self, tmp_path: Path) -> None:
        targets = list(output_files([Path("Cat"), Path("cat")], {"mask": ".png"}, tmp_path))
        assert [files["mask"].name for files in targets] == ["Cat_mask.png", "cat-2_mask.png"]

    def test_kinds_of_different_images_do_not_collide(self, tmp_path: Path) -> None:
        # The class mask_x of the image a, and the class x of the image a_mask.
        targets = list(output_files([Path("a"), Path("a_mask")], {"mask_x": ".png", "mask_mask_x": ".png"}, tmp_path))
        assert len({file for files in targets for file in files.values()}) == 4

    def test_class_names_that_differ_only_in_replaced_characters_are_numbered(self) -> None:
        assert mask_kinds(MULTICLASS, ("pet", "background")) == ("mask",)
        kinds = mask_kinds(MULTILABEL, ("left eye", "left/eye", "face"))
        assert kinds == ("mask_left_eye", "mask_left_eye-2", "mask_face")
        kinds = mask_kinds(MULTILABEL, ("Eye", "eye", "a b", "a_b", "a_b-2"))
        assert kinds == ("mask_Eye", "mask_eye-2", "mask_a_b", "mask_a_b-2", "mask_a_b-2-2")

    def test_long_names_are_cut_and_stay_unique(self, tmp_path: Path) -> None:
        names = ("小" * 200, "小" * 200 + "猫", "x" * 1000)
        kinds = mask_kinds(MULTILABEL, names)
        assert len(set(kinds)) == 3
        long = "n" * 250
        suffixes = dict.fromkeys(kinds, ".png") | {"overlay": ".jpg"}
        targets = list(output_files([Path("a") / long, Path("a") / f"{long}x", Path("狗" * 83)], suffixes, tmp_path))
        files = [file for each in targets for file in each.values()]
        assert len(set(files)) == 12
        assert max(len(os.fsencode(file.name)) for file in files) <= 255
        (tmp_path / "a").mkdir()
        for file in files:
            file.touch()
        (short,) = output_files([Path("n" * 243)], {"overlay": ".jpg"}, tmp_path)
        assert short["overlay"].name == "n" * 243 + "_overlay.jpg", "a name that fits is not cut"


class TestMarks:
    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    def test_a_mark_survives_in_the_files(self, predictor: Predictor, tmp_path: Path, suffix: str) -> None:
        prediction = predictor(make_image())
        mark = Mark.of(prediction, "m", "i")
        assert (mark.width, mark.height) == (77, 51) and sum(mark.shares.values()) == pytest.approx(1, abs=1e-5)
        files = {"mask": tmp_path / "mask.png", "overlay": tmp_path / f"overlay{suffix}"}
        write_outputs(prediction, mark, files)
        assert read_mark(files["mask"]) == mark
        assert read_mark(files["overlay"]) == replace(mark, shares={})
        with Image.open(files["mask"]) as stored:
            np.testing.assert_array_equal(np.array(stored), prediction.mask)

    @pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"model": 1}', "[" * 5000, '{"x": NaN}'])
    def test_other_files_have_no_mark(self, tmp_path: Path, text: str) -> None:
        Image.new("L", (4, 4)).save(tmp_path / "plain.png")
        (tmp_path / "notes.png").write_text(text)
        info = PngInfo()
        info.add_text("pixelwise", text)
        Image.new("L", (4, 4)).save(tmp_path / "strange.png", pnginfo=info)
        os.mkfifo(tmp_path / "pipe.png")
        for name in ("plain.png", "notes.png", "strange.png", "pipe.png", "gone.png"):
            assert read_mark(tmp_path / name) is None, name

    def test_the_fingerprint_changes_with_the_weights_and_the_configuration(self) -> None:
        first, second = make_model(("a", "b")), make_model(("a", "b"))
        assert fingerprint(first) == fingerprint(second)
        second.set_normalization((1, 2, 3), (4, 5, 6))
        assert fingerprint(first) != fingerprint(second)
        third = make_model(("a", "b"))
        with torch.no_grad():
            next(third.decoder.parameters()).view(-1)[0] += 1e-3
        assert fingerprint(first) != fingerprint(third)

    def test_the_digest_is_that_of_the_content(self, tmp_path: Path) -> None:
        for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
            (tmp_path / name).write_bytes(content)
        os.mkfifo(tmp_path / "pipe")
        a, b, c = (digest(tmp_path / name) for name in "abc")
        assert a == b != c and len(a) == 32
        assert digest(tmp_path / "pipe") == digest(tmp_path / "gone") == ""
