"""Tests of predictions for images of all kinds: masks of the image's own size, probabilities, order and errors."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pixelwise.data.resize import resize_image
from pixelwise.errors import ConfigError, DataError, OutputExistsError, RunError
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import SegmentationModel
from pixelwise.visualization import overlay
from tests.inference.helpers import make_image


class TestOneImage:
    @pytest.mark.parametrize("size", [(51, 77), (64, 64), (1, 1), (3, 1500), (1200, 2), (333, 257)], ids=str)
    def test_mask_has_the_size_of_the_image(self, predictor: Predictor, size: tuple[int, int]) -> None:
        prediction = predictor(make_image(*size))
        assert prediction.mask.shape == size
        assert prediction.mask.dtype == np.uint8
        assert prediction.mask.max() < len(predictor.classes)
        assert prediction.overlay().size == size[::-1]
        assert sum(prediction.class_fractions.values()) == pytest.approx(1)

    def test_mask_equals_argmax_of_resized_logits(self, predictor: Predictor) -> None:
        image = make_image()
        with torch.no_grad():
            logits = predictor.model(resize_image(image, predictor.size)[None])
        large = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        mask = predictor(image).mask
        assert np.array_equal(mask, large.argmax(1)[0].numpy())
        assert len(np.unique(mask)) > 1

    def test_bfloat16_changes_few_pixels(self, predictor: Predictor) -> None:
        image = make_image()
        masks = [Predictor(predictor.model, "cpu", precision)(image).mask for precision in ("32-true", "bf16-mixed")]
        logits = [
            Predictor(predictor.model, "cpu", precision).logits([image])[0] for precision in ("32-true", "bf16-mixed")
        ]
        assert not torch.equal(*logits), "the two precisions compute different logits"
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
            lambda image: np.ascontiguousarray(image[..., ::-1])[..., ::-1],  # OpenCV images converted from BGR
            lambda image: np.asfortranarray(image),
            lambda image: np.asarray(Image.fromarray(image)),
            lambda image: np.repeat(image, 2, axis=1)[:, ::2],
        ],
        ids=["negative strides", "columns first", "read-only", "strided"],
    )
    def test_array_memory_layout_does_not_matter(
        self, predictor: Predictor, view: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        assert np.array_equal(view(make_image()), make_image())
        assert np.array_equal(predictor(view(make_image())).mask, predictor(make_image()).mask)

    def test_prediction_copies_the_array(self, predictor: Predictor) -> None:
        image = make_image()
        prediction = predictor(image)
        image[:] = 0
        assert prediction.image.any()

    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_exif_orientation_is_applied(self, predictor: Predictor, tmp_path: Path, orientation: int) -> None:
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
    def test_image_modes(self, predictor: Predictor, tmp_path: Path, mode: str) -> None:
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

    def test_file_that_is_not_an_image_is_rejected(self, predictor: Predictor, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("text")
        with pytest.raises(DataError, match=r"notes\.txt: not an image"):
            predictor(tmp_path / "notes.txt")
        with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
            predictor(str(tmp_path / "gone.jpg"))

    def test_missing_run_is_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"nowhere: no such run directory; train one"):
            Predictor.load(tmp_path / "nowhere")


class TestBatches:
    def test_batch_equals_single_images(self, predictor: Predictor) -> None:
        images = [make_image(51, 77, 1), make_image(30, 20, 2), make_image(80, 80, 3)]
        together = predictor.predict_batch(images)
        for image, prediction in zip(images, together, strict=True):
            alone = predictor.predict_batch([image])[0]
            assert prediction.mask.shape == image.shape[:2]
            assert prediction.image is image
            # The last bits of a convolution may depend on the batch, and seldom change a class.
            assert (prediction.mask == alone.mask).mean() > 0.999

    def test_iter_predictions_keeps_order_and_names_broken_files(self, predictor: Predictor, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.png" for number in range(11)]
        for number, path in enumerate(paths):
            Image.fromarray(make_image(20 + number, 30, number)).save(path)
        paths[4].write_bytes(paths[4].read_bytes()[:200])
        paths[10] = tmp_path / "gone.png"
        results = list(predictor.iter_predictions(iter(paths), batch_size=3))
        assert [path for path, _ in results] == paths
        for number, (file, result) in enumerate(results):
            if number in (4, 10):
                assert isinstance(result, DataError) and str(file) in str(result)
            else:
                assert isinstance(result, Prediction)
                assert result.mask.shape == (20 + number, 30)
                assert np.array_equal(result.image, make_image(20 + number, 30, number))
                assert (result.mask == predictor(file).mask).mean() > 0.999

    def test_iter_predictions_of_only_broken_files_and_of_none(self, predictor: Predictor, tmp_path: Path) -> None:
        gone = [tmp_path / "a.png", tmp_path / "b.png"]
        assert all(isinstance(result, DataError) for _, result in predictor.iter_predictions(gone))
        assert list(predictor.iter_predictions([])) == []

    def test_iter_predictions_reads_only_a_few_files_ahead(self, predictor: Predictor, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        Image.fromarray(make_image()).save(path)
        requested = 0

        def repeat_forever() -> Iterator[Path]:
            nonlocal requested
            while True:
                requested += 1
                yield path

        predictions = predictor.iter_predictions(repeat_forever(), batch_size=2)
        for _ in range(4):
            next(predictions)
        assert requested < 20


class TestPrediction:
    def test_class_fractions_overlay_and_indexed_png(self, tmp_path: Path) -> None:
        image, mask = make_image(4, 5), np.array([[0] * 5, [0] * 5, [2] * 5, [0, 2, 2, 2, 2]], np.uint8)
        palette = ((10, 20, 30), (40, 50, 60), (70, 80, 90))
        prediction = Prediction(image, mask, ("a", "b", "c"), palette)
        assert prediction.class_fractions == {"a": 11 / 20, "b": 0.0, "c": 9 / 20}
        assert prediction.overlay(0.25, legend=False) == overlay(image, mask, palette, 0.25)
        prediction.to_indexed_png().save(tmp_path / "mask.png")
        with Image.open(tmp_path / "mask.png") as stored:
            assert stored.mode == "L"
            assert np.array_equal(np.array(stored), mask)

    def test_save_writes_mask_and_overlay(self, tmp_path: Path) -> None:
        mask = np.zeros((150, 160), np.uint8)
        mask[50:, 50:] = 1
        prediction = Prediction(make_image(150, 160), mask, ("background", "cat"), ((0, 0, 0), (255, 0, 0)))
        files = prediction.save(tmp_path / "new" / "cat.v2")
        assert {kind: path.name for kind, path in files.items()} == {
            "mask": "cat.v2_mask.png",
            "overlay": "cat.v2_overlay.jpg",
        }
        with Image.open(files["mask"]) as stored:
            assert np.array_equal(np.array(stored), mask)
        with pytest.raises(OutputExistsError, match=r"cat\.v2_mask\.png: exists already"):
            prediction.save(tmp_path / "new" / "cat.v2")
        assert prediction.save(tmp_path / "new" / "cat.v2", overwrite=True) == files

    def test_prediction_can_be_pickled(self, predictor: Predictor) -> None:
        prediction = predictor(make_image())
        copy = pickle.loads(pickle.dumps(prediction))
        assert np.array_equal(copy.mask, prediction.mask)
        assert np.array_equal(copy.confidence, prediction.confidence)


class TestProbabilities:
    def test_multiclass_probabilities_sum_to_one_and_their_maximum_is_the_mask(self, predictor: Predictor) -> None:
        image = make_image()
        prediction = predictor(image, probabilities=True)
        assert prediction.probabilities is not None
        assert prediction.probabilities.dtype == np.float32
        assert prediction.probabilities.shape == (3, 51, 77)
        np.testing.assert_allclose(prediction.probabilities.sum(0), 1, rtol=1e-5)
        assert np.array_equal(prediction.probabilities.argmax(0), prediction.mask)
        assert np.array_equal(prediction.confidence, prediction.probabilities.max(0))
        assert np.array_equal(prediction.mask, predictor(image).mask)

    def test_multilabel_probabilities_above_half_are_the_mask(self, multilabel_predictor: Predictor) -> None:
        prediction = multilabel_predictor(make_image(), probabilities=True)
        assert prediction.probabilities is not None
        assert prediction.mask.shape == prediction.probabilities.shape == (3, 51, 77)
        assert np.array_equal(prediction.probabilities > 0.5, prediction.mask == 1)
        assert prediction.confidence.shape == (51, 77)
        answers = np.where(prediction.mask == 1, prediction.probabilities, 1 - prediction.probabilities)
        np.testing.assert_allclose(prediction.confidence, answers.min(0))

    def test_probabilities_are_softmax_of_resized_logits(self, predictor: Predictor) -> None:
        image = make_image()
        large = F.interpolate(predictor.logits([image])[0][None], image.shape[:2], mode="bilinear", align_corners=False)
        expected = torch.exp(large) / torch.exp(large).sum(1, keepdim=True)
        (prediction,) = predictor.predict_batch([image], probabilities=True)
        assert prediction.probabilities is not None
        np.testing.assert_allclose(prediction.probabilities, expected[0].numpy(), rtol=1e-5)

    def test_iter_predictions_has_probabilities_on_request(self, predictor: Predictor, tmp_path: Path) -> None:
        Image.fromarray(make_image()).save(tmp_path / "image.png")
        for requested in (True, False):
            ((_, prediction),) = predictor.iter_predictions([tmp_path / "image.png"], probabilities=requested)
            assert isinstance(prediction, Prediction)
            assert (prediction.probabilities is not None) == requested

    def test_confidence_without_probabilities(self, predictor: Predictor, multilabel_predictor: Predictor) -> None:
        for model in (predictor, multilabel_predictor):
            image = make_image()
            expected = model(image, probabilities=True)
            np.testing.assert_allclose(model(image).confidence, expected.confidence, atol=1e-6)
        (prediction,) = predictor.predict_each([image])
        assert isinstance(prediction, Prediction)
        with pytest.raises(ConfigError, match="`probabilities`"):
            _ = prediction.confidence

    def test_class_confidence_is_the_mean_probability_at_the_size_of_the_model(
        self, predictor: Predictor, multilabel_predictor: Predictor
    ) -> None:
        image = make_image(64, 64)
        prediction = predictor(image, probabilities=True)
        assert prediction.probabilities is not None and prediction.class_confidences is not None
        for index, (name, area) in enumerate(prediction.areas.items()):
            mean = float(prediction.probabilities[index][prediction.mask == index].mean()) if area else None
            assert prediction.class_confidences[name] == pytest.approx(mean, abs=1e-5)
        assert None in prediction.class_confidences.values() or min(prediction.areas.values()) > 0
        prediction = multilabel_predictor(image, probabilities=True)
        assert prediction.probabilities is not None and prediction.class_confidences is not None
        for index, name in enumerate(prediction.classes):
            present = prediction.mask[index] == 1
            mean = float(prediction.probabilities[index][present].mean()) if present.any() else None
            assert prediction.class_confidences[name] == pytest.approx(mean, abs=1e-5)


def test_model_files_alone_are_enough(predictor: Predictor, tmp_path: Path) -> None:
    assert isinstance(predictor.model, SegmentationModel)
    predictor.model.save(tmp_path)
    loaded = Predictor.load(tmp_path, "cpu", "32-true")
    assert np.array_equal(loaded(make_image()).mask, predictor(make_image()).mask)
