"""Predict many image files and write their masks, overlays and a summary to a directory."""

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import ConfigError, DataError, OutputError, OutputExistsError, PixelwiseError
from pixelwise.inference.outputs import Mark, digest, fingerprint, mask_kinds, output_files, read_mark, write_outputs
from pixelwise.inference.predictor import Prediction, Predictor
from pixelwise.inference.sources import ImageSource, find_images
from pixelwise.runtime.files import atomic_write, remove_abandoned, write_errors
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

REPORT_FILE = "predictions.json"

_ONE_FILE_ERRORS = frozenset(
    (
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EACCES,
        errno.EPERM,
    )
)
"""Numbers of write errors that affect one image only. Other errors, such as a full disk, end the prediction."""


@dataclass(frozen=True)
class PredictResult:
    """Result of `predict_folder`.

    Attributes:
        report: the content of predictions.json.
        failed: one error for each file or folder that could not be used, in the order of the images.
        resumed: number of images that were skipped because their outputs existed already.
        notes: one line for each source that contains files other than images.
    """

    report: dict[str, Any]
    failed: tuple[PixelwiseError, ...]
    resumed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def image_count(self) -> int:
        """Number of images with a prediction, including the resumed ones."""
        return len(self.report["photos"])


@dataclass
class _Item:
    """An image, its output files by kind, and their `Mark` if they are complete, else None."""

    path: ImageSource
    files: dict[str, Path]
    mark: Mark | None = None


def predict_folder(
    predictor: Predictor,
    sources: Sequence[str | Path],
    out: str | Path,
    progress: Progress = no_progress,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> PredictResult:
    """Predict images and directories of images, and write the results to a directory.

    The outputs of an image are NAME_mask.png (a palette PNG whose pixel values are class indices) and NAME_overlay.png.
    For a multi-label model, NAME_mask_CLASS.png for each class replaces NAME_mask.png. All outputs have the size of the
    image. predictions.json lists the output files, the size and the class fractions of each image. It is written last.

    Args:
        predictor: the model.
        sources: files, directories, patterns and URLs, see `find_images`.
        out: the directory. It may exist. None of the files to be written may exist unless `overwrite` or `resume` is
            set.
        progress: wraps the iteration over the images, to draw a progress bar.
        overwrite: replace files that exist, but never one of the images.
        resume: skip images whose files are complete and were made from the same image by the same model.

    Returns:
        The content of predictions.json, and an error for each file or folder that could not be used. If no image could
        be used, nothing has been written.

    Raises:
        ConfigError: `overwrite` and `resume` are both set.
        DataError: A source is missing, or a directory holds no image. Nothing has been written.
        OutputExistsError: A file to be written exists already, and may not be replaced or skipped. Nothing has been
            written.
        OutputError: The directory cannot be written, or the disk is full.
    """
    if overwrite and resume:
        raise ConfigError("`overwrite` and `resume` exclude each other; set one of them")
    out = Path(out)
    found = find_images(sources)
    kinds, model = mask_kinds(predictor), fingerprint(predictor.model)
    items = _assign_files(found.images, kinds, out)
    _check_existing(items, out, overwrite or resume)
    if resume:
        for item, mark in zip(items, prefetch_map(lambda item: _read_result(item, model), items), strict=True):
            item.mark = mark
    todo = [item for item in items if item.mark is None]
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    _prepare(out, items)
    predictions = predictor.iter_predictions(item.path for item in todo)
    failed: list[PixelwiseError] = [*found.problems]
    for item in progress(todo, len(todo)):
        _, prediction = next(predictions)
        result = _write_or_error(item, prediction, model, kinds)
        if isinstance(result, PixelwiseError):
            failed.append(result)
        else:
            item.mark = result
        del prediction  # a large one must not stay in memory while the next image is read
    entries = [_report_entry(item, item.mark, out) for item in items if item.mark is not None]
    report = {"classes": list(predictor.classes), "photos": entries, "failed": list(map(str, failed))}
    if entries:
        _write_report(report, out / REPORT_FILE)
    else:
        for folder in new_folders:
            with suppress(OSError):
                folder.rmdir()
    return PredictResult(report, tuple(failed), len(items) - len(todo), found.notes)


def _assign_files(images: Iterable[tuple[ImageSource, Path]], kinds: Sequence[str], out: Path) -> list[_Item]:
    """Assign output files to images.

    Images in `out` that are outputs of an earlier prediction are left out.
    """
    images = list(images)
    all_kinds = (*kinds, "overlay")
    outputs = {
        os.path.realpath(file)
        for files in output_files([name for _, name in images], all_kinds, out)
        for file in files.values()
    }
    own = {
        path
        for path, _ in images
        if isinstance(path, Path) and os.path.realpath(path) in outputs and read_mark(path) is not None
    }
    images = [(path, name) for path, name in images if path not in own]
    targets = output_files([name for _, name in images], all_kinds, out)
    return [_Item(path, files) for (path, _), files in zip(images, targets, strict=True)]


def _check_existing(items: Sequence[_Item], out: Path, may_replace: bool) -> None:
    inputs = {os.path.realpath(item.path) for item in items if isinstance(item.path, Path)}
    for path in (out / REPORT_FILE, *(file for item in items for file in item.files.values())):
        if not os.path.lexists(path):
            continue
        if not may_replace:
            raise OutputExistsError(
                f"{path}: exists already; choose another `out`, continue with `resume`, or replace it with `overwrite`"
            )
        if os.path.realpath(path) in inputs:
            raise OutputExistsError(f"{path}: is one of the images and would be replaced; choose another `out`")


def _read_result(item: _Item, model: str) -> Mark | None:
    """Return the mark in the output files of an image, or None if a file is missing.

    Raises OutputExistsError if a file was not made by this model from this image.
    """
    existing = [file for file in item.files.values() if os.path.lexists(file)]
    image = digest(item.path) if existing else ""
    mark = None
    for file in existing:
        mark = read_mark(file)
        if mark is None or (mark.model, mark.image) != (model, image):
            raise OutputExistsError(
                f"{file}: was not made by this model from {item.path}; choose another `out`, or replace it with "
                "`overwrite`"
            )
    return mark if len(existing) == len(item.files) else None


def _prepare(out: Path, items: Sequence[_Item]) -> None:
    """Make the output directory, and remove temporary directories of killed processes from it.

    Raises OutputError if the directory cannot be made or written.
    """
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: may not be written; choose another `out`")
    for folder in {out, *(file.parent for item in items for file in item.files.values())}:
        remove_abandoned(folder)


def _write_or_error(
    item: _Item, prediction: Prediction | DataError, model: str, kinds: Sequence[str]
) -> Mark | PixelwiseError:
    """Write the files of an image. Return their mark, or an error that concerns this image only."""
    if isinstance(prediction, DataError):
        return prediction
    try:
        mark = Mark.of(prediction, model, digest(item.path))
        write_outputs(prediction, mark, kinds, item.files)
    except OutputError as error:
        cause = error.__context__
        if isinstance(cause, OSError) and cause.errno in _ONE_FILE_ERRORS:
            return error
        raise
    except MemoryError:
        return DataError(f"{item.path}: not enough memory to draw its mask; cut the image into tiles")
    return mark


def _report_entry(item: _Item, mark: Mark, out: Path) -> dict[str, Any]:
    """Return an image's entry in predictions.json. The keys are those of version 0.1."""
    return (
        {"photo": str(item.path), "width": mark.width, "height": mark.height}
        | {kind: str(file.relative_to(out)) for kind, file in item.files.items()}
        | {"shares": mark.shares}
    )


def _write_report(report: dict[str, Any], out: Path) -> None:
    with atomic_write(out) as part:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        # Bytes of file names that are not valid UTF-8 become escapes such as \udce9, which are valid JSON.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
