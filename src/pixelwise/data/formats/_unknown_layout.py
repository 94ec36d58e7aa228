"""A description of a folder without a known format, with remedies."""

from collections import Counter, defaultdict
from pathlib import Path

from pixelwise.data.formats._filesystem import (
    IMAGE_SUFFIXES,
    ImageFile,
    Listing,
    file_starts_with,
    is_folder,
    list_files,
    list_images,
)
from pixelwise.data.formats._mask_candidates import are_masks
from pixelwise.data.formats._mask_patterns import advice, as_choices, find_patterns
from pixelwise.data.io.unreadable_formats import UNREADABLE, suffix_of, unreadable_format
from pixelwise.errors import DataError

_ONLY_BOXES = "and no masks: segmentation needs outlines or masks"

_NO_MASKS = {
    "xml": (r".*<annotation>.*<bndbox>", f"boxes of objects (Pascal VOC) {_ONLY_BOXES}"),
    "txt": (r"(?:\d+(?: [\d.eE+-]+){4}\s*)+$", f"boxes of objects (YOLO) {_ONLY_BOXES}"),
}
"""Suffix of annotation files without masks → (regular expression for their content, description for the message)."""

_ANNOTATIONS = ("json", "xml", "ndjson", "jsonl")

_MAX_FOLDERS = 4
"""Maximum number of folders in a description, those with the most files."""


def describe_path(root: Path) -> str:
    """Describe the files of a folder that has no known format, with remedies. A file is described by its suffix.

    Args:
        root: the path of a data set.

    Returns:
        One line without a period at its end: the files, then at most three remedies. It is empty for a file whose
        suffix is not in `UNREADABLE`, and for a folder that cannot be listed.
    """
    if not is_folder(root):
        return unreadable_format(root.name)
    try:
        listing = list_files(root)
    except DataError:
        return ""
    counts = {folder: Counter(map(suffix_of, names)) for folder, names in listing.items() if names}
    if not counts:
        return "the folder has no files"
    largest = sorted(counts, key=lambda folder: (-sum(counts[folder].values()), folder))
    shown = [f"{folder or '.'}/ has {_files(counts[folder])}" for folder in sorted(largest[:_MAX_FOLDERS])]
    more = f" (and {len(counts) - _MAX_FOLDERS} more folders)" if len(counts) > _MAX_FOLDERS else ""
    return "; ".join([", ".join(shown) + more, *_remedies(root, listing)[:3]])


def mask_choices(root: Path) -> list[dict[str, object]]:
    """Return the choices of an AmbiguousDataError for a folder without a known format.

    Args:
        root: the path of a data set.

    Returns:
        If exactly two folders have images, and these have the same names: each of the two whose files can be masks.
        Else an empty list.
    """
    try:
        listing = list_files(root) if is_folder(root) else {}
    except DataError:
        return []
    twins = _folders_of_same_names(listing)
    return as_choices(_patterns_of(root, twins, listing)) if twins else []


def _patterns_of(root: Path, twins: tuple[str, str], listing: Listing) -> list[str]:
    """Return the patterns of those of two folders whose files can be masks, if no other folder has images."""
    files: dict[str, list[ImageFile]] = defaultdict(list)
    for image in list_images(listing):
        files[image.folder].append(image)
    patterns = dict(zip(files, find_patterns(files), strict=False)) if set(files) == set(twins) else {}
    return [pattern for folder, pattern in patterns.items() if are_masks(root, files[folder])]


def _files(suffixes: Counter[str]) -> str:
    """Return the numbers of files with the three most common suffixes, and of all others, in words."""
    parts = [f"{count} {f'.{suffix}' if suffix else 'other'}" for suffix, count in suffixes.most_common(3)]
    left = sum(suffixes.values()) - sum(count for _, count in suffixes.most_common(3))
    return " and ".join(parts) + (f" and {left} other" if left else "") + " files"


def _remedies(root: Path, listing: Listing) -> list[str]:
    """Return at least one remedy for a folder without a known format."""
    remedies = []
    total = Counter(suffix for names in listing.values() for suffix in map(suffix_of, names))
    for suffix, count in total.most_common():
        if suffix in UNREADABLE and suffix not in IMAGE_SUFFIXES:
            files = f"{count} .{suffix} files" if count > 1 else f"the .{suffix} file"
            remedies.append(f"{files} cannot be read: {UNREADABLE[suffix]}")
    remedies += _annotations_without_masks(root, listing)
    twins = _folders_of_same_names(listing)
    if twins:
        patterns = _patterns_of(root, twins, listing)
        remedies.append(
            f"{twins[0]}/ and {twins[1]}/ have the same file names: {advice(patterns)}rename them to images and masks, "
            "or list the pairs in a CSV file with the columns image and mask"
        )
    if not remedies:
        remedies.append(
            "put images and masks of the same names into images/ and masks/, or list the pairs in a CSV file with the "
            "columns image and mask"
        )
    return remedies


def _annotations_without_masks(root: Path, listing: Listing) -> list[str]:
    """Return a line for each kind of annotation file that has only boxes, or that no reader supports.

    Of each folder, only the first file with each suffix is read.
    """
    found: dict[str, str] = {}
    for folder, names in listing.items():
        for suffix in ("txt", *_ANNOTATIONS):
            first = next((name for name in names if suffix_of(name) == suffix), None)
            if first is None:
                continue
            pattern, meaning = _NO_MASKS.get(suffix, ("", ""))
            file = f"{folder}/{first}" if folder else first
            if pattern and file_starts_with(root / folder / first, pattern):
                found.setdefault(f"has {meaning}", file)
            elif suffix in _ANNOTATIONS:
                found.setdefault("is not an annotation file that can be read: export COCO JSON or masks", file)
    return [f"{file} {meaning}" for meaning, file in found.items()]


def _folders_of_same_names(listing: Listing) -> tuple[str, str] | None:
    """Return two folders whose images have the same stems, or None if there are none."""
    stems: dict[str, set[str]] = defaultdict(set)
    for image in list_images(listing):
        stems[image.folder].add(image.stem)
    folders: dict[frozenset[str], str] = {}
    for folder, names in stems.items():
        if (first := folders.setdefault(frozenset(names), folder)) != folder:
            return first or ".", folder or "."
    return None
