"""Honest figures: one confusion matrix over a whole split, at the images' own size, each image once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_mask
from pixelwise.data.schema import DatasetIndex, ReadSpec, Record, Split
from pixelwise.errors import DataError
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.confusion import Metrics, confusion_matrix
from pixelwise.models.model import logits_to_mask
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import batched, prefetch_map

Resolution = Literal["original", "model"]


BATCH_SIZE = 16
"""Images predicted at once; memory holds three such batches."""


def evaluate(
    run: Run | str | Path,
    data: DatasetIndex,
    split: Split = "test",
    out: str | Path | None = None,
    resolution: Resolution = "original",
    device: str = "auto",
    progress: Progress = no_progress,
    skipped: list[DataError] | None = None,
) -> Metrics:
    """Measure a run's best model on a split, and write what was found as JSON.

    Under `torchrun` the processes share the images, and all give the figures of the whole split.

    Args:
        run: a run, or its folder.
        data: with the classes that the model was trained on, in the same order.
        split: "train", "val" or "test".
        out: where the JSON goes; None for evaluation-<split>.json in the run folder, numbered if that is there.
        resolution: "original" compares at each image's own size; "model" at the size the model sees, masks resized
            with nearest-neighbor.
        device: see `pixelwise.device.choose_device`.
        progress: see `pixelwise.data.streams.Progress`.
        skipped: where given, it gets the errors of images and masks that cannot be read, which are left out then.

    Raises DataError where classes differ, a file cannot be read, or `out` is already there.

    >>> evaluate("runs/pets", load_dataset("oxford-iiit-pet/")).miou  # doctest: +SKIP
    0.75
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    fabric = launch_fabric(device)
    predictor = Predictor.load(run.path, fabric.device)
    if predictor.classes != data.classes:
        raise DataError(
            f"{data.root}: has the classes {', '.join(data.classes)}, but the model in {run.path} "
            f"was trained on {', '.join(predictor.classes)}"
        )
    if out is not None and Path(out).exists():
        raise DataError(f"{out}: is already there; choose another --out")
    records = data.records(split)
    own = records[fabric.global_rank :: fabric.world_size]
    left_out: list[DataError] = []
    confusion = compute_confusion_matrix(
        predictor, own, data.read_spec, resolution, progress, None if skipped is None else left_out
    )
    # Each process compares images of its own, none of them twice: the sum is that of one process.
    confusion = all_reduce_sum(fabric, confusion.to(fabric.device))
    lost = int(all_reduce_sum(fabric, torch.tensor(len(left_out), device=fabric.device)))
    if lost == len(records):
        raise DataError(f"{data.root}: no image of the {split} split can be used: {left_out[0]}")
    if skipped is not None:
        skipped += left_out
    size = predictor.model.config.size
    named = "original" if resolution == "original" else f"{size}x{size}"
    metrics = Metrics.from_confusion(confusion, data.classes, len(records) - lost, named)
    if not fabric.is_global_zero:
        return metrics
    text = json.dumps(metrics.to_dict() | {"split": split, "left_out": lost}, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        run.write_evaluation(split, text)
    else:
        with atomic_write(Path(out)) as part:
            part.write_text(text, encoding="utf-8")
    return metrics


def compute_confusion_matrix(
    predictor: Predictor,
    records: Sequence[Record],
    reading: ReadSpec,
    resolution: Resolution = "original",
    progress: Progress = no_progress,
    skipped: list[DataError] | None = None,
) -> Tensor:
    """Compare a predictor's masks with the true ones over records: see `confusion_matrix` and `evaluate`."""

    def read(record: Record) -> tuple[np.ndarray, np.ndarray] | DataError:
        try:
            return read_image_and_mask(record, reading)
        except DataError as error:
            if skipped is None:
                raise
            return error

    multilabel = predictor.model.config.multilabel
    count, size = len(predictor.classes), predictor.model.config.size
    total = torch.zeros((count, 2, 2) if multilabel else (count, count), dtype=torch.int64)
    for group in batched(progress(prefetch_map(read, records), len(records)), BATCH_SIZE):
        if skipped is not None:
            skipped += [each for each in group if isinstance(each, DataError)]
        group = [each for each in group if not isinstance(each, DataError)]
        if not group:
            continue
        images, masks = zip(*group, strict=True)
        if resolution == "original":
            compared = zip(
                map(torch.from_numpy, masks), map(torch.from_numpy, predictor.predict_batch(images)), strict=True
            )
        else:
            small = [resize_mask(mask, (size, size)) for mask in masks]
            compared = zip(small, logits_to_mask(predictor.logits(images), multilabel).cpu(), strict=True)
        for truth, predicted in compared:
            total += confusion_matrix(truth, predicted, count, multilabel)
    return total
