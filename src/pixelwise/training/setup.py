"""Construction of the objects that the training loop uses: images, model, loss, optimizer and schedule."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from pixelwise.config import Config
from pixelwise.data.analysis.training_facts import find_mask_format, measure_objects
from pixelwise.data.augmentations import is_cacheable
from pixelwise.data.index import DatasetIndex
from pixelwise.data.input_size import to_pair
from pixelwise.data.partial_labels import FULL_LABELS, PartialLabels
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.schema import Record
from pixelwise.data.task import Task
from pixelwise.data.torch_dataset import SegmentationDataset, collate
from pixelwise.errors import ConfigError
from pixelwise.losses import Loss, check_loss, get_loss
from pixelwise.losses.class_weights import check_class_weights, compute_class_weights
from pixelwise.losses.custom import adapt_loss, move_loss, takes_pixel_weights
from pixelwise.losses.partial import merge_possible_classes
from pixelwise.models.feature_table import FeatureTable
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.checkpoint import Checkpoint, rng_states
from pixelwise.runtime.progress import Progress
from pixelwise.training.course import Course, paused_epochs
from pixelwise.training.data import build_sampler, channel_statistics, open_datasets
from pixelwise.training.kept_features import KeptFeatures, make_kept_features
from pixelwise.training.optim import build_lr_schedule, build_optimizer
from pixelwise.training.resident import ResidentImages, make_resident_images
from pixelwise.training.start_from import start_model
from pixelwise.training.step_graphs import StepGraphs

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

Batches = DataLoader[tuple[Tensor, ...]]


@dataclass(frozen=True)
class TrainingLoss:
    """The loss function with the class weights of the training.

    Attributes:
        function: the loss.
        class_weights: (C,) float32 on the training device, or None.
        task: the task of the data.
        labels: the mask values of pixels with several possible classes.
    """

    function: Loss
    class_weights: Tensor | None
    task: Task
    labels: PartialLabels = FULL_LABELS

    def weighted(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of a training batch. Each pixel has the weight of its class.

        Args:
            logits, masks: see `Loss`.
        """
        logits, masks = merge_possible_classes(logits, masks, self.labels)
        weights = None if self.class_weights is None else self.task.pixel_weights(masks, self.class_weights)
        return self.function(logits, masks, weights)

    def unweighted(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of a validation batch, without class weights.

        Args:
            logits, masks: see `Loss`.
        """
        return self.function(*merge_possible_classes(logits, masks, self.labels), None)


@dataclass
class TrainingSetup:
    """The objects of a training.

    Attributes:
        config: the settings.
        fabric: device, precision and processes.
        model: the model.
        ddp_model: the same model, wrapped so that its gradients are averaged over the processes.
        optimizer: the optimizer, wrapped by Fabric.
        lr_scheduler: advanced once per step.
        loader: this process's training batches.
        sampler: the order of the images in `loader`.
        val_loader: this process's validation batches.
        datasets: the training and the validation images of the two loaders.
        loss: the loss.
        course: the times of the validations and of the end.
        graphs: CUDA graphs of the training steps, or None if they are not used.
        resident: the training images in the memory of the GPU, or None if `loader` reads them.
        kept: the features of a few versions of the training images, or None if none are kept.
        pass_size: maximum number of images in one pass through the model, see `run_in_parts`. None for no limit.
        step: number of optimizer steps so far.
        train_seconds: seconds spent in training steps so far, without validation.
    """

    config: Config
    fabric: "Fabric"
    model: SegmentationModel
    ddp_model: nn.Module
    optimizer: Any
    lr_scheduler: LRScheduler
    loader: Batches
    sampler: EpochSampler
    val_loader: Batches
    datasets: tuple[SegmentationDataset, SegmentationDataset]
    loss: TrainingLoss
    course: Course
    graphs: StepGraphs | None = None
    resident: ResidentImages | None = None
    kept: KeptFeatures | None = None
    pass_size: int | None = field(default=None, init=False)
    step: int = field(default=0, init=False)
    train_seconds: float = field(default=0.0, init=False)

    @property
    def feature_table(self) -> FeatureTable | None:
        """The features of the images, if those of the current epoch are kept."""
        if self.resident is not None:
            return self.resident.features
        return None if self.kept is None else self.kept.table

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Return the state after an epoch."""
        return Checkpoint(
            epoch, self.step, self.train_seconds, self.model.state_dict(), self.optimizer.state_dict(), rng_states()
        )


def build_training(
    data: DatasetIndex,
    records: tuple[Sequence[Record], Sequence[Record]],
    config: Config,
    fabric: "Fabric",
    custom_loss: Callable[..., Any] | None,
    course: Course,
    track: Callable[[str], Progress],
) -> TrainingSetup:
    """Open the images, build the model, and distribute both over the processes.

    Args:
        data: the data set.
        records: its training and its validation records.
        config: the settings, as `settle_encoder_training` returns them.
        fabric: device, precision and processes.
        custom_loss: a loss object, or None for `config.loss`.
        course: the times of the validations and of the end.
        track: a function of the description of a step. It returns a `Progress` for the step.

    Returns:
        The training, before its first step.

    Raises:
        PixelwiseError: A setting does not fit the data, or an image or a mask cannot be used.
    """
    # Cheap checks first.
    task = data.read_spec.task
    check_class_weights(config.class_weights, data.classes)
    _check_mosaic(config, fabric)
    function = _loss_function(custom_loss, config, task, fabric)
    model = start_model(data, config)
    train_set, val_set = open_datasets(records, data, config, fabric, track)
    if data.read_spec.channels != 3 and config.start_from is None:
        model.set_normalization(*channel_statistics(train_set))
    model.set_data_facts(find_mask_format(data, records[0]), measure_objects(data, records[0]))
    sampler = build_sampler(train_set, config, fabric)
    _check_batch_norm(min(sampler.global_sizes()), config, model, fabric)
    if config.encoder_training == "none" and _has_fixed_images(config):
        model.enable_feature_cache()
    if fabric.is_global_zero:
        logger.info("%s", describe_encoder_training(model, config))
    ddp_model, optimizer = fabric.setup(model, build_optimizer(model, config, fused=fabric.device.type != "mps"))
    graphs = _make_graphs(model, custom_loss, fabric)
    uses_resident = fabric.device.type == "cuda"
    return TrainingSetup(
        config=config,
        fabric=fabric,
        model=model,
        ddp_model=ddp_model,
        optimizer=optimizer,
        lr_scheduler=build_lr_schedule(
            optimizer.optimizer, config, config.epochs * steps_per_epoch(sampler, config), course
        ),
        loader=_train_loader(train_set, sampler, config, fabric),
        sampler=sampler,
        # Images that are cut into tiles differ in size.
        val_loader=DataLoader(
            val_set, batch_size=config.batch_size if config.view == "whole" else 1, collate_fn=collate
        ),
        datasets=(train_set, val_set),
        loss=TrainingLoss(
            function, _class_weights(train_set, data, config, fabric), task, data.read_spec.partial_labels
        ),
        course=course,
        graphs=graphs,
        resident=make_resident_images(train_set, model, config, fabric, graphs) if uses_resident else None,
        kept=make_kept_features(model, config, fabric, course, sampler),
    )


def _has_fixed_images(config: Config) -> bool:
    """Return True if the network gets the same few versions of each training image in all epochs."""
    return config.view == "whole" and not config.mosaic and is_cacheable(config.augmentation)


def _make_graphs(
    model: SegmentationModel, custom_loss: Callable[..., Any] | None, fabric: "Fabric"
) -> StepGraphs | None:
    """Return CUDA graphs, which need a single process on a GPU, and a loss whose Python code need not run each time."""
    if fabric.device.type != "cuda" or fabric.world_size > 1 or custom_loss is not None:
        return None
    return StepGraphs(list(model.parameters()))


def steps_per_epoch(sampler: EpochSampler, config: Config) -> int:
    """Return the number of optimizer steps of an epoch. The last one can have fewer than `accumulate` batches.

    Args:
        sampler: the sampler, whose length is the number of batches.
        config: the settings.
    """
    return math.ceil(len(sampler) / config.accumulate)


def _loss_function(custom_loss: Callable[..., Any] | None, config: Config, task: Task, fabric: "Fabric") -> Loss:
    if custom_loss is None:
        check_loss(config.loss, task)
        return get_loss(config.loss, task)
    if config.class_weights != "none" and not takes_pixel_weights(custom_loss):
        raise ConfigError("`loss` has no argument `pixel_weights`, so set `class_weights` to none")
    move_loss(custom_loss, fabric.device)
    return adapt_loss(custom_loss, task)


def _check_mosaic(config: Config, fabric: "Fabric") -> None:
    """Raise ConfigError if a process never has two images to join."""
    if config.mosaic and config.batch_size < 2 * fabric.world_size:
        raise ConfigError(
            f"`mosaic` {config.mosaic:g} joins images of a batch, but each process has one image per batch; raise "
            "`batch_size`, or set `mosaic` to 0"
        )


def _check_batch_norm(images: int, config: Config, model: SegmentationModel, fabric: "Fabric") -> None:
    """Raise ConfigError if the smallest batch gives a process a single value per channel in the deepest features."""
    if images < 2 * fabric.world_size and max(to_pair(config.smallest_size)) <= model.encoder.reductions[-1]:
        raise ConfigError(
            f"one image of {config.smallest_size} px per process leaves a single pixel in the deepest features, which "
            "batch norm cannot normalize; raise `image_size` or `batch_size`"
        )


def _class_weights(
    train_set: SegmentationDataset, data: DatasetIndex, config: Config, fabric: "Fabric"
) -> Tensor | None:
    count = len(data.classes)
    weights = compute_class_weights(config.class_weights, data.classes, lambda: train_set.class_pixels(count))
    return None if weights is None else weights.to(fabric.device)


def _train_loader(train_set: SegmentationDataset, sampler: EpochSampler, config: Config, fabric: "Fabric") -> Batches:
    return DataLoader(
        train_set,
        batch_sampler=sampler,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        collate_fn=collate,
        pin_memory=fabric.device.type == "cuda",
    )


def describe_encoder_training(model: SegmentationModel, config: Config) -> str:
    """Return one line about the encoder: the number of weights that train, from which epoch, and the frozen parts.

    It states if an encoder that does not train has random weights.

    Args:
        model: the model. The weights that do not train are frozen already (`requires_grad` is False).
        config: the settings, as `settle_encoder_training` returns them.
    """
    parameters = list(model.encoder.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    if config.encoder_training == "none" or trainable == 0:
        cause = "`encoder_training` none" if config.encoder_training == "none" else "`freeze_stride`"
        text = f"encoder: none of its {total:,} weights train ({cause})"
        is_random = config.encoder_weights == "none" and config.start_from is None
        return (
            f"{text}, and all are random (`encoder_weights` none); train it, or choose weights" if is_random else text
        )
    start = f"from epoch {paused_epochs(config) + 1}"
    if config.time_budget is not None and config.encoder_training == "decoder-first":
        start = "after about a quarter of the steps"
    text = f"encoder: {trainable:,} of its {total:,} weights train, {start}"
    if config.freeze_depthwise:
        text += "; depthwise convolutions do not (`freeze_depthwise`), their gradients are slow on a CPU"
    if config.freeze_stride >= model.encoder.reductions[0]:
        text += f"; layers up to a stride of {config.freeze_stride} px do not (`freeze_stride`), which saves time"
    if config.freeze_batchnorm:
        text += "; batch norms keep their pretrained statistics (`freeze_batchnorm`)"
    return text
