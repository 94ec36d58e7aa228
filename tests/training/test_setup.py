"""The set-up of a training: class weights, loss objects, and what of the encoder trains."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import pixelwise as pw
from pixelwise.data.io.mask import read_mask
from pixelwise.data.mosaic import join_batch
from pixelwise.errors import ConfigError
from pixelwise.models.model import SegmentationModel
from pixelwise.training.callbacks import Callback
from pixelwise.training.course import paused_epochs
from pixelwise.training.passes import Batch, add_gradients
from pixelwise.training.resume import settle_encoder_training
from pixelwise.training.setup import TrainingSetup, describe_encoder_training
from pixelwise.training.splits import make_train_val_split
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL, equal_tensors, value

pytestmark = pytest.mark.integration


class TestClassWeights:
    def train_one_epoch(self, pets: pw.DatasetIndex, out: Path, **settings: Any) -> dict[str, Tensor]:
        pw.train(pets, out, **SMALL | {"epochs": 1} | settings)
        return load_file(out / "last" / "model.safetensors")

    def test_balanced_is_the_inverse_of_the_pixel_counts(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        # Without crops, images are stored at the size that the model sees, and the counts are those of their masks.
        settings = {"augmentation": "none"}
        unweighted = self.train_one_epoch(pets, tmp_path / "none", **settings)
        balanced = self.train_one_epoch(pets, tmp_path / "balanced", class_weights="balanced", **settings)
        assert not equal_tensors(unweighted, balanced)
        train_records, _ = make_train_val_split(pets, pw.Run.open(tmp_path / "none").config)
        counts = np.zeros(3)
        for record in train_records:
            assert record.mask is not None
            mask = Image.fromarray(read_mask(record.mask, pets.read_spec.label_map))
            counts += np.bincount(np.array(mask.resize((32, 32), Image.Resampling.NEAREST)).ravel(), minlength=3)
        by_hand = {name: float(1e4 / count) for name, count in zip(pets.classes, counts, strict=True)}
        explicit = self.train_one_epoch(pets, tmp_path / "explicit", class_weights=by_hand, **settings)
        for name, tensor in balanced.items():
            torch.testing.assert_close(tensor, explicit[name], rtol=1e-3, atol=1e-4)

    def test_only_classes_with_weight_are_learned(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        weights = {"border": 1, "pet": 0, "background": 0}
        run = pw.train(pets, tmp_path / "run", **SMALL | {"epochs": 8, "lr": 0.01, "class_weights": weights})
        last = run.read_metrics()[-1]
        assert last["iou_background"] == pytest.approx(0, abs=0.05)
        assert last["iou_pet"] == pytest.approx(0, abs=0.05)
        assert value(last, "iou_border") > 0.05

    def test_an_unknown_class_name(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"unknown class 'cat'.*pet, background, border"):
            self.train_one_epoch(pets, tmp_path / "run", class_weights={"cat": 2.0})
        assert not (tmp_path / "run").exists()


class TestLossObjects:
    def test_torchs_cross_entropy_equals_ours(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        settings = SMALL | {"epochs": 1}
        ours = pw.train(pets, tmp_path / "ours", **settings)
        theirs = pw.train(pets, tmp_path / "theirs", loss=torch.nn.CrossEntropyLoss(), **settings)
        assert theirs.config.loss == {"name": "custom", "type": "torch.nn.modules.loss.CrossEntropyLoss"}
        assert pw.Run.open(theirs.path).config.loss == theirs.config.loss
        one, other = (load_file(run.path / "last" / "model.safetensors") for run in (ours, theirs))
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)

    def test_a_loss_without_pixel_weights_refuses_class_weights(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"`loss` has no argument `pixel_weights`.*`class_weights` to none"):
            pw.train(pets, tmp_path / "a", loss=torch.nn.CrossEntropyLoss(), class_weights="balanced", **SMALL)
        assert not (tmp_path / "a").exists()

    @pytest.mark.parametrize("ignore_index", [255, None])
    def test_a_loss_of_segmentation_models_pytorch(
        self, pets: pw.DatasetIndex, tmp_path: Path, ignore_index: int | None
    ) -> None:
        smp = pytest.importorskip("segmentation_models_pytorch")
        loss = smp.losses.LovaszLoss("multiclass", ignore_index=ignore_index)
        run = pw.train(pets, tmp_path / "run", loss=loss, **SMALL | {"epochs": 3, "lr": 0.01})
        losses = [value(row, "train_loss") for row in run.read_metrics()]
        assert losses[-1] < losses[0]


class TestEncoderTraining:
    def describe(self, **settings: Any) -> tuple[str, pw.Config]:
        config = pw.Config(**{"encoder": "mobilenetv2_100", "encoder_weights": "none", "device": "cpu"} | settings)
        config = settle_encoder_training(config, "cpu")
        return describe_encoder_training(config.create_model(("a", "b")), config), config

    def test_a_frozen_encoder(self) -> None:
        text, config = self.describe(encoder_training="none")
        assert text.startswith("encoder: none of its ")
        assert paused_epochs(config) == 0

    def test_an_encoder_that_trains_from_the_start(self) -> None:
        text, config = self.describe(encoder_training="auto")
        trained, total = (int(part.replace(",", "")) for part in (text.split()[1], text.split()[4]))
        assert trained == total > 1_000_000 and text.endswith("from epoch 1")
        assert paused_epochs(config) == 0

    def test_a_decoder_that_trains_first(self) -> None:
        text, config = self.describe(
            encoder_training="decoder-first", freeze_depthwise=True, freeze_batchnorm=True, epochs=8
        )
        trained, total = (int(part.replace(",", "")) for part in (text.split()[1], text.split()[4]))
        assert 0.9 * total < trained < total and "from epoch 3;" in text
        assert "`freeze_depthwise`" in text and "`freeze_batchnorm`" in text
        assert paused_epochs(config) == 2

    def test_frozen_layers(self) -> None:
        text, _ = self.describe(encoder_training="all", freeze_stride=8)
        trained, total = (int(part.replace(",", "")) for part in (text.split()[1], text.split()[4]))
        assert 0.5 * total < trained < total
        assert "layers up to a stride of 8 px do not (`freeze_stride`)" in text
        text, _ = self.describe(encoder_training="all", freeze_stride=64)
        assert "none of its" in text and "(`freeze_stride`)" in text

    def test_auto_depends_on_the_device(self) -> None:
        modes = [settle_encoder_training(pw.Config(), device).encoder_training for device in ("cpu", "cuda", "mps")]
        assert modes == ["decoder-first", "all", "all"]
        assert settle_encoder_training(pw.Config(encoder_weights="none"), "cpu").encoder_training == "all"
        assert settle_encoder_training(pw.Config(freeze_depthwise=True), "cuda").freeze_depthwise is True

    def test_the_encoder_pauses_for_a_quarter_of_the_epochs(
        self, pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class EncoderWeights(Callback):
            def on_train_start(self, state: TrainState) -> None:
                self.on_epoch_end(state)

            def on_epoch_end(self, state: TrainState) -> None:
                sums.append(sum(float(p.detach().double().sum()) for p in state.model.encoder.parameters()))

        sums: list[float] = []
        with caplog.at_level(logging.INFO, logger="pixelwise"):
            pw.train(pets, tmp_path / "run", callbacks=[EncoderWeights()], encoder_training="decoder-first", **SMALL)
        assert sums[0] == sums[1] and len(set(sums[1:])) == 4
        assert sum("weights train, from epoch 2" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("weights", ["none", "bundled"])
def test_an_encoder_of_random_weights_that_does_not_train_is_noted(weights: str) -> None:
    config = pw.Config(encoder_weights=weights, encoder_training="none", image_size=32)
    text = describe_encoder_training(config.create_model(["a", "b"]), config)
    assert text.startswith("encoder: none of its 2,958,848 weights train (`encoder_training` none)")
    assert text.endswith(", and all are random (`encoder_weights` none); train it, or choose weights") == (
        weights == "none"
    )


def test_the_model_trains_on_smaller_images_at_the_start(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and masks are resized in the steps only. Validation has one size."""
    sizes: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []

    def observed(setup: TrainingSetup, batches: list[Batch], global_size: int) -> list[Tensor]:
        images, masks = batches[0]
        sizes.append((setup.sampler.epoch, tuple(images.shape[2:]), tuple(masks.shape[1:])))
        return add_gradients(setup, batches, global_size)

    monkeypatch.setattr("pixelwise.training.epoch.add_gradients", observed)
    settings = SMALL | {"epochs": 3, "image_size": 64, "start_size": "32x64"}
    run = pw.train(pets, tmp_path / "run", **settings)
    by_epoch = {epoch: {(size, mask) for each, size, mask in sizes if each == epoch} for epoch in range(3)}
    assert by_epoch == {0: {((32, 64), (32, 64))}, 1: {((32, 64), (32, 64))}, 2: {((64, 64), (64, 64))}}
    assert len(run.read_metrics()) == 3 and run.config.start_size == (32, 64)


class TestMosaic:
    def test_batches_have_mosaics_that_differ_between_epochs(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same seed makes the same mosaics again."""
        joined: list[Tensor] = []

        def observed(images: Tensor, masks: Tensor, fraction: float, generator: torch.Generator) -> Any:
            assert fraction == 1
            result = join_batch(images, masks, fraction, generator)
            assert (result[0] != images).flatten(1).any(1).all()
            joined.append(result[0])
            return result

        monkeypatch.setattr("pixelwise.training.epoch.join_batch", observed)
        # Without an augmentation, and with each image in a batch, epochs differ in their order and mosaics only.
        settings = SMALL | {"epochs": 2, "mosaic": 1.0, "augmentation": "none", "batch_size": 64}
        weights = []
        for name in ("one", "other"):
            pw.train(pets, tmp_path / name, **settings)
            weights.append(load_file(tmp_path / name / "last" / "model.safetensors"))
        assert equal_tensors(*weights)
        first, second = ({image.numpy().tobytes() for image in batch} for batch in joined[:2])
        assert not first & second
        assert SegmentationModel.load(tmp_path / "one").config.window_factor == 2

    def test_a_batch_of_one_image_has_no_other_to_join(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"`mosaic` 0\.5 joins .*one image per batch; raise `batch_size`"):
            pw.train(pets, tmp_path / "run", **SMALL | {"mosaic": 0.5, "batch_size": 1})
        assert not (tmp_path / "run").exists()
