"""Evaluate a model on a split, with one confusion matrix over all images."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.image_size import GROUP_BYTES, READ_AHEAD_BYTES, decoded_bytes
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_mask
from pixelwise.data.schema import ReadSpec, Record, Split
from pixelwise.errors import ConfigError, DataError, OutputExistsError
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics import Metric, Metrics, build_metric
from pixelwise.registry import ComponentSpec, name_of
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import all_gather_lists, all_reduce_sum, launch_fabric
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import batched, prefetch_map

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Resolution = Literal["original", "model"]
"""The size at which masks are compared: each image's own size, or the size of the model's output."""

BATCH_SIZE = 16
"""Maximum number of images per forward pass. `GROUP_BYTES` limits their total size in bytes."""

_COUNTED_PIXELS = 1 << 22
"""Number of pixels that are counted at a time."""


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        metrics: accuracy, mean IoU, and IoU, Dice, precision and recall of each class.
        skipped: one error for each record that was skipped, in the order of the split.
        path: the JSON file, or None if this process has written none.
        extra: name → value of each additional metric. The value is None if it is not defined, for example for an absent
            class.
    """

    metrics: Metrics
    skipped: tuple[DataError, ...]
    path: Path | None
    extra: dict[str, float | None]


def evaluate(
    run: Run | str | Path,
    data: DatasetIndex,
    split: Split = "test",
    out: str | Path | None = None,
    resolution: Resolution = "original",
    device: str = "auto",
    skip_unreadable: bool = False,
    metrics: Sequence[ComponentSpec] = (),
    progress: Progress = no_progress,
) -> Evaluation:
    """Evaluate a run's best model on a split.

    Under `torchrun`, each process evaluates a part of the images. All processes return the result of the full split.
    Only the process with rank 0 writes the JSON file.

    Args:
        run: a run, or its directory.
        data: a data set with the model's classes in the same order.
        split: "train", "val" or "test".
        out: the JSON file to write, "auto" for evaluation-<split>.json in the run directory (numbered if it exists),
            or None to write nothing.
        resolution: "original" compares masks at each image's own size. "model" compares them at the size of the
            model's output, with true masks resized by nearest-neighbor interpolation.
        device: "auto" (the first accelerator, else the CPU) or a device name such as "cuda:1".
        skip_unreadable: if True, skip records whose image or mask cannot be read. If False, the first of them raises
            DataError.
        metrics: additional metrics, each a name in `pixelwise.metrics.METRICS` or {"name": name, parameter: value, …}.
        progress: see `Progress`. It counts images.

    Raises:
        ConfigError: A metric is unknown or listed twice, or the device is not available.
        DataError: The classes differ from the model's, a file cannot be read, or no file of the split can be read.
        OutputError: The JSON file cannot be written.
        OutputExistsError: `out` exists already.
        RunError: The run does not exist or has no model.

    >>> evaluate("runs/pets", load_dataset("oxford-iiit-pet/")).metrics.mean_iou  # doctest: +SKIP
    0.75
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    if out not in (None, "auto") and Path(out).exists():
        raise OutputExistsError(f"{out}: exists already; choose another `out`")
    fabric = launch_fabric(device)
    predictor = Predictor.load(run.path, fabric.device)
    _check_classes(predictor, data, run)
    extra = _build_metrics(metrics, predictor)
    records = data.records(split)
    own_records = records[fabric.global_rank :: fabric.world_size]
    results = _compare(predictor, own_records, data.read_spec, resolution, progress)
    confusion, errors = _accumulate(results, predictor, extra, skip_unreadable)
    skipped = _gather_errors(fabric, errors)
    if len(skipped) == len(records):
        raise DataError(f"{data.root}: no image of the {split} split can be used: {skipped[0]}")
    for metric in extra:
        metric.load(_sum_over_processes(fabric, metric.state()))
    evaluation = Evaluation(
        Metrics.from_confusion(
            _sum_over_processes(fabric, confusion),
            data.classes,
            predictor.task,
            image_count=len(records) - len(skipped),
            resolution="original" if resolution == "original" else "{}x{}".format(*predictor.size),
        ),
        skipped,
        path=None,
        extra={name: value for metric in extra for name, value in metric.compute().items()},
    )
    if out is None or not fabric.is_global_zero:
        return evaluation
    return replace(evaluation, path=write_evaluation(run, evaluation, split, out))


def compute_confusion_matrix(
    predictor: Predictor, records: Sequence[Record], read_spec: ReadSpec, resolution: Resolution = "original"
) -> Tensor:
    """Count the pixels of records by true and predicted class.

    Args:
        predictor: the model.
        records: images with their masks.
        read_spec: the settings for reading images and masks.
        resolution: see `evaluate`.

    Returns:
        int64 counts, see `Task.confusion`.

    Raises:
        DataError: An image or mask cannot be read.
    """
    total = predictor.task.zero_matrix(len(predictor.classes))
    for result in _compare(predictor, records, read_spec, resolution):
        if isinstance(result, DataError):
            raise result
        total += _confusion(predictor, *result)
    return total


def _check_classes(predictor: Predictor, data: DatasetIndex, run: Run) -> None:
    if predictor.classes != data.classes:
        raise DataError(
            f"{data.root}: has the classes {', '.join(data.classes)}, but the model in {run.path} "
            f"was trained on {', '.join(predictor.classes)}"
        )


def _build_metrics(specs: Sequence[ComponentSpec], predictor: Predictor) -> list[Metric]:
    names = [name_of(spec) for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"`metrics`: '{name}' is listed twice; list it once")
    return [build_metric(spec, predictor.classes, predictor.task) for spec in specs]


def _accumulate(
    results: Iterable[tuple[Tensor, Tensor] | DataError],
    predictor: Predictor,
    metrics: Sequence[Metric],
    skip_unreadable: bool,
) -> tuple[Tensor, list[tuple[int, DataError]]]:
    """Update the metrics with all results. Return the confusion matrix, and (position, error) of skipped records."""
    confusion = predictor.task.zero_matrix(len(predictor.classes))
    errors: list[tuple[int, DataError]] = []
    for position, result in enumerate(results):
        if isinstance(result, DataError):
            if not skip_unreadable:
                raise result
            errors.append((position, result))
            continue
        confusion += _confusion(predictor, *result)
        for metric in metrics:
            metric.update(*result)
    return confusion, errors


def _confusion(predictor: Predictor, mask: Tensor, prediction: Tensor) -> Tensor:
    """Count pixels like `Task.confusion`, in bands of rows to save memory.

    Counting takes about 30 bytes per pixel and class.
    """
    classes = len(predictor.classes)
    rows = max(1, _COUNTED_PIXELS // max(1, mask[..., :1, :].numel()))
    total = predictor.task.zero_matrix(classes)
    for start in range(0, mask.shape[-2], rows):
        band = slice(start, start + rows)
        total += predictor.task.confusion(mask[..., band, :], prediction[..., band, :], classes)
    return total


def _gather_errors(fabric: "Fabric", errors: list[tuple[int, DataError]]) -> tuple[DataError, ...]:
    """Return the errors of all processes in the order of the split."""
    # Position p of the process with rank r is the record with index p * world_size + r.
    ranked = [(position, fabric.global_rank, error) for position, error in errors]
    return tuple(error for *_, error in sorted(all_gather_lists(fabric, ranked), key=lambda item: item[:2]))


def _sum_over_processes(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """Return the sum of a CPU tensor over all processes, on the CPU."""
    # A single process skips the sum, because its device may not support the tensor's dtype (MPS has no float64).
    return tensor if fabric.world_size == 1 else all_reduce_sum(fabric, tensor.to(fabric.device)).cpu()


def _compare(
    predictor: Predictor,
    records: Sequence[Record],
    read_spec: ReadSpec,
    resolution: Resolution,
    progress: Progress = no_progress,
) -> Iterator[tuple[Tensor, Tensor] | DataError]:
    """Yield the true and the predicted mask of each record, or a DataError.

    The error is one of reading the files, or a lack of memory for the prediction.
    """

    def read(record: Record) -> tuple[np.ndarray, np.ndarray] | DataError:
        try:
            return read_image_and_mask(record, read_spec)
        except DataError as error:
            return error

    def cost(record: Record) -> int:
        return decoded_bytes(record.image, len(predictor.model.config.mean))

    def size(pair: tuple[np.ndarray, np.ndarray] | DataError) -> int:
        return 0 if isinstance(pair, DataError) else pair[0].nbytes

    read_ahead = prefetch_map(read, records, cost=cost, max_cost=READ_AHEAD_BYTES)
    names = iter(records)
    for group in batched(progress(read_ahead, len(records)), BATCH_SIZE, size, GROUP_BYTES):
        pairs = [pair for pair in group if not isinstance(pair, DataError)]
        compared = _predict(predictor, pairs, resolution) if pairs else iter(())
        for pair in group:
            record = next(names)
            result = pair if isinstance(pair, DataError) else next(compared)
            if result is not pair and isinstance(result, DataError):
                result = DataError(f"{record.image}: {result}")
            elif not isinstance(result, DataError):
                result = read_spec.partial_labels.to_comparable(*result), result[1]
            yield result
            del result, pair
        # Large images must not stay in memory while the next ones are read.
        group.clear()
        del pairs, compared


def _predict(
    predictor: Predictor, pairs: Sequence[tuple[np.ndarray, np.ndarray]], resolution: Resolution
) -> Iterator[tuple[Tensor, Tensor] | DataError]:
    """Yield the true and the predicted mask of each (image, mask) pair as tensors on the CPU.

    If memory does not suffice for the prediction, yield a DataError instead.
    """
    images, masks = zip(*pairs, strict=True)
    if resolution == "original":
        for mask, prediction in zip(masks, predictor.predict_each(images), strict=True):
            if isinstance(prediction, DataError):
                yield prediction
            else:
                yield torch.from_numpy(mask), torch.from_numpy(prediction.mask)
        return
    small = [resize_mask(mask, predictor.size) for mask in masks]
    yield from zip(small, predictor.task.logits_to_mask(predictor.logits(images)).cpu(), strict=True)


def write_evaluation(run: Run, evaluation: Evaluation, split: Split, out: str | Path) -> Path:
    """Write the result of `evaluate` as JSON.

    Args:
        run: the run.
        evaluation: the result.
        split: the split of the result.
        out: the file, or "auto" for evaluation-<split>.json in the run directory (numbered if it exists). An existing
            `out` is replaced.

    Returns:
        The path of the file.

    Raises:
        OutputError: The file cannot be written.
    """
    content = evaluation.metrics.to_dict() | {"split": split, "left_out": len(evaluation.skipped)}
    if evaluation.extra:
        content["extra"] = evaluation.extra
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if out == "auto":
        return run.write_evaluation(split, text)
    with atomic_write(Path(out)) as part:
        part.write_text(text, encoding="utf-8")
    return Path(out)
