"""Export a run as one file, and prove that the file gives the masks of the run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.joined_spec import read_any_spec, without_roots
from pixelwise.errors import ConfigError, RunError
from pixelwise.export.base import ExportedModel, ExportJob
from pixelwise.export.checks import check_options, check_out
from pixelwise.export.drawn_images import SIZES, draw_image
from pixelwise.export.parity import MeasuredImage, check_equal, measure, odd_images
from pixelwise.export.report import report_paths, write_report
from pixelwise.export.stable_images import make_stable_images
from pixelwise.export.targets import EXPORTERS
from pixelwise.export.validation import MIN_EQUAL_LOW, ValidationImages, ValidationScore
from pixelwise.inference.exported.metadata import ExportMetadata, Precision, SelfTest
from pixelwise.inference.model_location import find_model, load_model
from pixelwise.inference.predictor import Predictor
from pixelwise.models.hub import is_hub_name
from pixelwise.runtime.atomic import atomic_directory, atomic_write, make_directory, share_temporary_directories
from pixelwise.runtime.files import expand_home, size_in_bytes, write_errors
from pixelwise.runtime.progress import Progress, no_progress

Bytes = npt.NDArray[np.uint8]

_SELF_TEST = "self-test"
"""Name of the measured images that the self-test of a file consists of."""


@dataclass(frozen=True)
class ExportResult:
    """Result of `export_model`.

    Attributes:
        path: the file.
        report: the JSON file with the measured images.
        picture: the picture of the differences, see `report_paths`.
        metadata: the metadata of the file.
        images: the measured images.
        files: the file, and those that belong to it.
        score: the change of the validation masks by 8-bit integers or bfloat16, or None for a file in float32.
    """

    path: Path
    report: Path
    picture: Path
    metadata: ExportMetadata
    images: tuple[MeasuredImage, ...]
    files: tuple[Path, ...]
    score: ValidationScore | None = None

    def __repr__(self) -> str:
        """Return the file and the smallest fraction of equal pixels."""
        return f"ExportResult({self.path}, equal pixels={self.metadata.parity:.3%})"


def export_model(
    run: str | Path,
    out: str | Path,
    target: str = "onnx",
    *,
    int8: bool = False,
    bfloat16: bool = False,
    probabilities: bool = False,
    thresholds: Mapping[str, float] | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> ExportResult:
    """Export the best model of a run as one file, and measure that the file gives the masks of the run.

    Nothing is written unless at least 99.9 % of the pixels of each measured image are equal to those of the model in
    PyTorch in float32. The images have odd sizes and kinds, see `odd_images`.

    Args:
        run: the run directory, or another path of a model, see `Predictor.load`.
        out: the file, or the folder for the target "web". A JSON file and a picture of the differences are written
            beside it, see `report_paths`.
        target: a name in `EXPORTERS`.
        int8: compute with 8-bit integers, except for the first layers. The validation images of the run calibrate them.
            The file is written if at least 99 % of the pixels of these images are equal, and their mIoU is at most 0.5
            points lower. The measured images of odd sizes are then for information.
        bfloat16: for the target "openvino", compute with bfloat16 on processors that have it. This machine must have
            it. The conditions are those of `int8`.
        probabilities: add the output of probabilities.
        thresholds: class name → how probable the class must be to be in the mask, see `Predictor`. They become
            operators of the file.
        runtime: for the target "web", the package file of ONNX Runtime Web. None downloads it once, into the user's
            cache folder.
        overwrite: replace files that exist.
        progress: see `Progress`. It counts the measured images.

    Returns:
        The files and the measured images.

    Raises:
        ConfigError: The target is unknown, a threshold is invalid, its package is not installed, the model cannot be
            exported to it, or `int8` or `bfloat16` is set and the target or this machine does not have it.
        OutputExistsError: A file exists already, and `overwrite` is False.
        OutputError: A file cannot be written.
        DataError: `int8` or `bfloat16` is set, and the validation images of the run are gone or cannot be read.
        RunError: The run has no model, it cannot be converted, or the file gives other masks.

    >>> export_model("runs/pets", "pets.onnx")  # doctest: +SKIP
    ExportResult(pets.onnx, equal pixels=100.000%)
    """
    out = expand_home(out)
    entry = EXPORTERS[target]
    suffix = entry.traits["suffix"]
    others = tuple(out.with_suffix(each) for each in entry.traits.get("companions", ()))
    check_out(out, suffix, others, overwrite)
    check_options(target, runtime, int8, bfloat16)
    predictor = _load_reference(run, thresholds or {})
    validation = ValidationImages(run) if int8 or bfloat16 else None
    package = None if runtime is None else expand_home(runtime)
    model = entry.component(ExportJob(predictor, probabilities, package, bfloat16))
    precision: Precision = "int8" if int8 else "bfloat16" if bfloat16 else "float32"
    with (
        make_directory(out.parent),
        _atomic_files(report_paths(out)) as (table, picture),
        _atomic_files((out, *others)) if suffix else _atomic_folder(out) as (path, *_),
    ):
        draft = _draft_metadata(run, predictor, model.opset, precision, thresholds or {})
        model, score = _write_draft(model, predictor, validation, path, draft)
        measured = _measure_file(model, predictor, path, score is not None, progress)
        if score is None:
            check_equal(measured)
        metadata = _final_metadata(draft, measured, score)
        model.write(path, metadata)
        model.open(path)
        facts = _facts(metadata, target, [path, *(path.with_name(each.name) for each in others)], score)
        write_report(table, picture, measured, facts, predictor.config)
    return ExportResult(out, *report_paths(out), metadata, measured, (out, *others), score)


def _load_reference(run: str | Path, thresholds: Mapping[str, float]) -> Predictor:
    """Return the model on the CPU in float32, whose masks the file must give. Raise ConfigError if it has windows."""
    predictor = Predictor(load_model(run), "cpu", "32-true", thresholds=thresholds)
    if predictor.config.view == "tiles":
        raise ConfigError(
            f"{run}: predicts by overlapping windows, for which an exported file has no operators; predict with the "
            "run, or train with `view` whole"
        )
    return predictor


def _data_spec(run: str | Path) -> dict[str, Any] | None:
    """Return how the masks of the training were read, see `ExportMetadata`, or None if there is no data.yaml."""
    place = None if is_hub_name(run) else find_model(run)
    if place is None or not (place / "data.yaml").is_file():
        return None
    return without_roots(read_any_spec(place / "data.yaml")).model_dump(mode="json", exclude_defaults=True)


def _draft_metadata(
    run: str | Path, predictor: Predictor, opset: int, precision: Precision, thresholds: Mapping[str, float]
) -> ExportMetadata:
    """Return the metadata before the measurement. The masks of the self-test are those of the model in PyTorch."""
    tests = _drawn_tests(predictor)
    return ExportMetadata(
        version=version("pixelwise"),
        opset=opset,
        precision=precision,
        parity=0.0,
        model=predictor.config,
        data=_data_spec(run),
        thresholds=dict(thresholds),
        tests=tuple(SelfTest.encode(image, predictor(image).mask) for image in tests),
    )


def _final_metadata(
    draft: ExportMetadata, measured: Sequence[MeasuredImage], score: ValidationScore | None
) -> ExportMetadata:
    """Return the metadata after the measurement.

    The masks of the self-test are those that the file gave on this machine, so that `verify` compares another machine
    with this one. Its images are those of the file's input, after the conversion to 8 bits.
    """
    parity = min(each.equal for each in measured) if score is None else score.equal
    tests = tuple(SelfTest.encode(each.image, each.mask) for each in measured if each.name == _SELF_TEST)
    return draft.model_copy(update={"parity": parity, "tests": tests})


def _drawn_tests(predictor: Predictor) -> list[Bytes]:
    """Return the images of the self-test of a file in float32."""
    channels = len(predictor.config.mean)
    return [draw_image(height, width, channels, seed) for seed, (height, width) in enumerate(SIZES)]


def _measure_file(
    model: ExportedModel, predictor: Predictor, path: Path, is_rounded: bool, progress: Progress
) -> tuple[MeasuredImage, ...]:
    """Compare the masks of a file with those of the model in PyTorch.

    Args:
        model: the converted model, which has been written.
        predictor: the model in PyTorch.
        path: the file.
        is_rounded: True if the file computes with 8-bit integers or bfloat16. Then the images of the self-test are
            those of `make_stable_images`.
        progress: see `export_model`.

    Returns:
        Images of odd sizes and kinds, and the images of the self-test.
    """
    exported, channels = model.open(path), len(predictor.config.mean)
    if is_rounded:
        tests = make_stable_images(predictor, exported, model.open_plain(path), SIZES)
    else:
        tests = _drawn_tests(predictor)
    images = [*odd_images(channels), *((_SELF_TEST, image) for image in tests)]
    return tuple(progress(measure(predictor, exported, images), len(images)))


@contextmanager
def _atomic_files(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield temporary paths of files of one folder, see `atomic_write`. They are in one temporary folder."""
    with share_temporary_directories(), ExitStack() as stack:
        yield [stack.enter_context(atomic_write(file)) for file in files]


@contextmanager
def _atomic_folder(out: Path) -> Iterator[list[Path]]:
    """Yield a new folder that replaces `out` if the block succeeds, see `atomic_directory`."""
    with write_errors(out), atomic_directory(out, replace=True) as path:
        yield [path]


def _write_draft(
    model: ExportedModel,
    predictor: Predictor,
    validation: ValidationImages | None,
    path: Path,
    metadata: ExportMetadata,
) -> tuple[ExportedModel, ValidationScore | None]:
    """Write the version in the precision of the metadata that is close enough to the model in float32.

    Args:
        model: the converted model in float32.
        predictor: the model in PyTorch.
        validation: the images of the comparison. None writes `model` without a comparison.
        path: the file to write.
        metadata: the metadata of the file.

    Returns:
        The version, and the change of the validation masks. Of several versions with 8-bit integers, it is the one with
        the fewest layers in float32.

    Raises:
        RunError: No version is close enough.
    """
    if validation is None:
        model.write(path, metadata)
        return model, None
    is_int8 = metadata.precision == "int8"
    variants = model.quantized(validation.inputs(predictor.config)) if is_int8 else iter([(0, model)])
    compare = validation.comparer(predictor)
    scores = []
    for float_layers, variant in variants:
        variant.write(path, metadata)
        score = compare(variant.open(path), float_layers)
        if score.is_accepted:
            return variant, score
        scores.append(score)
    if not scores:
        raise RunError("the network has too few layers for 8-bit integers; export it in float32; nothing was written")
    best = max(scores, key=lambda score: score.equal)
    raise RunError(
        f"{'8-bit integers change' if is_int8 else 'bfloat16 changes'} too much: {best.equal:.2%} of the pixels of "
        f"{best.images} validation images are equal ({MIN_EQUAL_LOW:.0%} are needed), and their mIoU is "
        f"{best.miou:.4f} instead of {best.float_miou:.4f}; export in float32; nothing was written"
    )


def _facts(
    metadata: ExportMetadata, target: str, paths: Sequence[Path], score: ValidationScore | None
) -> dict[str, Any]:
    """Return the entries of the report besides the images."""
    return {
        "target": target,
        "pixelwise": metadata.version,
        "opset": metadata.opset,
        "precision": metadata.precision,
        "bytes": sum(map(size_in_bytes, paths)),
        "smallest_fraction_of_equal_pixels": metadata.parity,
        **({} if score is None else {metadata.precision: asdict(score)}),
        "classes": list(metadata.model.classes),
        "thresholds": metadata.thresholds,
        "metrics": metadata.model.metrics,
        "licenses": metadata.model.licenses,
    }
