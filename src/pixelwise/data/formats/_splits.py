"""Words that name splits, and lists of the images of each split: train.txt, val.txt, test.txt."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from pixelwise.data.formats._filesystem import ImageFile, Listing, read_lines
from pixelwise.data.schema import DataIssue, Split
from pixelwise.errors import DataError

SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test", "ts": "test",
}  # fmt: skip
"""Word in lower case → split. All formats use this table: for folders, lists, columns, keys and file names."""

_LIST_FOLDERS = ("", "splits", "split", "lists", "imagesets", "imagesets/segmentation", "annotations")


def find_lists(root: Path, listing: Listing) -> dict[Split, Path]:
    """Find the lists of images in the root or in a folder for them. `trainval.txt` replaces a missing train list."""
    for folder, names in listing.items():
        if folder.casefold() not in _LIST_FOLDERS:
            continue
        lists: dict[Split, Path] = {}
        for name in names:
            word, _, suffix = name.lower().rpartition(".")
            if suffix == "txt" and word in SPLIT_WORDS:
                lists[SPLIT_WORDS[word]] = root / folder / name
        train_val = [name for name in names if name.lower() == "trainval.txt"]
        if train_val and "train" not in lists:
            lists["train"] = root / folder / train_val[0]
        if lists:
            return lists
    return {}


def read_list(path: Path, images: Iterable[ImageFile]) -> tuple[list[ImageFile], list[DataIssue]]:
    """Read a list of images.

    Args:
        path: a text file. Each line is a name or a path, with or without suffix. Other columns can follow.
        images: the images of the data set.

    Returns:
        The images in the order of the list without duplicates, and an issue for each line that matches no image.

    Raises:
        DataError: A line matches two images, or the file cannot be read.
    """
    by_name: dict[str, list[ImageFile]] = {}
    for image in images:
        for name in {image.stem, image.name}:
            by_name.setdefault(name, []).append(image)
    listed: dict[ImageFile, None] = {}
    issues = []
    for line in read_lines(path):
        for candidate in _candidate_paths(line):
            matches: Sequence[ImageFile] = by_name.get(candidate.name) or by_name.get(candidate.stem) or ()
            if len(matches) > 1:
                matches = _with_most_common_folders(candidate, matches)
            if len(matches) > 1:
                raise DataError(f"{path}: {line} matches {matches[0]} and {matches[1]}; write the path in the list")
            if matches:
                listed[matches[0]] = None
                break
        else:
            message = f"no such image, though {path.name} lists it; add it or remove the line"
            issues.append(DataIssue("missing image", line, message))
    return list(listed), issues


def _candidate_paths(line: str) -> Iterator[PurePosixPath]:
    """Yield the paths that a line can mean: the whole line, because names can have spaces, or its first column."""
    yield PurePosixPath(line.replace("\\", "/"))
    for separator in ("\t", ",", " "):
        if separator in line:
            yield PurePosixPath(line.split(separator)[0].strip().replace("\\", "/"))


def _with_most_common_folders(path: PurePosixPath, images: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """Return the images whose folders agree with most folders of the path, counted from the file upwards."""
    folders = path.parts[-2::-1]

    def count_common(image: ImageFile) -> int:
        pairs = zip(folders, reversed(image.folder.split("/")), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    max_count = max(map(count_common, images))
    return [image for image in images if count_common(image) == max_count]
