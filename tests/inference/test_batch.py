"""Tests of predictions for files and directories: what is written, and which failures end a prediction."""

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.mask_format import MaskFormat
from pixelwise.errors import ConfigError, DataError, OutputError, OutputExistsError
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.file_names import mask_kinds
from pixelwise.inference.predictor import Predictor
from tests.inference.conftest import make_model
from tests.inference.helpers import fingerprint, make_image, touch


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
        assert stored == result.report == json.loads(json.dumps(result.report))
        assert list(result.images) == stored["photos"]
        assert stored["classes"] == list(predictor.classes)
        assert stored["failed"] == [str(result.failed[0])]
        assert [Path(entry["photo"]).name for entry in stored["photos"]] == ["zwei drei.PNG", "one.jpg"]
        expected = {"predictions.json", "predictions.csv", "objects.csv"}
        for entry in stored["photos"]:
            assert set(entry) == {"photo", "width", "height", "mask", "overlay", "shares"}
            prediction = predictor(entry["photo"])
            with Image.open(out / entry["mask"]) as mask:
                assert mask.mode == "L" and mask.size == (entry["width"], entry["height"])
                assert (np.array(mask) == prediction.mask).mean() > 0.999
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
        for kind, mask in zip(mask_kinds(prediction.task, prediction.classes), prediction.mask, strict=True):
            with Image.open(tmp_path / "out" / entry[kind]) as stored:
                np.testing.assert_array_equal(np.array(stored), mask)
        assert list(entry["shares"]) == ["left eye", "left/eye", "face"]

    def test_tables_have_the_classes_and_the_objects(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        predict_folder(predictor, [images], tmp_path / "out", pixel_size="2um")
        with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        paths = [str(images / "deeper" / "zwei drei.PNG"), str(images / "one.jpg")]
        assert [(row["image"], row["class"]) for row in rows] == [
            (path, name) for path in paths for name in predictor.classes
        ]
        with (tmp_path / "out" / "objects.csv").open(newline="") as file:
            objects = list(csv.DictReader(file))
        for row in rows:
            own = [item for item in objects if (item["image"], item["class"]) == (row["image"], row["class"])]
            if row["class"] == "background":
                assert not own and row["objects"] == ""
            else:
                assert len(own) == int(row["objects"])
                assert sum(int(item["area"]) for item in own) == int(row["pixels"])
            assert float(row["area_um2"]) == 4 * int(row["pixels"])
        assert objects

    def test_every_library_reads_the_colors_of_masks_as_given(self, images: Path, tmp_path: Path) -> None:
        import cv2
        import matplotlib.image
        import skimage.io

        model = make_model(("lesion", "healthy"))
        model.set_data_facts(MaskFormat("RGB", (0xFF8000, 0x1020C0)), None)
        predictor = Predictor(model, "cpu")
        predict_folder(predictor, [images / "one.jpg"], tmp_path / "out", masks="as-given", overlays="none")
        path = tmp_path / "out" / "one_mask.png"
        colors = np.asarray(Image.open(path))
        mask = predictor(images / "one.jpg").mask
        assert len(np.unique(mask)) == 2
        expected = np.array([(0xFF, 0x80, 0x00), (0x10, 0x20, 0xC0)], np.uint8)[mask]
        assert (colors == expected).all(-1).mean() > 0.999
        arrays = {
            "OpenCV, in BGR": np.asarray(cv2.imread(str(path)))[..., ::-1],
            "OpenCV, unchanged": np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[..., ::-1],
            "scikit-image": skimage.io.imread(path),
            "matplotlib": (matplotlib.image.imread(path) * 255).round(),  # it scales PNG files to [0, 1]
        }
        for library, array in arrays.items():
            np.testing.assert_array_equal(array, colors, err_msg=library)

    def test_masks_as_given_and_overlays_on_request(self, images: Path, tmp_path: Path) -> None:
        model = make_model(("lesion", "healthy"))
        with pytest.raises(ConfigError, match="does not contain one mask value per class"):
            predict_folder(Predictor(model, "cpu"), [images], tmp_path / "out", masks="as-given")
        assert not (tmp_path / "out").exists()
        model.set_data_facts(MaskFormat("L", (255, 0)), None)
        predictor = Predictor(model, "cpu")
        predict_folder(predictor, [images], tmp_path / "out", masks="as-given", overlays="none")
        prediction = predictor(images / "one.jpg")
        assert prediction.background == (1,), "the low value of 0 and 255"
        assert sorted(path.name for path in (tmp_path / "out").glob("*.*")) == [
            "objects.csv",
            "one_mask.png",
            "predictions.csv",
            "predictions.json",
        ]
        with Image.open(tmp_path / "out" / "one_mask.png") as mask:
            assert (np.array(mask) == np.where(prediction.mask == 0, 255, 0)).mean() > 0.999
        with pytest.raises(OutputExistsError, match="was made with `masks` as-given"):
            predict_folder(predictor, [images], tmp_path / "out", overlays="none", resume=True)

    @pytest.mark.parametrize(
        "existing",
        ["one_mask.png", "deeper/zwei drei_overlay.jpg", "predictions.json", "objects.csv", "predictions.csv"],
    )
    def test_existing_output_is_refused_before_the_first_prediction(
        self, images: Path, tmp_path: Path, existing: str
    ) -> None:
        out = tmp_path / "out"
        (out / existing).parent.mkdir(parents=True)
        (out / existing).write_text("mine")
        before = fingerprint(out)
        predictor = Predictor(make_model(("pet", "background")), "cpu")
        predictor.model.forward = lambda *_: pytest.fail("predicted before the check")  # type: ignore[method-assign]
        with pytest.raises(
            OutputExistsError,
            match=r"exists already; choose another `out`, continue with",
        ):
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
        assert len(after) == len(before) + 7

    def test_files_beside_the_images_are_named(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        os.mkfifo(images / "pipe.png")
        touch(images, "raw.nef", "notes.txt")
        result = predict_folder(predictor, [images], tmp_path / "out")
        assert [str(error).partition(": ")[0] for error in result.failed] == [
            str(images),
            str(images / "broken.jpg"),
            str(images / "pipe.png"),
        ]
        assert str(result.failed[0]) == f"{images}: 1 .nef (raw.nef: convert them to TIFF or PNG), 1 .txt"
        assert result.image_count == 2


class TestFailuresOfWriting:
    @pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EACCES, errno.EISDIR])
    def test_an_error_of_one_file_fails_one_image(
        self, predictor: Predictor, many: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_for("1_overlay.jpg", OSError(number, os.strerror(number)), monkeypatch)
        result = predict_folder(predictor, [many], tmp_path / "out")
        assert result.image_count == 4
        assert str(result.failed[0]).startswith(
            f"{tmp_path}/out/1_overlay.jpg: cannot be written ({os.strerror(number)})"
        )
        stored = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert len(stored["failed"]) == 2 and len(stored["photos"]) == 4

    def test_a_full_disk_ends_the_prediction_and_it_goes_on_later(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            fail_for("1_mask.png", OSError(errno.ENOSPC, "No space left on device"), patch)
            with pytest.raises(OutputError, match=r"1_mask\.png: no space left on device; free space"):
                predict_folder(predictor, [many], tmp_path / "out")
        assert predict_folder(predictor, [many], tmp_path / "out", resume=True).resumed == 1

    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")], ids=["python", "torch"]
    )
    def test_a_lack_of_memory_fails_one_image(
        self, error: Exception, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_for("1_overlay.jpg", error, monkeypatch)
        result = predict_folder(predictor, [many], tmp_path / "out")
        assert [str(error).partition(";")[0] for error in result.failed][:1] == [
            f"{many}/1.png: not enough memory for its mask"
        ]

    def test_other_errors_of_torch_are_raised(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_for("1_overlay.jpg", RuntimeError("a bug"), monkeypatch)
        with pytest.raises(RuntimeError, match="a bug"):
            predict_folder(predictor, [many], tmp_path / "out")

    def test_a_folder_that_may_not_be_written_is_refused_at_once(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(OutputError, match=r"out: may not be written; choose another `out`"):
            predict_folder(predictor, [many], tmp_path / "out")

    def test_names_as_long_as_a_file_system_allows(self, predictor: Predictor, tmp_path: Path) -> None:
        for name in ("n" * 251 + ".png", "猫" * 83 + ".png", "n" * 250 + "x.png"):
            Image.fromarray(make_image(8, 8)).save(tmp_path / name)
        result = predict_folder(predictor, [tmp_path], tmp_path / "out")
        assert result.failed == () and result.image_count == 3
        assert all((tmp_path / "out" / entry["mask"]).is_file() for entry in result.report["photos"])


def fail_for(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file of this name fail to be written."""
    save, open_path = Image.Image.save, Path.open

    def failing_save(image: Image.Image, path: Path, *args: Any, **kwargs: Any) -> None:
        if Path(path).name == name:
            raise error
        save(image, path, *args, **kwargs)

    def failing_open(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.name == name and "w" in mode:
            raise error
        return open_path(path, mode, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", failing_save)
    monkeypatch.setattr(Path, "open", failing_open)
