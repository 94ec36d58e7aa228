"""What a training works with, made ready: settings, images, model, optimizer; new, or where a run stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from pixelwise.config import Config
from pixelwise.data.augmentations import build_transform, is_cacheable, source_size
from pixelwise.data.io.tar_shard import shards_of
from pixelwise.data.samplers import EpochSampler, ShardSampler
from pixelwise.data.schema import DatasetIndex, Record
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.errors import ConfigError, DataError, RunError
from pixelwise.losses import check_loss
from pixelwise.losses.class_weights import check_class_weights, compute_class_weights
from pixelwise.models.model import SegmentationModel
from pixelwise.planning.plan import Plan
from pixelwise.runs.checkpoint import Checkpoint, rng_states, set_rng_states
from pixelwise.runs.run_dir import Row, Run
from pixelwise.training.progress import TrainingProgress

if TYPE_CHECKING:
    from lightning_fabric import Fabric
from pixelwise.training.optim import _optimizer, _schedule

RESUMABLE = ("epochs", "device", "precision", "num_workers", "cache_images")
"""The settings that may change when a run is resumed."""


@dataclass
class TrainingSetup:
    """What the loop works with; `step` counts optimizer steps, `seconds` those spent training alone."""

    config: Config
    fabric: "Fabric"
    model: SegmentationModel
    ddp_model: nn.Module  # the same model as all processes share it
    optimizer: Any
    lr_scheduler: LRScheduler
    loader: DataLoader[tuple[Tensor, ...]]
    sampler: EpochSampler
    val_loader: DataLoader[tuple[Tensor, ...]]
    class_weights: Tensor | None
    step: int = 0
    seconds: float = 0.0

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Where the training stands after an epoch."""
        return Checkpoint(
            epoch, self.step, self.seconds, self.model.state_dict(), self.optimizer.state_dict(), rng_states()
        )


def create_or_resume_run(
    out: Path, preset: str | None, resume: bool, plan: Plan | None, given: dict[str, Any]
) -> tuple[Run, Checkpoint | None]:
    """A new run's settings, or those of the run in `out` and where it stopped."""
    if not resume:
        Run.ensure_empty(out)
        config = Config.from_preset(preset or "default", plan.settings if plan else None, **given)
        return Run(out, config, preset or "default"), None
    run = Run.open(out)
    asked = run.config.replace(**given)
    changed = [name for name in Config.model_fields if getattr(asked, name) != getattr(run.config, name) and name not in RESUMABLE]
    if changed or preset not in (None, run.preset):
        name = changed[0] if changed else "preset"
        kept = getattr(run.config, name) if changed else run.preset
        raise ConfigError(
            f"--resume cannot change {name} ({kept!r} in {out}/config.yaml); "
            f"only {', '.join(RESUMABLE)} may differ"
        )
    checkpoint = run.load_checkpoint()
    if checkpoint is not None and checkpoint.epoch >= asked.epochs:
        raise RunError(f"{out}: has its {checkpoint.epoch} epochs already; raise --epochs to train further")
    return Run(out, asked, run.preset), checkpoint


def build_training(
    data: DatasetIndex, config: Config, fabric: "Fabric", train_records: Sequence[Record],
    val_records: Sequence[Record],
    bars: TrainingProgress,
) -> TrainingSetup:  # fmt: skip
    """Read the images, build the model, and share both among the processes."""
    # First what can be wrong in a moment, then what takes its time.
    check_class_weights(config.class_weights, data.classes)
    check_loss(config.loss, data.read_spec.task)
    model = config.create_model(data.classes, data.palette, data.read_spec)
    train_set, val_set = _open_images(data, config, fabric, train_records, val_records, bars)
    if data.read_spec.channels != 3:
        model.set_normalization(*channel_statistics(train_set))
    sampler = _sampler(train_set, config, fabric)
    count = len(data.classes)
    weights = compute_class_weights(config.class_weights, data.classes, lambda: train_set.class_pixels(count))
    if min(sampler.global_sizes()) < 2 * fabric.world_size and config.image_size <= model.encoder.reductions[-1]:
        raise ConfigError(
            f"one image of {config.image_size} px a process is a single pixel at the encoder's end, of which batch norm "
            "can learn nothing; raise --size or --batch-size"
        )
    if model.encoder.frozen and is_cacheable(config.augmentation):
        model.enable_feature_cache()
    parallel, optimizer = fabric.setup(model, _optimizer(model, config, fused=fabric.device.type != "mps"))
    return TrainingSetup(
        config=config,
        fabric=fabric,
        model=model,
        ddp_model=parallel,
        optimizer=optimizer,
        lr_scheduler=_schedule(optimizer.optimizer, config, config.epochs * len(sampler)),
        loader=DataLoader(
            train_set,
            batch_sampler=sampler,
            num_workers=config.num_workers,
            persistent_workers=config.num_workers > 0,
            collate_fn=collate,
            pin_memory=fabric.device.type == "cuda",
        ),
        sampler=sampler,
        val_loader=DataLoader(val_set, batch_size=config.batch_size, collate_fn=collate),
        class_weights=None if weights is None else weights.to(fabric.device),
    )


def _open_images(
    data: DatasetIndex, config: Config, fabric: "Fabric", train_records: Sequence[Record],
    val_records: Sequence[Record],
    bars: TrainingProgress,
) -> tuple[SegmentationDataset, SegmentationDataset]:  # fmt: skip
    """The images to train on, and this process's share of those to validate on; tells what was left out."""
    train_set = SegmentationDataset(
        train_records,
        data.read_spec,
        source_size(config.augmentation, config.image_size),
        build_transform(config.augmentation, config.image_size),
        progress=bars.track("preparing training images"),
        cache=config.cache_images,
        skip_bad=config.skip_unreadable,
    )
    val_set = SegmentationDataset(
        val_records[fabric.global_rank :: fabric.world_size],
        data.read_spec,
        config.eval_size,
        progress=bars.track("preparing validation images"),
        cache=config.cache_images,
        skip_bad=config.skip_unreadable,
    )
    for line in dict.fromkeys(
        [*train_set.notes, *(f"left out: {each}" for each in train_set.skipped + val_set.skipped)]
    ):
        bars.print(line)
    if len(train_set) == 0 or len(val_set) == 0:
        raise DataError(f"{data.root}: no image is left for {'validation' if len(train_set) else 'training'}")
    return train_set, val_set


def _sampler(images: SegmentationDataset, config: Config, fabric: "Fabric") -> EpochSampler:
    """The order of images: any where they lie in the cache; where shards are streamed, few of them at a time."""
    shards = shards_of(images.records) if images.prepared is None else None
    share = fabric.global_rank, fabric.world_size
    if shards is None:
        return EpochSampler(len(images), config.batch_size, config.seed, *share)
    return ShardSampler(shards, config.batch_size, config.seed, *share, workers=config.num_workers)


def channel_statistics(images: SegmentationDataset, most: int = 200) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over the pixels of at most `most` images, on the scale 0..255."""
    step = math.ceil(len(images) / most)
    pixels = torch.stack([images[index][0] for index in range(0, len(images), step)]).double()
    # A channel that is the same everywhere is left as large as it is.
    return pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).clamp(min=1.0).tolist()


def load_checkpoint(session: TrainingSetup, run: Run, checkpoint: Checkpoint) -> list[Row]:
    """Put a session where the checkpoint left it, and give the rows so far; the schedule is that of the epochs now."""
    session.model.load_state_dict(checkpoint.model)
    groups = [dict(group) for group in session.optimizer.param_groups]
    session.optimizer.load_state_dict(checkpoint.optimizer)
    # The fused optimizer goes over memory as it lies: its state must lie as the weights do, channels last.
    for parameter, kept in session.optimizer.optimizer.state.items():
        for name, value in kept.items():
            if value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter).copy_(value)
    for group, fresh in zip(session.optimizer.param_groups, groups, strict=True):
        group.update({name: value for name, value in fresh.items() if name != "params"})
    session.step, session.seconds = checkpoint.step, checkpoint.train_seconds
    # As its own state would say, so that it knows the optimizer has stepped; the step works out the rate there.
    session.lr_scheduler.load_state_dict({"last_epoch": checkpoint.step - 1, "_step_count": checkpoint.step + 1})
    session.lr_scheduler.step()
    rows = run.read_metrics()[: checkpoint.epoch]
    if len(rows) < checkpoint.epoch:
        raise RunError(
            f"{run.path}/metrics.csv: has {len(rows)} of the {checkpoint.epoch} epochs in last/; "
            "this run cannot be resumed"
        )
    set_rng_states(checkpoint.rng)
    return rows
