"""The images of a call of `predict_folder` with their output files."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, tee
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pixelwise.errors import OutputExistsError
from pixelwise.inference.file_names import output_files
from pixelwise.inference.large_file import is_large_file
from pixelwise.inference.output_options import MaskStyle
from pixelwise.inference.output_store import OutputStore
from pixelwise.inference.outputs import Mark, digest
from pixelwise.inference.sources import ImageSource
from pixelwise.inference.video import FRAME_MASK, FRAMES_KIND, is_moving, video_files
from pixelwise.inference.writers.base import FileSpec
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.disk_list import DiskList
from pixelwise.runtime.text_index import TextIndex

REPORT_FILE = "predictions.json"


@dataclass
class OutputItem:
    """An image and its output files.

    Attributes:
        path: the image or video.
        name: path of the image relative to the source that was searched, with its suffix and "/".
        files: kind → output file. For the kinds see `Writer.files` and `video_files`.
        is_large: True for a file that is read in parts, see `is_large_file`.
        is_moving: True for a video or an animated GIF.
        mark: the mark of the files if they are complete, else None.
    """

    path: ImageSource
    name: str
    files: dict[str, Path]
    is_large: bool = False
    is_moving: bool = False
    mark: Mark | None = None

    def moved(self, out: Path, other: Path) -> "OutputItem":
        """Return a copy whose files are below the directory `other` instead of `out`."""
        return replace(self, files={kind: other / file.relative_to(out) for kind, file in self.files.items()})


class MarkOfRun(NamedTuple):
    """The parts of a `Mark` that are equal for all images of a call of `predict_folder`.

    Attributes:
        model: the `fingerprint` of the model.
        masks: the values of the masks, see `Prediction.mask_images`.
    """

    model: str
    masks: MaskStyle


def assign_files(
    images: Collection[tuple[ImageSource, Path]],
    specs: Mapping[str, FileSpec],
    store: OutputStore,
    frame_masks: bool = False,
) -> Sequence[OutputItem]:
    """Assign output files to images. Images in `out` that are outputs of an earlier prediction are left out.

    Args:
        images: each image and its name, see `FoundImages`.
        specs: kind → the name of its file, see `Writer.files`.
        store: the output directory.
        frame_masks: True for one mask per frame of a video, see `video_files`.

    Returns:
        The images in order, without marks. Each is read when it is used.
    """
    items = DiskList(_make_items(images, specs, store.root, frame_masks))
    own = _find_outputs(items, store)
    if not own:
        return items
    others = ((path, name) for path, name in images if path not in own)
    return DiskList(_make_items(others, specs, store.root, frame_masks))


def _find_outputs(items: Sequence[OutputItem], store: OutputStore) -> set[ImageSource]:
    """Return the images that are outputs of an earlier prediction, and the output file of an image of this one."""
    files = TextIndex()
    for item in items:
        for file in item.files.values():
            files.add(store.identity(file))
    paths = {identity: item.path for item in items if (identity := store.identity(item.path)) in files}
    if not paths:
        return set()
    outputs = (file for item in items for file in item.files.values())
    return {
        paths[identity] for file in outputs if (identity := store.identity(file)) in paths and store.read_mark(file)
    }


def _make_items(
    images: Iterable[tuple[ImageSource, Path]], specs: Mapping[str, FileSpec], out: Path, frame_masks: bool
) -> Iterator[OutputItem]:
    """Yield images with their files, see `assign_files`."""
    suffixes = {kind: spec.suffix for kind, spec in specs.items()}
    folders = {kind: spec.folder for kind, spec in specs.items() if spec.folder is not None}
    for_names, for_items = tee(images)
    targets = output_files((name for _, name in for_names), suffixes, out, folders)
    for (path, name), files in zip(for_items, targets, strict=True):
        yield _make_item(path, name.with_name(path.name).as_posix(), files, specs, frame_masks)


def _make_item(
    path: ImageSource, name: str, files: dict[str, Path], specs: Mapping[str, FileSpec], frame_masks: bool
) -> OutputItem:
    """Return an image with its files. The masks of a large file are TIFF files."""
    if isinstance(path, Path) and is_moving(path):
        return OutputItem(path, name, video_files(path, files, frame_masks), is_moving=True)
    is_large = is_large_file(path)
    if is_large:
        files = {kind: file.with_suffix(specs[kind].large_suffix or file.suffix) for kind, file in files.items()}
    return OutputItem(path, name, files, is_large)


def check_existing(items: Sequence[OutputItem], shared: Iterable[Path], may_replace: bool, store: OutputStore) -> None:
    """Check the output files of a call of `predict_folder` that exist.

    Args:
        items: the images with their files.
        shared: the files for all images.
        may_replace: True if files that exist may be replaced or skipped. The images may never be replaced.
        store: the output directory.

    Raises:
        OutputExistsError: A file exists and may not be replaced. Or the directory of the masks of a video contains
            other files.
    """
    inputs = TextIndex()
    for item in items:
        inputs.add(store.identity(item.path))
    folders = [item.files[FRAMES_KIND] for item in items if FRAMES_KIND in item.files]
    if folders:
        used = {parent for item in items for parent in PurePath(store.identity(item.path)).parents}
        written = {parent for item in items for file in item.files.values() for parent in file.parents}
        for folder in folders:
            _check_directory(folder, used, written, store)
    for path in chain(shared, (file for item in items for file in item.files.values())):
        if not store.exists(path):
            continue
        if not may_replace:
            raise OutputExistsError(
                f"{path}: exists already; choose another `out`, continue with `resume`, or replace it with `overwrite`"
            )
        if store.identity(path) in inputs:
            raise OutputExistsError(f"{path}: is one of the images and would be replaced; choose another `out`")


def _check_directory(folder: Path, used: set[PurePath], written: set[Path], store: OutputStore) -> None:
    """Check that a directory, which is replaced with all its files, has the masks of frames only.

    Args:
        folder: the directory. It may be missing.
        used: the absolute paths of the directories that contain an image of the call.
        written: the directories that contain an output file of the call.
        store: the output directory.

    Raises:
        OutputExistsError: It contains or would contain another file.
    """
    if PurePath(store.identity(folder)) in used:
        raise OutputExistsError(f"{folder}: contains one of the images and would be replaced; choose another `out`")
    if folder in written:
        raise OutputExistsError(f"{folder}: would contain the masks of a video and of images; rename the video")
    if not store.exists(folder):
        return
    fault = "was not made by pixelwise"
    if store.read_mark(folder) is not None:
        others = [name for name in store.names_in(folder) if not FRAME_MASK.fullmatch(name)]
        if not others:
            return
        fault = f"contains {others[0]}"
    raise OutputExistsError(f"{folder}: {fault} and would be replaced; choose another `out`, or move it")


def read_result(
    expected: MarkOfRun,
    item: OutputItem,
    unmarked: Collection[str],
    stored: tuple[Path, Mark] | None,
    is_left: bool,
    store: OutputStore,
    is_same: bool = False,
) -> Mark | None:
    """Return the mark of an image whose files exist, or None if a file is missing.

    Args:
        expected: the model and the values of the masks.
        item: the image.
        unmarked: the kinds of files that contain no mark.
        stored: the file of all marks, and the mark of the image in it. It is the mark of unmarked files too.
        is_left: True if unmarked files without a stored mark are what a killed prediction has left. They are complete,
            but the image is not.
        store: the output directory.
        is_same: True if the image is known to be that of the stored mark, so that it is not read.

    Raises:
        OutputExistsError: A file was not made by this model from this image, or its masks have other values.
    """
    existing = {kind: file for kind, file in item.files.items() if store.exists(file)}
    marks = [] if stored is None else [stored]
    marks += [(file, stored[1]) for kind, file in existing.items() if stored is not None and kind in unmarked]
    checked = [file for kind, file in existing.items() if kind not in unmarked or not (stored or is_left)]
    if stored is not None and not store.is_local:
        checked = []  # each would be a download
    found = {file: store.read_mark(file) for file in checked}
    image = stored[1].image if stored is not None and is_same else digest(item.path) if marks or found else ""
    for file, mark in (*marks, *found.items()):
        if mark is None or (mark.model, mark.image) != (expected.model, image):
            raise OutputExistsError(
                f"{file}: was not made by this model from {item.path}; choose another `out`, or replace it with "
                "`overwrite`"
            )
        if mark.masks != expected.masks:
            raise OutputExistsError(
                f"{file}: was made with `masks` {mark.masks}; use the same, choose another `out`, or replace it with "
                "`overwrite`"
            )
    complete = [mark for _, mark in (*marks, *found.items()) if mark is not None]
    return complete[0] if complete and len(existing) == len(item.files) else None


def report_entry(item: OutputItem, out: Path) -> dict[str, Any]:
    """Return an image's entry in predictions.json. The keys are those of version 0.1.

    Args:
        item: the image, with its mark.
        out: the directory of the output files.
    """
    mark = item.mark
    assert mark is not None
    return (
        {"photo": str(item.path), "width": mark.width, "height": mark.height}
        | {kind: str(file.relative_to(out)) for kind, file in item.files.items()}
        | {"shares": mark.shares}
    )


def report_content(
    classes: Sequence[str], photos: Sequence[Mapping[str, Any]], failed: Iterable[Exception]
) -> dict[str, Any]:
    """Return the content of predictions.json.

    Args:
        classes: the names of the classes.
        photos: the `report_entry` of each image.
        failed: the errors.
    """
    return {"classes": list(classes), "photos": photos, "failed": list(map(str, failed))}


def write_report(report: Mapping[str, Any], out: Path) -> None:
    """Write predictions.json atomically. One entry of an image is in memory at a time.

    Args:
        report: the content, with the entries of the images in "photos".
        out: the file.

    Raises:
        OutputError: The file cannot be written.
    """
    # A quotation mark inside of a text is escaped, so this is the only place with this line.
    start, empty, end = _to_json({**report, "photos": []}).partition('\n  "photos": []')
    with atomic_write(out) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as file:
        # Bytes of file names that are not valid UTF-8 become escapes such as \udce9, which are valid JSON.
        file.write(start + empty.removesuffix("]"))
        separator = "\n    "
        for entry in report["photos"]:
            file.write(separator + _to_json(entry).replace("\n", "\n    "))
            separator = ",\n    "
        file.write(("\n  ]" if len(report["photos"]) else "]") + end + "\n")


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
