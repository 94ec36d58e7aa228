"""Predict many image files and write their masks, overlays and a summary to a directory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, list_files, list_images
from pixelwise.errors import DataError, OutputExistsError
from pixelwise.inference.predictor import Prediction, Predictor
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.visualization import save_image

REPORT_FILE = "predictions.json"


@dataclass(frozen=True)
class PredictResult:
    """Result of `predict_folder`.

    Attributes:
        report: the content of predictions.json.
        failed: one error for each file that could not be read, in the order of the files.
    """

    report: dict[str, Any]
    failed: tuple[DataError, ...]

    @property
    def image_count(self) -> int:
        """Number of images with a prediction."""
        return len(self.report["photos"])


def find_images(sources: Sequence[str | Path]) -> list[tuple[Path, Path]]:
    """Find the image files among files and directories.

    A directory is searched at any depth for the suffixes that training reads. A file is taken whatever its suffix.

    Args:
        sources: files and directories.

    Returns:
        For each image its path, and its name for output files: the path relative to its source, without suffix. Names
        are not unique.

    Raises:
        DataError: A source is missing, or a directory holds no image.
    """
    images: list[tuple[Path, Path]] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(source / file.folder / file.name for file in list_images(list_files(source)))
            if not inside:
                suffixes = ", ".join(f".{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
                raise DataError(f"{source}: no images in this directory ({suffixes})")
            images += [(path, path.relative_to(source).with_suffix("")) for path in inside]
        elif source.exists():
            images.append((source, Path(source.name).with_suffix("")))
        else:
            raise DataError(f"{source}: no such file or directory")
    return images


def predict_folder(
    predictor: Predictor,
    sources: Sequence[str | Path],
    out: str | Path,
    progress: Progress = no_progress,
) -> PredictResult:
    """Predict images and directories of images, and write the results to a directory.

    For each image it writes NAME_mask.png (a palette PNG whose pixel values are class indices) and NAME_overlay.png.
    A multi-label model writes NAME_mask_CLASS.png for each class instead of NAME_mask.png. All have the image's own
    size. predictions.json has the size and the class fractions of each image.

    Args:
        predictor: the model.
        sources: image files, and directories that are searched at any depth.
        out: the directory. It may exist, but none of the files to be written may.
        progress: draws a progress bar over the images.

    Returns:
        The content of predictions.json, and an error for each file that is not a readable image.

    Raises:
        DataError: A source is missing, or a directory holds no image. Nothing has been written.
        OutputExistsError: A file to be written exists already. Nothing has been written.
    """
    out = Path(out)
    images = find_images(sources)
    kinds = mask_kinds(predictor)
    targets = output_files([name for _, name in images], (*kinds, "overlay"), out)
    for path in (out / REPORT_FILE, *(file for files in targets for file in files.values())):
        if path.exists():
            raise OutputExistsError(f"{path}: exists already; choose another `out`")
    entries: list[dict[str, Any]] = []
    failed: list[DataError] = []
    predictions = progress(predictor.iter_predictions(path for path, _ in images), len(images))
    for (path, result), files in zip(predictions, targets, strict=True):
        if isinstance(result, DataError):
            failed.append(result)
            continue
        _write_images(result, kinds, files)
        entries.append(_report_entry(path, result, {kind: file.relative_to(out) for kind, file in files.items()}))
    report = {"classes": list(predictor.classes), "photos": entries}
    with atomic_write(out / REPORT_FILE) as part:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        # File names that are not valid UTF-8 become \\udce9, which JSON reads back.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return PredictResult(report, tuple(failed))


def mask_kinds(predictor: Predictor) -> tuple[str, ...]:
    """Return the kinds of mask files that a model's predictions have: "mask", or "mask_CLASS" for each class.

    Characters of a class name that are not alphanumeric, "-" or "." become "_". Class names that are equal after that
    (also if case is ignored, because some file systems ignore it) are numbered.
    """
    kinds: dict[str, str] = {}
    for name in predictor.task.mask_names(predictor.classes):
        stem = "_".join(filter(None, ("mask", "".join(c if c.isalnum() or c in "-." else "_" for c in name))))
        kind, number = stem, 1
        while kind.casefold() in kinds:
            number += 1
            kind = f"{stem}-{number}"
        kinds[kind.casefold()] = kind
    return tuple(kinds.values())


def output_files(names: Sequence[Path], kinds: Sequence[str], out: Path) -> list[dict[str, Path]]:
    """Return the output files of each image by kind. No file appears twice.

    Args:
        names: relative path of each image without suffix, see `find_images`.
        kinds: the kinds of files that each image has, for example ("mask", "overlay").
        out: the directory of the files.

    Returns:
        For each name {kind: out/NAME_KIND.png}. If one of the files belongs to an earlier image already (cat.jpg and
        cat.png), NAME is numbered: cat-2.
    """
    taken: set[str] = set()
    targets = []
    for name in names:
        stem, number = name, 1
        while True:
            files = {kind: out / stem.with_name(f"{stem.name}_{kind}.png") for kind in kinds}
            keys = {str(file).casefold() for file in files.values()}
            if taken.isdisjoint(keys):
                break
            number += 1
            stem = name.with_name(f"{name.name}-{number}")
        taken |= keys
        targets.append(files)
    return targets


def _write_images(prediction: Prediction, kinds: Sequence[str], files: dict[str, Path]) -> None:
    for kind, mask in zip(kinds, prediction.to_indexed_pngs().values(), strict=True):
        save_image(mask, files[kind])
    save_image(prediction.overlay(), files["overlay"])


def _report_entry(path: Path, prediction: Prediction, files: dict[str, Path]) -> dict[str, Any]:
    """Return an image's entry in predictions.json. The keys are those of version 0.1."""
    height, width = prediction.mask.shape[-2:]
    return (
        {"photo": str(path), "width": width, "height": height}
        | {kind: str(file) for kind, file in files.items()}
        | {"shares": {name: round(fraction, 6) for name, fraction in prediction.class_fractions.items()}}
    )
