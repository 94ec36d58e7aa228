"""From images of every kind to masks of their own size, and the files that are written."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import pixelwise as pw
from pixelwise.data.resize import resize_image
from pixelwise.errors import DataError, RunError
from pixelwise.inference.batch import find_images, predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.visualization import overlay


@pytest.fixture(scope="module")
def predictor(tiny_run: pw.Run) -> Predictor:
    return Predictor.load(tiny_run.path)


def make_image(height: int = 51, width: int = 77, seed: int = 0) -> np.ndarray:
    """A HWC uint8 image of smooth blobs, so that a mask of it has more than one class."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    blobs = F.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (blobs * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


class TestOneImage:
    @pytest.mark.parametrize("size", [(51, 77), (64, 64), (1, 1), (3, 1500), (1200, 2), (333, 257)], ids=str)
    def test_the_mask_has_the_images_own_size(self, predictor: Predictor, size: tuple[int, int]) -> None:
        prediction = predictor(make_image(*size))
        assert prediction.mask.shape == size
        assert prediction.mask.dtype == np.uint8
        assert prediction.mask.max() < len(predictor.classes)
        assert prediction.overlay().size == size[::-1]
        assert sum(prediction.class_fractions.values()) == pytest.approx(1)

    def test_it_is_the_models_logits_brought_to_the_images_size(self, predictor: Predictor) -> None:
        image = make_image()
        size = predictor.model.config.size
        with torch.no_grad():
            logits = predictor.model(resize_image(image, (size, size))[None])
        large = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        exact = pw.Predictor(predictor.model, "cpu", precision="float32")
        assert np.array_equal(exact(image).mask, large.argmax(1)[0].numpy())

    def test_bfloat16_changes_few_pixels(self, predictor: Predictor) -> None:
        image = make_image()
        masks = [pw.Predictor(predictor.model, "cpu", precision)(image).mask for precision in ("float32", "bf16")]
        logits = [pw.Predictor(predictor.model, "cpu", precision).logits([image]) for precision in ("float32", "bf16")]
        assert not torch.equal(*logits), "the precision that was asked for is the one that computes"
        assert np.mean(masks[0] == masks[1]) > 0.95

    def test_path_image_and_array_agree(self, predictor: Predictor, tmp_path: Path) -> None:
        image = make_image()
        Image.fromarray(image).save(tmp_path / "image.png")
        expected = predictor(image)
        for source in (tmp_path / "image.png", str(tmp_path / "image.png"), Image.fromarray(image)):
            prediction = predictor(source)
            assert np.array_equal(prediction.mask, expected.mask)
            assert np.array_equal(prediction.image, image)

    @pytest.mark.parametrize(
        "view",
        [
            lambda image: np.ascontiguousarray(image[..., ::-1])[..., ::-1],  # as OpenCV's BGR is turned
            lambda image: np.asfortranarray(image),
            lambda image: np.asarray(Image.fromarray(image)),  # which cannot be written to
            lambda image: np.repeat(image, 2, axis=1)[:, ::2],
        ],
        ids=["negative strides", "columns first", "read-only", "strided"],
    )
    def test_any_layout_of_an_array(self, predictor: Predictor, view: Callable[[np.ndarray], np.ndarray]) -> None:
        assert np.array_equal(view(make_image()), make_image())
        assert np.array_equal(predictor(view(make_image())).mask, predictor(make_image()).mask)

    def test_a_prediction_keeps_its_image_when_the_array_is_used_again(self, predictor: Predictor) -> None:
        image = make_image()
        prediction = predictor(image)
        image[:] = 0
        assert prediction.image.any()

    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_exif_orientation_is_honoured(self, predictor: Predictor, tmp_path: Path, orientation: int) -> None:
        upright = Image.fromarray(make_image(40, 70))
        turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        exif = Image.Exif()
        exif[274] = orientation
        upright.transpose(turn[orientation]).save(tmp_path / "image.png", exif=exif)
        prediction = predictor(tmp_path / "image.png")
        assert np.array_equal(prediction.image, np.array(upright))
        assert np.array_equal(prediction.mask, predictor(upright).mask)
        with Image.open(tmp_path / "image.png") as opened:
            assert np.array_equal(predictor(opened).mask, prediction.mask)

    @pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
    def test_any_mode_of_image(self, predictor: Predictor, tmp_path: Path, mode: str) -> None:
        image = Image.fromarray(make_image()).convert(mode)
        expected = predictor(image.convert("RGB") if mode not in ("RGBA", "LA") else image)
        assert np.array_equal(predictor(image).mask, expected.mask)
        suffix = "tif" if mode == "CMYK" else "png"
        image.save(tmp_path / f"image.{suffix}")
        assert np.array_equal(predictor(tmp_path / f"image.{suffix}").mask, expected.mask)

    def test_transparent_pixels_are_white(self, predictor: Predictor) -> None:
        image = np.dstack([make_image(), np.full((51, 77), 255, np.uint8)])
        image[:20, :, 3] = 0
        expected = make_image()
        expected[:20] = 255
        assert np.array_equal(predictor(Image.fromarray(image, "RGBA")).image, expected)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((8, 8, 3), np.float32),
            np.zeros((8, 8, 3), np.int64),
            np.zeros((0, 8, 3), np.uint8),
            np.zeros((1, 8, 8, 3), np.uint8),
        ],
        ids=lambda array: f"{array.shape} {array.dtype}",
    )
    def test_an_array_of_another_kind_is_an_error(self, predictor: Predictor, array: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"\(H, W, 3\) uint8 RGB"):
            predictor(array)

    def test_a_file_that_is_no_image(self, predictor: Predictor, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no image")
        with pytest.raises(DataError, match=r"notes\.txt: not an image"):
            predictor(tmp_path / "notes.txt")
        with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
            predictor(str(tmp_path / "gone.jpg"))

    def test_no_such_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"nowhere: no such run folder; train one"):
            Predictor.load(tmp_path / "nowhere")


class TestBatches:
    def test_a_batch_equals_one_by_one(self, predictor: Predictor) -> None:
        images = [make_image(51, 77, 1), make_image(30, 20, 2), make_image(80, 80, 3)]
        together = predictor.predict_batch(images)
        for image, mask in zip(images, together, strict=True):
            alone = predictor.predict_batch([image])[0]
            assert mask.shape == image.shape[:2]
            # The last bits of a convolution may depend on the batch; a class seldom does.
            assert (mask == alone).mean() > 0.999

    def test_stream_keeps_order_and_names_the_broken_file(self, predictor: Predictor, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.png" for number in range(11)]
        for number, path in enumerate(paths):
            Image.fromarray(make_image(20 + number, 30, number)).save(path)
        paths[4].write_bytes(paths[4].read_bytes()[:200])
        paths[10] = tmp_path / "gone.png"
        results = list(predictor.iter_predictions(iter(paths), batch_size=3))
        assert [path for path, _ in results] == paths
        for number, (path, result) in enumerate(results):
            if number in (4, 10):
                assert isinstance(result, DataError) and str(path) in str(result)
            else:
                assert isinstance(result, pw.Prediction)
                assert result.mask.shape == (20 + number, 30)
                assert np.array_equal(result.image, make_image(20 + number, 30, number))
                assert (result.mask == predictor(path).mask).mean() > 0.999

    def test_stream_of_broken_files_alone_and_of_none(self, predictor: Predictor, tmp_path: Path) -> None:
        gone = [tmp_path / "a.png", tmp_path / "b.png"]
        assert all(isinstance(result, DataError) for _, result in predictor.iter_predictions(gone))
        assert list(predictor.iter_predictions([])) == []

    def test_stream_reads_no_further_ahead_than_it_must(self, predictor: Predictor, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        Image.fromarray(make_image()).save(path)
        asked = 0

        def endless() -> object:
            nonlocal asked
            while True:
                asked += 1
                yield path

        stream = predictor.iter_predictions(endless(), batch_size=2)  # type: ignore[arg-type]
        for _ in range(4):
            next(stream)
        assert asked < 20
        stream.close()


class TestPrediction:
    def test_shares_overlay_and_index_image(self, tmp_path: Path) -> None:
        image, mask = make_image(4, 5), np.array([[0] * 5, [0] * 5, [2] * 5, [0, 2, 2, 2, 2]], np.uint8)
        palette = ((10, 20, 30), (40, 50, 60), (70, 80, 90))
        prediction = pw.Prediction(image, mask, ("a", "b", "c"), palette)
        assert prediction.class_fractions == {"a": 11 / 20, "b": 0.0, "c": 9 / 20}
        assert np.array_equal(prediction.overlay(0.25), overlay(image, mask, palette, 0.25))
        prediction.to_indexed_png().save(tmp_path / "mask.png")
        with Image.open(tmp_path / "mask.png") as stored:
            assert stored.mode == "P"
            assert np.array_equal(stored, mask)
            assert tuple(stored.getpalette()[:9]) == (10, 20, 30, 40, 50, 60, 70, 80, 90)  # type: ignore[index]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestFindImages:
    def test_nested_upper_case_unicode_and_spaces(self, tmp_path: Path) -> None:
        names = ["a.jpg", "b/c.JPEG", "b/d/e f.PNG", "Kätzchen/小猫.webp", "g.tif"]
        touch(tmp_path, *names, "notes.txt", "b/list.csv")
        (tmp_path / "folder.jpg").mkdir()
        found = find_images([tmp_path])
        assert {path for path, _ in found} == {tmp_path / name for name in names}
        assert {str(name) for _, name in found} == {"a", "b/c", "b/d/e f", "Kätzchen/小猫", "g"}

    def test_a_folder_is_read_in_a_fixed_order(self, tmp_path: Path) -> None:
        touch(tmp_path, "c.jpg", "a.jpg", "b.jpg", "a/z.jpg")
        found = [path for path, _ in find_images([tmp_path])]
        assert found == sorted(found)

    def test_names_never_land_on_each_other(self, tmp_path: Path) -> None:
        touch(tmp_path / "x", "cat.jpg", "cat.png", "cat-2.jpg", "cat-2.png", "dog.v1.jpg", "dog.v2.jpg")
        touch(tmp_path / "y", "cat.jpg", "cat-2-2.jpg", "sub/cat.jpg")
        sources = [tmp_path / "x", tmp_path / "y", tmp_path / "x" / "cat.jpg"]
        found = find_images(sources)
        assert len(found) == 10
        assert len({name for _, name in found}) == 10
        assert (tmp_path / "x" / "cat.jpg", Path("cat")) in found
        assert all(not name.is_absolute() and ".." not in name.parts for _, name in found)

    def test_a_file_is_taken_as_it_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "image.dat")
        assert find_images([tmp_path / "image.dat"]) == [(tmp_path / "image.dat", Path("image"))]

    def test_nothing_there(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt")
        with pytest.raises(DataError, match=r"no images in this folder"):
            find_images([tmp_path])
        with pytest.raises(DataError, match=r"gone: no such file or folder"):
            find_images([tmp_path / "gone"])


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def make_images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(make_image(40, 60, 1)).save(folder / "one.jpg")
    Image.fromarray(make_image(31, 17, 2)).save(folder / "deeper" / "zwei drei.PNG")
    (folder / "broken.jpg").write_bytes((folder / "one.jpg").read_bytes()[:300])
    return folder


class TestPredictFiles:
    def test_writes_what_it_says(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        before, out = fingerprint(images), tmp_path / "new" / "out"
        report, skipped = predict_folder(predictor, [images], out)
        assert fingerprint(images) == before
        assert [str(error).split(":")[0] for error in skipped] == [str(images / "broken.jpg")]
        stored = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
        assert stored == report
        assert stored["classes"] == list(predictor.classes)
        assert [Path(entry["photo"]).name for entry in stored["photos"]] == ["zwei drei.PNG", "one.jpg"]
        expected = {"predictions.json"}
        for entry in stored["photos"]:
            prediction = predictor(entry["photo"])
            with Image.open(out / entry["mask"]) as mask:
                assert mask.mode == "P" and mask.size == (entry["width"], entry["height"])
                assert (np.array(mask) == prediction.mask).mean() > 0.999
                assert tuple(mask.getpalette()[:3]) == prediction.palette[0]  # type: ignore[index]
            with Image.open(out / entry["overlay"]) as drawn:
                assert drawn.size == (entry["width"], entry["height"]) and drawn.mode == "RGB"
            assert entry["shares"] == pytest.approx(prediction.class_fractions, abs=2e-3)
            assert sum(entry["shares"].values()) == pytest.approx(1, abs=1e-5)
            expected |= {entry["mask"], entry["overlay"]}
        assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == expected

    @pytest.mark.parametrize("taken", ["one_mask.png", "deeper/zwei drei_overlay.png", "predictions.json"])
    def test_refuses_before_it_writes_anything(
        self, predictor: Predictor, images: Path, tmp_path: Path, taken: str
    ) -> None:
        out = tmp_path / "out"
        (out / taken).parent.mkdir(parents=True)
        (out / taken).write_text("mine")
        before = fingerprint(out)
        with pytest.raises(DataError, match=r"is already there; choose another --out"):
            predict_folder(predictor, [images], out)
        assert fingerprint(out) == before

    def test_a_missing_source_is_told_before_anything_is_written(
        self, predictor: Predictor, images: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match=r"no such file"):
            predict_folder(predictor, [images, tmp_path / "gone.jpg"], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_an_out_that_is_a_file_is_told(self, predictor: Predictor, images: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        with pytest.raises(pw.PixelwiseError, match=r"out.*cannot be made"):
            predict_folder(predictor, [images], tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_into_the_folder_that_it_reads(self, predictor: Predictor, images: Path) -> None:
        before = fingerprint(images)
        predict_folder(predictor, [images], images)
        after = fingerprint(images)
        assert {name: after[name] for name in before} == before
        assert len(after) == len(before) + 5


def test_a_run_moves_anywhere(tiny_run: pw.Run, predictor: Predictor, tmp_path: Path) -> None:
    shutil.copy(tiny_run.path / "model.safetensors", tmp_path)
    shutil.copy(tiny_run.path / "model.json", tmp_path)
    assert np.array_equal(Predictor.load(tmp_path)(make_image()).mask, predictor(make_image()).mask)
