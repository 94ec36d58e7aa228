"""Evaluate a model on a split, with one confusion matrix over all images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pixelwise.data.analysis.groups import find_groups
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.input_size import View
from pixelwise.data.schema import ReadSpec, Record, Split
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.comparison import Comparisons
from pixelwise.evaluation.counting import count_pixels
from pixelwise.evaluation.model_source import EvaluatedPredictor, ModelSource, computation_of
from pixelwise.evaluation.resolution import Resolution
from pixelwise.evaluation.selection import Selection, select_images
from pixelwise.evaluation.tally import ImageCounts, Tally
from pixelwise.evaluation.write import check_out, write_evaluation
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics import Metric, Metrics, build_metric
from pixelwise.metrics.evaluation import Evaluation, ImageScore
from pixelwise.metrics.intervals import bootstrap_iou
from pixelwise.registry import ComponentSpec, name_of
from pixelwise.runs.run_dir import Run
from pixelwise.runs.split_file import relative_name
from pixelwise.runtime.distributed import all_gather_lists, launch_fabric
from pixelwise.runtime.progress import Progress, no_progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def evaluate(
    run: Run | str | Path,
    data: DatasetIndex | None = None,
    split: Split | None = None,
    out: str | Path | None = None,
    resolution: Resolution = "original",
    device: str = "auto",
    skip_unreadable: bool = False,
    metrics: Sequence[ComponentSpec] = (),
    progress: Progress = no_progress,
    tta: bool = False,
    view: View | None = None,
    scale: float | None = None,
    row_progress: Progress = no_progress,
) -> Evaluation:
    """Evaluate a run's best model, or an exported file, on images that it was not trained on.

    Masks of an exported file are compared at the images' own sizes, so `resolution`, `view`, `scale` and `tta` are for
    runs. Calibration and label quality need the probabilities of the file.

    Under `torchrun`, each process evaluates a part of the images. All processes return the result of the full split.
    Only the process with rank 0 writes files.

    Args:
        run: a run, its directory, or an exported file (.onnx, .xml or .pt2).
        data: a data set with the model's classes in the same order. None for the data set of the training, which an
            exported file does not state.
        split: "train", "val" or "test". "val" selects the images that the training held out if the data set has no
            such split. None selects the test split if the data set has one, else "val". If the data set has neither and
            the training used none of its images, None selects all images.
        out: the JSON file to write, whose name ends with .json. Any other path is a directory, for
            evaluation-<split>.json in it (numbered if it exists). "auto" is the run directory, or
            <name>-evaluation-<split>.json beside an exported file. None writes nothing.
            An HTML page and a CSV file of the same name are written beside the JSON file.
        resolution: "original" compares masks at each image's own size. "model" compares them at the size of the
            model's output, with true masks resized by nearest-neighbor interpolation.
        device: "auto" (the first accelerator, else the CPU) or a device name such as "cuda:1".
        skip_unreadable: if True, skip records whose image or mask cannot be read. If False, the first of them raises
            DataError.
        metrics: additional metrics, each a name in `pixelwise.metrics.METRICS` or {"name": name, parameter: value, …}.
        progress: see `Progress`. It counts images.
        tta: average the predictions of each image and of its mirror image.
        view: "whole" to resize each image to the model's input, "tiles" for overlapping windows of this size. None for
            the view of the training.
        scale: working pixels per image pixel for the view "tiles". None for the scale of the training images.
        row_progress: the same as `progress` for the parts of each image that is too large to be decoded: 64 rows of a
            strip, see `ImageView.strips`.

    Returns:
        The result. Its `warning` is not empty if the model was trained on some of the images.

    Raises:
        ConfigError: `data` is not a data set, a metric is unknown or listed twice, the device is not available, the
            view is unknown, the scale is invalid, an exported file does not have an option, or `out` ends with .html or
            .csv.
        DataError: The split is empty, the classes differ from the model's, the data set of the training is gone, a file
            cannot be read, or no file of the split can be read.
        OutputError: A file cannot be written.
        OutputExistsError: `out`, or a file beside it that would be written, exists already.
        RunError: The run does not exist or has no model, or the exported file is damaged.

    >>> evaluate("runs/pets").metrics.mean_iou  # doctest: +SKIP
    0.75
    """
    if data is not None:
        check_index(data)
    source = ModelSource.open(run)
    if out is not None:
        check_out(out)
    if source.run is None and resolution == "model":
        raise ConfigError(
            f"{run}: an exported file gives masks at the images' own sizes; leave out `resolution`, or evaluate the run"
        )
    fabric, predictor = _launch(source, device, view, scale, tta)
    data = data if data is not None else source.load_data(skip_unreadable=skip_unreadable)
    _check_classes(predictor, data, source.path)
    selection = select_images(source.run, data, split)
    tally = Tally(predictor.task, predictor.classes, _build_metrics(metrics, predictor), predictor.config.temperature)
    own_records = selection.records[fabric.global_rank :: fabric.world_size]
    compared = Comparisons(predictor, own_records, data.read_spec, resolution, progress, row_progress)
    errors = _add_all(compared, tally, fabric, skip_unreadable)
    seconds = compared.predict_seconds / max(1, len(own_records) - len(errors))
    skipped = _gather_errors(fabric, errors)
    _check_skipped(skipped, selection, data)
    tally.gather(fabric)
    evaluation = _summarize(tally, selection, skipped, data, predictor, resolution, seconds, source.path)
    if out is None or not fabric.is_global_zero:
        return evaluation
    return replace(evaluation, path=write_evaluation(source.path, evaluation, out))


def compute_confusion_matrix(
    predictor: EvaluatedPredictor, records: Sequence[Record], read_spec: ReadSpec, resolution: Resolution = "original"
) -> Tensor:
    """Count the pixels of records by true and predicted class.

    Args:
        predictor: the model.
        records: images with their masks.
        read_spec: the parameters for reading images and masks.
        resolution: see `evaluate`.

    Returns:
        int64 counts, see `Task.confusion`.

    Raises:
        DataError: An image or mask cannot be read.
    """
    classes = len(predictor.classes)
    total = predictor.task.zero_matrix(classes)
    for result in Comparisons(predictor, records, read_spec, resolution):
        if isinstance(result, DataError):
            raise result
        counts = result.confusion
        total += count_pixels(predictor.task, result.mask, result.prediction, classes) if counts is None else counts
    return total


def _launch(
    source: ModelSource, device: str, view: View | None, scale: float | None, tta: bool
) -> "tuple[Fabric, EvaluatedPredictor]":
    """Return the device and the processes, and the model on this device. See `evaluate` for the arguments."""
    if source.run is None:  # an exported file computes on the CPU, and refuses other devices
        predictor = source.predictor(device, view, scale, tta)
        return launch_fabric("cpu"), predictor
    fabric = launch_fabric(device)
    return fabric, source.predictor(fabric.device, view, scale, tta)


def _check_classes(predictor: EvaluatedPredictor, data: DatasetIndex, path: Path) -> None:
    if predictor.classes != data.classes:
        raise DataError(
            f"{data.root}: has the classes {', '.join(data.classes)}, but the model in {path} "
            f"was trained on {', '.join(predictor.classes)}"
        )


def _build_metrics(specs: Sequence[ComponentSpec], predictor: EvaluatedPredictor) -> list[Metric]:
    names = [name_of(spec) for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"`metrics`: '{name}' is listed twice; list it once")
    return [build_metric(spec, predictor.classes, predictor.task) for spec in specs]


def _add_all(
    compared: Comparisons, tally: Tally, fabric: "Fabric", skip_unreadable: bool
) -> list[tuple[int, DataError]]:
    """Add all images of this process to the sums. Return (position in the split, error) of skipped images."""
    errors: list[tuple[int, DataError]] = []
    for index, result in enumerate(compared):
        position = index * fabric.world_size + fabric.global_rank
        if not isinstance(result, DataError):
            tally.add(position, result)
        elif skip_unreadable:
            errors.append((position, result))
        else:
            raise result
    return errors


def _check_skipped(skipped: Sequence[DataError], selection: Selection, data: DatasetIndex) -> None:
    """Raise DataError if all selected images were skipped."""
    if len(skipped) == len(selection.records):
        chosen = "" if selection.split == "all" else f" of the {selection.split} split"
        raise DataError(f"{data.root}: no image{chosen} can be used: {skipped[0]}")


def _gather_errors(fabric: "Fabric", errors: list[tuple[int, DataError]]) -> tuple[DataError, ...]:
    """Return the errors of all processes in the order of the split."""
    return tuple(error for _, error in sorted(all_gather_lists(fabric, errors), key=lambda item: item[0]))


def _summarize(
    tally: Tally,
    selection: Selection,
    skipped: tuple[DataError, ...],
    data: DatasetIndex,
    predictor: EvaluatedPredictor,
    resolution: Resolution,
    seconds: float,
    model: Path,
) -> Evaluation:
    """Compute the result from the sums over all images."""
    count = len(tally.images)
    groups = _groups(tally.images, selection, data)
    images = _image_scores(tally.images, groups, selection, data)
    # Positions in the split become positions among the images that were not skipped.
    index_of = {image.position: index for index, image in enumerate(tally.images)}
    worst, suspicious = (
        tuple(replace(example, index=index_of[example.index]) for example in examples)
        for examples in (tally.worst, tally.suspicious)
    )
    view = predictor.image_view if isinstance(predictor, Predictor) else None
    size = "original" if resolution == "original" or view is None else view.size_name
    notes = (selection.note, _left_out(tally.large), _no_probabilities(predictor))
    return Evaluation(
        metrics=Metrics.from_confusion(tally.confusion, data.classes, predictor.task, count, size),
        skipped=skipped,
        path=None,
        extra={name: value for metric in tally.metrics for name, value in metric.compute().items()},
        split=selection.split,
        reason=selection.reason,
        warning=selection.warning,
        note="; ".join(filter(None, notes)),
        intervals=bootstrap_iou(np.stack([image.counts for image in images]), data.classes, groups),
        boundary={name: value for metric in tally.boundary for name, value in metric.compute().items()},
        calibration=tally.calibration.compute(),
        uncalibrated=(tally.calibration if tally.temperature == 1 else tally.uncalibrated).compute(),
        temperature=tally.temperature,
        images=images,
        worst=worst,
        suspicious=suspicious,
        seconds_per_image=seconds,
        device=str(predictor.device),
        tta=predictor.tta,
        view="whole" if view is None else view.name,
        scale=None if view is None else view.scale,
        task=predictor.task,
        palette=predictor.config.palette,
        background=predictor.config.background,
        model=str(model),
        computation=computation_of(predictor),
    )


def _left_out(large: int) -> str:
    """Return a note about images that are too large to be decoded, or ""."""
    if not large:
        return ""
    return f"the boundary scores and additional metrics leave out {large} image{'s' * (large > 1)} too large to decode"


def _no_probabilities(predictor: EvaluatedPredictor) -> str:
    """Return a note about an exported file without probabilities, or ""."""
    if isinstance(predictor, Predictor) or predictor.file.has_probabilities:
        return ""
    return "there is no calibration and no label quality, for which the file must be exported with `probabilities`"


def _image_scores(
    images: Sequence[ImageCounts], groups: Sequence[str | None], selection: Selection, data: DatasetIndex
) -> tuple[ImageScore, ...]:
    return tuple(
        ImageScore(
            relative_name(selection.records[image.position].image, data.root),
            group,
            image.counts,
            image.pixels,
            image.correct,
            image.label_quality,
        )
        for image, group in zip(images, groups, strict=True)
    )


def _groups(images: Sequence[ImageCounts], selection: Selection, data: DatasetIndex) -> list[str | None]:
    """Return the group of each image, from the data set or split.csv. If no image has one, find groups."""
    groups = [selection.groups[image.position] for image in images]
    if any(groups) or data.group_summary == "":
        return groups
    names = [relative_name(selection.records[image.position].image, data.root) for image in images]
    thumbnails = np.frombuffer(b"".join(image.thumbnail for image in images), np.uint8).reshape(len(images), -1)
    return find_groups([name.rpartition(".")[0] or name for name in names], thumbnails)[0]
