"""Training images in the memory of a device: the batches, the features and the losses of the loader's path."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.image_versions import RandomFlip, Unchanged
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.registry import ComponentSpec
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.training.course import make_course
from pixelwise.training.epoch import training_steps
from pixelwise.training.passes import Batch
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.resident import ResidentImages, make_resident_images
from pixelwise.training.resume import create_run
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState
from pixelwise.training.trainer import prepare_training, seeded
from tests.training.helpers import SMALL, train_epochs

ENOUGH = 1 << 30
"""A limit of memory in bytes that is never reached."""

SETTINGS: dict[str, Any] = {"encoder_training": "none", "augmentation": "flip", "image_size": 64}


def open_setup(pets: pw.DatasetIndex, out: Path, **settings: Any) -> tuple[TrainingSetup, TrainState]:
    """Return a training before its first step. Its images are read by the loader."""
    arguments = {name: value for name, value in (SMALL | SETTINGS | settings).items() if name != "defaults"}
    run = create_run(out, None, arguments, preset=None, plan=None)
    fabric = launch_fabric("cpu", run.config.precision)
    with seeded(0, fabric), TrainingProgress(False) as bars:
        return prepare_training(pets, run, fabric, None, make_course(run.config), bars)


def make_resident(setup: TrainingSetup, limit: int = ENOUGH) -> ResidentImages | None:
    return make_resident_images(setup.datasets[0], setup.model, setup.config, setup.fabric, setup.graphs, limit)


def keep_images(setup: TrainingSetup, limit: int = ENOUGH) -> ResidentImages:
    """Make a training take its images from tables, and return them."""
    setup.resident = make_resident(setup, limit)
    assert setup.resident is not None
    return setup.resident


def epoch_of_batches(setup: TrainingSetup, epoch: int = 0) -> list[Batch]:
    setup.model.train()
    setup.sampler.epoch = epoch
    return [batch for batches, _ in training_steps(setup) for batch in batches]


@pytest.mark.parametrize("spec", ["none", "flip", {"name": "flip", "probability": 0.3}], ids=str)
def test_a_seed_selects_the_version_that_the_transform_makes(spec: ComponentSpec) -> None:
    transform = build_transform(spec, 8)
    assert isinstance(transform, RandomFlip | Unchanged)
    image, mask = torch.arange(192, dtype=torch.uint8).view(3, 8, 8), torch.arange(64, dtype=torch.uint8).view(8, 8)
    versions = transform.versions(image, mask)
    seeds = torch.randint(2**62, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    numbers = transform.choose(seeds)
    assert numbers.unique().tolist() == list(range(transform.count)) == list(range(len(versions)))
    with torch.random.fork_rng(devices=[]):
        for seed, number in zip(seeds, numbers.tolist(), strict=True):
            torch.manual_seed(seed)
            made = transform(image, mask)
            assert all(torch.equal(one, other) for one, other in zip(made, versions[number], strict=True))


class TestBatches:
    @pytest.mark.parametrize("augmentation", ["none", {"name": "flip", "probability": 0.3}], ids=str)
    def test_images_and_masks_are_those_of_the_loader(
        self, pets: pw.DatasetIndex, tmp_path: Path, augmentation: ComponentSpec
    ) -> None:
        settings = {"encoder_training": "all", "augmentation": augmentation, "image_size": "48x32"}
        setup, _ = open_setup(pets, tmp_path / "run", **settings)
        expected = [epoch_of_batches(setup, epoch) for epoch in range(3)]
        resident = keep_images(setup)
        for epoch in (0, 1, 0, 2, 2):  # the rows that are prepared for the next epoch are not always those of the next
            for batch, other in zip(epoch_of_batches(setup, epoch), expected[epoch], strict=True):
                assert torch.equal(batch[0], other[0]) and torch.equal(batch[1], other[1])
                assert batch[0].is_contiguous(memory_format=torch.channels_last)
        assert resident.features is None

    def test_masks_with_channels_keep_them(self, pets: pw.DatasetIndex) -> None:
        class TwoChannels(SegmentationDataset):
            """The data set with masks of two classes, as multi-label data has them."""

            def read_all(self, indices: Any) -> list[tuple[Tensor, Tensor]]:
                return [(image, torch.stack([mask, mask + 1])) for image, mask in super().read_all(indices)]

        transform = build_transform("flip", 32)
        images = TwoChannels(pets.train, pets.read_spec, 32, transform)
        config = SimpleNamespace(encoder_training="all", batch_size=4)
        fabric = SimpleNamespace(device=torch.device("cpu"), world_size=1)
        model: Any = None
        assert isinstance(transform, RandomFlip)
        resident = ResidentImages(images, transform, model, config, fabric, limit=ENOUGH)  # type: ignore[arg-type]
        sampler = EpochSampler(len(images), 5, seed=0)
        assert resident.update()
        for (new_images, masks), draws in zip(resident.batches(sampler), sampler, strict=True):
            expected_images, expected_masks = collate(images.__getitems__(draws))
            assert torch.equal(new_images, expected_images) and torch.equal(masks, expected_masks)
            assert masks.shape == (len(draws), 2, 32, 32)

    def test_features_are_those_of_the_images(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        setup, _ = open_setup(pets, tmp_path / "run")
        expected = epoch_of_batches(setup, 1)
        resident = keep_images(setup)
        for (rows, masks), (images, other_masks) in zip(epoch_of_batches(setup, 1), expected, strict=True):
            assert resident.features is not None and rows.dtype == torch.int64 and rows.shape == (len(images),)
            assert torch.equal(masks, other_masks)
            with torch.no_grad():
                encoded = setup.model.encode(images)
            for feature, other in zip(resident.features(rows), encoded, strict=True):
                torch.testing.assert_close(feature, other, rtol=1e-4, atol=1e-5)
                assert feature.is_contiguous(memory_format=torch.channels_last)
                assert not feature.requires_grad


@pytest.mark.integration
class TestTraining:
    @pytest.mark.parametrize(
        "settings",
        [{}, {"accumulate": 2, "batch_size": 3}, {"class_weights": "balanced", "precision": "bf16-mixed"}],
        ids=["float32", "accumulate", "bfloat16"],
    )
    def test_losses_are_those_without_tables(
        self, pets: pw.DatasetIndex, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        expected = train_epochs(*open_setup(pets, tmp_path / "without", **settings))
        setup, state = open_setup(pets, tmp_path / "with", **settings)
        resident, encoded = keep_images(setup), []
        setup.model.encoder.register_forward_hook(lambda module, inputs, features: encoded.append(len(inputs[0])))
        losses = train_epochs(setup, state)
        assert losses == pytest.approx(expected, rel=0.01 if "precision" in settings else 1e-4)
        assert resident.features is not None
        # All versions once, after the first one alone, which shows the size of the features.
        assert sum(encoded) == 1 + 2 * len(setup.datasets[0])

    def test_a_changed_weight_of_the_encoder_changes_the_features(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        def train(resident: bool) -> list[float]:
            setup, state = open_setup(pets, tmp_path / str(resident))
            # A cache of features by their images does not notice that the weights have changed.
            setup.model.feature_cache = None
            if resident:
                keep_images(setup)
            losses = train_epochs(setup, state, 1)
            with torch.no_grad():
                for weight in setup.model.encoder.parameters():
                    weight.mul_(1.5)
            return losses + train_epochs(setup, state, 2)

        assert train(True) == pytest.approx(train(False), rel=1e-3)

    def test_an_encoder_that_a_callback_unfreezes_has_no_features(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        setup, _ = open_setup(pets, tmp_path / "run")
        resident = keep_images(setup)
        assert epoch_of_batches(setup)[0][0].ndim == 1
        setup.model.encoder.freeze("all")
        assert epoch_of_batches(setup)[0][0].ndim == 4 and resident.features is None

    def test_batches_of_row_numbers_are_halved(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        expected = train_epochs(*open_setup(pets, tmp_path / "whole", decoder="fpn"), 1)
        setup, state = open_setup(pets, tmp_path / "halved", decoder="fpn")
        resident, sizes = keep_images(setup), []

        def limit_memory(module: Any, inputs: Any) -> None:
            sizes.append(len(inputs[0][0]))
            if sizes[-1] > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        setup.model.decoder.register_forward_pre_hook(limit_memory)
        losses = train_epochs(setup, state, 1)
        assert resident.features is not None and setup.pass_size == 2
        assert sizes[0] == 4 and max(sizes[1:]) == 2
        assert losses == pytest.approx(expected, rel=0.2)  # batch norm has the statistics of the halves


class TestMemory:
    def test_tables_above_the_limit_are_left_out(
        self, pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        setup, _ = open_setup(pets, tmp_path / "run")
        image_bytes = 2 * len(setup.datasets[0]) * 64 * 64 * (3 + 1)
        with caplog.at_level(logging.DEBUG, logger="pixelwise"):
            for limit, kept in [
                (image_bytes - 1, (False, False)),
                (image_bytes, (True, False)),
                (ENOUGH, (True, True)),
            ]:
                resident = keep_images(setup, limit)
                setup.model.train()
                assert (resident.update(), resident.features is not None) == kept
                epoch_of_batches(setup)
        left_out = [message for message in caplog.messages if "are not kept on the device" in message]
        assert [message.split()[1] for message in left_out] == ["images", "features"]

    def test_a_training_goes_on_if_the_memory_does_not_suffice(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(images: Tensor) -> list[Tensor]:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        setup, state = open_setup(pets, tmp_path / "run")
        setup.model.feature_cache = None
        resident = keep_images(setup)
        with monkeypatch.context() as patched, caplog.at_level(logging.DEBUG, logger="pixelwise"):
            patched.setattr(setup.model, "encode", fail)
            setup.model.train()
            assert resident.update() and resident.features is None
        losses = train_epochs(setup, state, 2)
        assert resident.features is None, "they are tried once"
        assert sum("features of the training are not kept" in message for message in caplog.messages) == 1
        other, other_state = open_setup(pets, tmp_path / "other")
        assert losses == pytest.approx(train_epochs(other, other_state, 2), rel=1e-4)

    def test_other_errors_are_raised(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(images: Tensor) -> list[Tensor]:
            raise RuntimeError("shape mismatch")

        setup, _ = open_setup(pets, tmp_path / "run")
        resident = keep_images(setup)
        monkeypatch.setattr(setup.model, "encode", fail)
        with pytest.raises(RuntimeError, match="shape mismatch"):
            resident.update()


def test_only_fixed_images_with_known_versions_are_kept(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    others: dict[str, dict[str, Any]] = {
        "crop": {"augmentation": "crop"},
        "mosaic": {"mosaic": 0.5},
        "start_size": {"start_size": 32},
        "tiles": {"view": "tiles"},
    }
    for name, settings in others.items():
        setup, _ = open_setup(pets, tmp_path / name, **settings)
        assert make_resident(setup) is None, name
    setup, _ = open_setup(pets, tmp_path / "cpu")
    assert setup.resident is None, "a CPU has the feature cache"
    assert make_resident(setup) is not None
