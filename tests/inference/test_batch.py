"""Tests of predictions for files and directories: which files are found, and what is written where."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES
from pixelwise.errors import DataError, OutputExistsError
from pixelwise.inference.batch import find_images, mask_kinds, output_files, predict_folder
from pixelwise.inference.predictor import Predictor
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestFindImages:
    def test_finds_nested_uppercase_unicode_and_spaces(self, tmp_path: Path) -> None:
        names = ["a.jpg", "b/c.JPEG", "b/d/e f.PNG", "Kätzchen/小猫.webp", "g.tif"]
        touch(tmp_path, *names, "notes.txt", "b/list.csv")
        (tmp_path / "folder.jpg").mkdir()
        images = find_images([tmp_path])
        assert {path for path, _ in images} == {tmp_path / name for name in names}
        assert {str(name) for _, name in images} == {"a", "b/c", "b/d/e f", "Kätzchen/小猫", "g"}

    @pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
    def test_finds_every_suffix_that_training_reads(self, tmp_path: Path, suffix: str) -> None:
        touch(tmp_path, f"image.{suffix}", f"IMAGE2.{suffix.upper()}")
        assert len(find_images([tmp_path])) == 2

    def test_skips_the_files_that_training_skips(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", ".hidden.jpg", ".cache/b.jpg", "__MACOSX/a.jpg")
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
        assert [path.name for path, _ in find_images([tmp_path])] == ["a.jpg"]

    def test_order_is_fixed(self, tmp_path: Path) -> None:
        touch(tmp_path, "c.jpg", "a.jpg", "b.jpg", "a/z.jpg")
        images = [path for path, _ in find_images([tmp_path])]
        assert images == sorted(images)

    def test_takes_a_file_whatever_its_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "image.dat")
        assert find_images([tmp_path / "image.dat"]) == [(tmp_path / "image.dat", Path("image"))]

    def test_rejects_missing_sources_and_empty_directories(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt")
        with pytest.raises(DataError, match=r"no images in this directory"):
            find_images([tmp_path])
        with pytest.raises(DataError, match=r"gone: no such file or directory"):
            find_images([tmp_path / "gone"])


class TestOutputFiles:
    def test_images_of_the_same_name_have_different_files(self, tmp_path: Path) -> None:
        touch(tmp_path / "x", "cat.jpg", "cat.png", "cat-2.jpg", "cat-2.png", "dog.v1.jpg", "dog.v2.jpg")
        touch(tmp_path / "y", "cat.jpg", "cat-2-2.jpg", "sub/cat.jpg")
        images = find_images([tmp_path / "x", tmp_path / "y", tmp_path / "x" / "cat.jpg"])
        assert len(images) == 10
        targets = output_files([name for _, name in images], ("mask", "overlay"), tmp_path / "out")
        assert len({file for files in targets for file in files.values()}) == 20
        assert targets[[path for path, _ in images].index(tmp_path / "x" / "cat.jpg")] == {
            "mask": tmp_path / "out" / "cat_mask.png",
            "overlay": tmp_path / "out" / "cat_overlay.png",
        }
        assert all(file.is_relative_to(tmp_path / "out") for files in targets for file in files.values())

    def test_files_differ_if_case_is_ignored(self, tmp_path: Path) -> None:
        targets = output_files([Path("Cat"), Path("cat")], ("mask",), tmp_path)
        assert [files["mask"].name for files in targets] == ["Cat_mask.png", "cat-2_mask.png"]

    def test_kinds_of_different_images_do_not_collide(self, tmp_path: Path) -> None:
        # The class mask_x of the image a, and the class x of the image a_mask.
        targets = output_files([Path("a"), Path("a_mask")], ("mask_x", "mask_mask_x"), tmp_path)
        assert len({file for files in targets for file in files.values()}) == 4

    def test_class_names_that_differ_only_in_replaced_characters_are_numbered(
        self, predictor: Predictor, multilabel_predictor: Predictor
    ) -> None:
        assert mask_kinds(predictor) == ("mask",)
        assert mask_kinds(multilabel_predictor) == ("mask_left_eye", "mask_left_eye-2", "mask_face")
        names = ("Eye", "eye", "a b", "a_b", "a_b-2")
        kinds = mask_kinds(Predictor(make_model(names, multilabel_predictor.task), "cpu"))
        assert kinds == ("mask_Eye", "mask_eye-2", "mask_a_b", "mask_a_b-2", "mask_a_b-2-2")


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the hash and the modification time of each file."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write two images and a truncated one."""
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(make_image(40, 60, 1)).save(folder / "one.jpg")
    Image.fromarray(make_image(31, 17, 2)).save(folder / "deeper" / "zwei drei.PNG")
    (folder / "broken.jpg").write_bytes((folder / "one.jpg").read_bytes()[:300])
    return folder


class TestPredictFolder:
    def test_writes_masks_overlays_and_report(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        before, out = fingerprint(images), tmp_path / "new" / "out"
        result = predict_folder(predictor, [images], out)
        assert fingerprint(images) == before
        assert [str(error).split(":")[0] for error in result.failed] == [str(images / "broken.jpg")]
        assert result.image_count == 2
        stored = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
        assert stored == result.report
        assert stored["classes"] == list(predictor.classes)
        assert [Path(entry["photo"]).name for entry in stored["photos"]] == ["zwei drei.PNG", "one.jpg"]
        expected = {"predictions.json"}
        for entry in stored["photos"]:
            assert set(entry) == {"photo", "width", "height", "mask", "overlay", "shares"}
            prediction = predictor(entry["photo"])
            with Image.open(out / entry["mask"]) as mask:
                assert mask.mode == "P" and mask.size == (entry["width"], entry["height"])
                assert (np.array(mask) == prediction.mask).mean() > 0.999
                assert tuple(mask.getpalette() or ())[:3] == prediction.palette[0]
            with Image.open(out / entry["overlay"]) as drawn:
                assert drawn.size == (entry["width"], entry["height"]) and drawn.mode == "RGB"
            assert entry["shares"] == pytest.approx(prediction.class_fractions, abs=2e-3)
            assert sum(entry["shares"].values()) == pytest.approx(1, abs=1e-5)
            expected |= {entry["mask"], entry["overlay"]}
        assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == expected

    def test_multilabel_classes_have_a_mask_file_each(
        self, multilabel_predictor: Predictor, images: Path, tmp_path: Path
    ) -> None:
        result = predict_folder(multilabel_predictor, [images / "one.jpg"], tmp_path / "out")
        (entry,) = result.report["photos"]
        prediction = multilabel_predictor(images / "one.jpg")
        assert not np.array_equal(prediction.mask[0], prediction.mask[1]), "the test needs masks that differ"
        for kind, mask in zip(mask_kinds(multilabel_predictor), prediction.mask, strict=True):
            with Image.open(tmp_path / "out" / entry[kind]) as stored:
                np.testing.assert_array_equal(np.array(stored), mask)
        assert list(entry["shares"]) == ["left eye", "left/eye", "face"]

    @pytest.mark.parametrize("existing", ["one_mask.png", "deeper/zwei drei_overlay.png", "predictions.json"])
    def test_existing_output_is_refused_before_the_first_prediction(
        self, images: Path, tmp_path: Path, existing: str
    ) -> None:
        out = tmp_path / "out"
        (out / existing).parent.mkdir(parents=True)
        (out / existing).write_text("mine")
        before = fingerprint(out)
        predictor = Predictor(make_model(("pet", "background")), "cpu")
        predictor.model.forward = lambda *_: pytest.fail("predicted before the check")  # type: ignore[method-assign]
        with pytest.raises(OutputExistsError, match=r"exists already; choose another `out`"):
            predict_folder(predictor, [images], out)
        assert fingerprint(out) == before

    def test_missing_source_is_reported_before_anything_is_written(
        self, predictor: Predictor, images: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match=r"no such file"):
            predict_folder(predictor, [images, tmp_path / "gone.jpg"], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_out_that_is_a_file_is_refused(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        with pytest.raises(pw.PixelwiseError, match=rf"^{tmp_path / 'out'}"):
            predict_folder(predictor, [images], tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_writes_into_the_directory_that_it_reads(self, predictor: Predictor, images: Path) -> None:
        before = fingerprint(images)
        predict_folder(predictor, [images], images)
        after = fingerprint(images)
        assert {name: after[name] for name in before} == before
        assert len(after) == len(before) + 5
