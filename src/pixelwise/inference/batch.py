"""Predict many image files and write their masks, overlays and tables to a directory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pixelwise.errors import ConfigError, OutputError, PixelwiseError
from pixelwise.inference.engines import get_engine
from pixelwise.inference.image_predictor import ImagePredictor, Output
from pixelwise.inference.item_list import ItemList, paths_of
from pixelwise.inference.mask_filter import MaskFilter
from pixelwise.inference.object_scale import is_noted, lost_object_note
from pixelwise.inference.output_items import (
    REPORT_FILE,
    MarkOfRun,
    OutputItem,
    assign_files,
    check_existing,
    report_content,
    report_entry,
    write_report,
)
from pixelwise.inference.output_options import DEFAULT_OUTPUTS, MaskStyle, OverlayFormat
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.prediction import require_mask_format
from pixelwise.inference.sources import find_images
from pixelwise.inference.url_store import open_store, output_place
from pixelwise.inference.writers import WriteOptions, make_writers
from pixelwise.runtime.atomic import remove_abandoned, share_temporary_directories
from pixelwise.runtime.disk_list import MappedSequence
from pixelwise.runtime.files import write_errors
from pixelwise.runtime.progress import Progress, no_progress


@dataclass(frozen=True)
class PredictResult:
    """Result of `predict_folder`.

    Attributes:
        classes: the names of the classes.
        images: the entries of "photos" in predictions.json. Each is read from a temporary file when it is used.
        failed: one error for each file or folder that could not be used, in the order of the images.
        resumed: number of images that were skipped because their files were complete.
        notes: one line for each source that contains files other than images, and one line about images that are
            much larger than the training images, see `lost_object_note`.
        too_large: the paths of these images. The view "tiles" may be better for them.
    """

    classes: tuple[str, ...]
    images: Sequence[dict[str, Any]]
    failed: tuple[PixelwiseError, ...]
    resumed: int = 0
    notes: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()

    @property
    def image_count(self) -> int:
        """Number of images with a prediction, including the resumed ones."""
        return len(self.images)

    @cached_property
    def report(self) -> dict[str, Any]:
        """The content of predictions.json, which `json.dumps` takes. All entries are in memory; `images` reads one."""
        return report_content(self.classes, list(self.images), self.failed)

    def __repr__(self) -> str:
        """Return the numbers of images and of failed files."""
        return f"PredictResult(images={self.image_count}, failed={len(self.failed)}, resumed={self.resumed})"


def predict_folder(
    predictor: ImagePredictor[Output],
    sources: Sequence[str | Path],
    out: str | Path,
    progress: Progress = no_progress,
    *,
    row_progress: Progress = no_progress,
    frame_progress: Progress = no_progress,
    frame_masks: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    masks: MaskStyle = "index",
    overlays: OverlayFormat = "jpg",
    pixel_size: str = "",
    write: Sequence[str] = DEFAULT_OUTPUTS,
    min_object: int = 0,
    min_hole: int = 0,
    engine: str = "local",
) -> PredictResult:
    """Predict images, videos and directories of them, and write the results to a directory.

    The outputs of an image are NAME_mask.png (grayscale, its values are class indices) and NAME_overlay.jpg. For a
    multi-label model, NAME_mask_CLASS.png for each class replaces NAME_mask.png. All outputs have the size of the
    image. The masks of large files are TIFF files, and their overlays are reduced, see `is_large_file` and
    `predict_large_file`. predictions.csv has one row per image and class, and objects.csv one row per object, see
    `ClassRows` and `ObjectRows`. The output of a video or of an animated GIF is an overlay video or GIF, see
    `predict_video`. Its rows in predictions.csv are sums over all frames. predictions.json lists the output files, the
    size and the class fractions of each image. It is written last. For the other outputs see `WRITERS`.

    Args:
        predictor: the model.
        sources: files, directories, patterns and URLs, see `find_images`.
        out: the directory, or the URL of a folder to which fsspec writes, such as "s3://bucket/masks". It may exist.
            None of the files to be written may exist unless `overwrite` or `resume` is set.
        progress: wraps the iteration over the images, to draw a progress bar.
        row_progress: the same for the parts of each large image: 64 rows of a strip, see `ImageView.strips`.
        frame_progress: the same for the frames of each video.
        frame_masks: True to write one mask per frame of a video, see `predict_video`.
        overwrite: replace files that exist, but never one of the images.
        resume: skip images whose files are complete and were made from the same image by the same model.
        masks: the values of the masks, see `Prediction.mask_images`.
        overlays: "jpg", "png" for lossless overlays, or "none" for no overlays.
        pixel_size: side of a pixel with its unit, such as "0.65um". It adds columns in this unit to the tables.
        write: the outputs, names in `pixelwise.inference.writers.WRITERS`. Videos have the first two and the rows of
            "csv" only.
        min_object: objects with fewer pixels are removed from the masks: they get the class that has most of their
            border.
        min_hole: holes with fewer pixels are filled: regions of the background that are surrounded by one class.
        engine: "local" for this process, or "ray" for the workers of a Ray cluster, see `predict_on_ray`.

    Returns:
        The entries of predictions.json, and an error for each file or folder that could not be used. If no image could
        be used, nothing has been written.

    Raises:
        ConfigError: `overwrite` and `resume` are both set, `pixel_size` is invalid, the model does not contain the
            values of `masks`, an output or the engine is unknown, a package for it is missing, `frame_masks` is set
            without the output "mask", or `out` is a URL to which no files can be written.
        DataError: A source is missing, or the package for the URL `out` is. Nothing has been written.
        OutputExistsError: A file to be written exists already, and may not be replaced or skipped. Nothing has been
            written.
        OutputError: The directory or URL cannot be written, or the disk is full.
    """
    if overwrite and resume:
        raise ConfigError("`overwrite` and `resume` exclude each other; set one of them")
    _check_masks(predictor, masks, frame_masks, write)
    config, place = predictor.config, output_place(out)
    size = PixelSize.parse(pixel_size) if pixel_size else None
    predict = get_engine(engine)
    mask_filter = MaskFilter(min_object, min_hole)
    mask_filter.check(config)
    writers = make_writers(write, WriteOptions(config, masks, overlays, is_local=isinstance(place, Path)))
    with open_store(place) as store:
        found, run = find_images(sources), MarkOfRun(mask_filter.sign(predictor.fingerprint()), masks)
        outputs = OutputSet(run, config, store, writers, size, mask_filter)
        predictor.check_needs(outputs.needs)
        items = ItemList(assign_files(found.images, outputs.specs, store, frame_masks))
        check_existing(items, outputs.shared, overwrite or resume, store)
        if resume:
            outputs.find_complete(items)
        resumed = len(items.done())
        call = partial(predict, predictor, part_progress=(row_progress, frame_progress))
        with predictor.leave_one_core():
            photos, failed = _predict_items(call, items, outputs, found.problems, progress)
    too_large, large_note = _too_large(predictor, items.done())
    notes = (*found.notes, *_video_note(items, write), *large_note)
    return PredictResult(config.classes, photos, tuple(failed), resumed, notes, too_large)


def _check_masks(predictor: ImagePredictor[Output], masks: MaskStyle, frame_masks: bool, write: Sequence[str]) -> None:
    """Raise ConfigError if the masks cannot be written with these options, see `predict_folder`."""
    if masks == "as-given":
        require_mask_format(predictor.config.mask_format)
    if frame_masks and "mask" not in write:
        raise ConfigError("`frame_masks` needs the output mask; add it to `write`")


def _predict_items(
    predict: Callable[..., Iterator[ItemResult | PixelwiseError]],
    items: ItemList,
    outputs: OutputSet,
    problems: Sequence[PixelwiseError],
    progress: Progress,
) -> tuple[Sequence[dict[str, Any]], list[PixelwiseError]]:
    """Predict the items without a mark, and write the files for all images.

    Args:
        predict: the engine, see `Engine`, without the model and the progress of parts.
        items: the images and videos.
        outputs: writes the files.
        problems: the errors of the sources.
        progress: wraps the iteration over the items.

    Returns:
        The entries of the images in predictions.json, and all errors.
    """
    out = outputs.out
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    _prepare(out, items)
    outputs.keep(paths_of(items.done()))
    failed, todo = [*problems], items.todo()
    with closing(outputs), share_temporary_directories():
        try:
            for index, item, result in zip(
                todo.numbers, progress(todo, len(todo)), predict(todo, outputs), strict=True
            ):
                # strict: the engine runs to its end
                if isinstance(result, PixelwiseError):
                    failed.append(result)
                else:
                    outputs.append(item, result)
                    items.set_mark(index, result.mark)
        except ConfigError:  # a cluster cannot be reached
            outputs.remove_if_empty()
            _remove_empty(new_folders)
            raise
    done = items.done()
    photos = MappedSequence(partial(report_entry, out=out), done)
    if done:
        outputs.finish(paths_of(done))
        write_report(report_content(outputs.config.classes, photos, failed), out / REPORT_FILE)
        outputs.publish()
    else:
        outputs.remove_if_empty()
        _remove_empty(new_folders)
    return photos, failed


def _video_note(items: Sequence[OutputItem], write: Sequence[str]) -> list[str]:
    """Return a line about the outputs that the videos do not have. Empty if they have all."""
    missing = [name for name in write if name not in DEFAULT_OUTPUTS]
    videos = [str(item.path) for item in items if item.is_moving] if missing else []
    if not videos:
        return []
    others = f" and {len(videos) - 1} more" if len(videos) > 1 else ""
    return [
        f"{videos[0]}{others}: {', '.join(missing)} are not written for videos; predict frames that are image files"
    ]


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders that are empty. Each must come before the folder that contains it."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _too_large(predictor: ImagePredictor[Output], done: Iterable[OutputItem]) -> tuple[tuple[str, ...], list[str]]:
    """Return the paths of the images that are much larger than the training images, and a line about them.

    Both are empty if there are none, or if the images were not predicted as a whole.
    """
    if not predictor.has_fixed_size:
        return (), []
    sizes = ((str(item.path), (mark.height, mark.width)) for item in done if (mark := item.mark) is not None)
    large = [(path, size) for path, size in sizes if is_noted(predictor.config, *size)]
    note = lost_object_note(predictor.config, (size for _, size in large))
    return tuple(path for path, _ in large), [note] if note else []


def _prepare(out: Path, items: Sequence[OutputItem]) -> None:
    """Make the output directory, and remove temporary directories of killed processes from it.

    Raises OutputError if the directory cannot be made or written.
    """
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: may not be written; choose another `out`")
    for folder in {out, *(file.parent for item in items for file in item.files.values())}:
        remove_abandoned(folder)
