"""Sort the files of a folder: images to predict, and files that are left out, such as masks and earlier outputs."""

import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pixelwise.data.formats._filesystem import Listing, abbreviate, list_images
from pixelwise.data.io.image_formats import HEIF_SUFFIXES, VIDEO_SUFFIXES
from pixelwise.data.io.unreadable_formats import UNREADABLE, suffix_of
from pixelwise.errors import DataError
from pixelwise.inference.mask_folders import find_masks
from pixelwise.inference.outputs import read_mark
from pixelwise.models.model_files import CONFIG_FILE, WEIGHTS_FILE

OUTPUT_STEM = re.compile(r".+_(mask|overlay|cutout|confidence|probabilities|labels)(_.+)?", re.DOTALL)
"""Stems of the files that a prediction writes."""

_HEIC_FIX, _VIDEO_FIX = "pip install 'pixelwise[heic]'", "pip install 'pixelwise[video]'"

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of JPEG, PNG, GIF and TIFF files."""


@dataclass
class FolderFiles:
    """The files of a folder.

    Attributes:
        root: the folder, or the fixed part of a pattern.
        images: images to predict: files with the suffix of an image, other files that are images by their content, and
            videos if PyAV is installed.
        by_content: the images without the suffix of an image.
        unreadable: suffix → files that can contain images but cannot be read.
        masks: the masks of a data set beside its images.
        outputs: number of files that an earlier prediction has written.
        run_files: number of files in run directories.
        others: suffix → number of files that are not images.
        special: one error for each named pipe, socket and dangling link without the suffix of an image.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    by_content: list[Path] = field(default_factory=list)
    unreadable: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    masks: list[Path] = field(default_factory=list)
    outputs: int = 0
    run_files: int = 0
    others: Counter[str] = field(default_factory=Counter)
    special: list[DataError] = field(default_factory=list)

    def left_out(self) -> str:
        """Describe the files that are left out, by kind, with a fix for unreadable ones. Empty if there are none."""
        parts = [
            f"{len(files)} .{suffix} ({self._names(files)}: {_fix(suffix)})"
            for suffix, files in sorted(self.unreadable.items())
        ]
        if self.masks:
            folders = abbreviate(dict.fromkeys(str(path.parent) for path in self.masks))
            parts.append(f"{len(self.masks)} {_plural(len(self.masks), 'mask')} in {folders}")
        if self.outputs:
            parts.append(f"{self.outputs} {_plural(self.outputs, 'output')} of an earlier prediction")
        if self.run_files:
            parts.append(f"{self.run_files} {_plural(self.run_files, 'file')} of a run")
        parts += [f"{count} .{suffix}" if suffix else f"{count} without suffix" for suffix, count in self._sorted()]
        return ", ".join(parts)

    def images_by_content(self) -> str:
        """Describe the images without the suffix of an image: number and names. Empty if there are none."""
        count = len(self.by_content)
        verb = "is an image" if count == 1 else "are images"
        return f"{count} {_plural(count, 'file')} ({self._names(self.by_content)}) {verb} by content" if count else ""

    def _names(self, files: Sequence[Path]) -> str:
        return abbreviate(path.relative_to(self.root) for path in files)

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.others.items(), key=lambda item: (-item[1], item[0]))


def sort_files(root: Path, listing: Listing, keep_masks: bool = False) -> FolderFiles:
    """Sort the files of a folder by kind.

    Args:
        root: the folder.
        listing: its files.
        keep_masks: True to treat the masks of a data set like other images.

    Returns:
        The files by kind. Images are in the order of their paths.
    """
    files = FolderFiles(root)
    runs = _run_folders(listing)
    listing = {folder: names for folder, names in listing.items() if not _is_inside(folder, runs)} | {
        folder: [] for folder in runs
    }
    files.run_files = sum(runs.values())
    named = {root / image.folder / image.name for image in list_images(listing)}
    files.masks = [] if keep_masks else find_masks(root, listing)
    masks = set(files.masks)
    for path in _paths(root, listing):
        suffix = suffix_of(path.name)
        if path in masks:
            continue
        if path in named:
            _add_image(files, path, suffix)
        elif fault := _special_file(path):
            files.special.append(DataError(f"{path}: {fault}; replace or remove it"))
        elif suffix in VIDEO_SUFFIXES and find_spec("av") is not None:
            _add_image(files, path, suffix)
        elif suffix in UNREADABLE:
            files.unreadable[suffix].append(path)
        elif _is_image_by_content(path):
            files.images.append(path)
            files.by_content.append(path)
        else:
            files.others[suffix] += 1
    files.images.sort()
    return files


def _add_image(files: FolderFiles, path: Path, suffix: str) -> None:
    """Add a file with the suffix of an image or a video."""
    if suffix in HEIF_SUFFIXES and find_spec("pillow_heif") is None:
        files.unreadable[suffix].append(path)
    elif OUTPUT_STEM.fullmatch(path.stem) and read_mark(path) is not None:
        files.outputs += 1
    else:
        files.images.append(path)


def _run_folders(listing: Listing) -> Counter[str]:
    """Return the run directories in a listing with their numbers of files. The root itself is left out."""
    runs = [
        folder
        for folder, names in listing.items()
        if folder and WEIGHTS_FILE in names and ("config.yaml" in names or CONFIG_FILE in names)
    ]
    counts: Counter[str] = Counter()
    for folder, names in listing.items():
        for run in runs:
            if _is_inside(folder, (run,)):
                counts[run] += len(names)
                break
    return counts


def _is_inside(folder: str, parents: Iterable[str]) -> bool:
    return any(folder == parent or folder.startswith(f"{parent}/") for parent in parents)


def _paths(root: Path, listing: Listing) -> Iterator[Path]:
    for folder, names in listing.items():
        for name in names:
            yield root / folder / name


def _fix(suffix: str) -> str:
    if suffix in HEIF_SUFFIXES:
        return _HEIC_FIX
    return _VIDEO_FIX if suffix in VIDEO_SUFFIXES else UNREADABLE[suffix]


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _special_file(path: Path) -> str:
    """Describe a path that is not a regular file. Return an empty string for a regular file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if path.is_symlink() else "cannot be read"
    return "" if stat.S_ISREG(mode) else "not a file"


def _is_image_by_content(path: Path) -> bool:
    """Return True if the first bytes of a file are those of a JPEG, PNG, GIF, TIFF, WebP, AVIF, HEIC or JPEG 2000."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_box = head[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1", b"jP  \r\n\x87\n")
    return head.startswith(_SIGNATURES) or is_webp or is_box
