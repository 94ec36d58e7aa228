"""Lists of the images of each split: train.txt, val.txt, test.txt."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from pixelwise.data.formats._filesystem import ImageFile, Listing, read_lines
from pixelwise.data.schema import DataIssue, Split
from pixelwise.errors import DataError

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
"""A word in lower case → the split that it means."""

_NAMES: dict[str, Split] = {
    "train.txt": "train",
    "val.txt": "val",
    "valid.txt": "val",
    "validation.txt": "val",
    "dev.txt": "val",
    "test.txt": "test",
}


_FOLDERS = ("", "splits", "split", "lists", "imagesets", "imagesets/segmentation", "annotations")


def find_lists(root: Path, listing: Listing) -> dict[Split, Path]:
    """The lists in a folder, or in a folder for them; `trainval.txt` stands for train where that is missing."""
    for folder, names in listing.items():
        if folder.casefold() not in _FOLDERS:
            continue
        lists = {_NAMES[name.lower()]: root / folder / name for name in names if name.lower() in _NAMES}
        whole = [name for name in names if name.lower() == "trainval.txt"]
        if whole and "train" not in lists:
            lists["train"] = root / folder / whole[0]
        if lists:
            return lists
    return {}


def read_list(path: Path, images: Iterable[ImageFile]) -> tuple[list[ImageFile], list[DataIssue]]:
    """The images that a list names, in its order, each once; a line without one is a problem.

    A line is a name or a path, with or without suffix; other columns may follow. Raises DataError where a line may mean
    two images.
    """
    by_name: dict[str, list[ImageFile]] = {}
    for image in images:
        for name in {image.stem, image.name}:
            by_name.setdefault(name, []).append(image)
    found: dict[ImageFile, None] = {}
    problems = []
    for line in read_lines(path):
        for wanted in _readings(line):
            matching: Sequence[ImageFile] = by_name.get(wanted.name) or by_name.get(wanted.stem) or ()
            if len(matching) > 1:
                matching = _nearest(wanted, matching)
            if len(matching) > 1:
                raise DataError(f"{path}: {line} may be {matching[0]} or {matching[1]}; write the path in the list")
            if matching:
                found[matching[0]] = None
                break
        else:
            what = f"no such image, though {path.name} lists it; add it or take out the line"
            problems.append(DataIssue("missing image", line, what))
    return list(found), problems


def _readings(line: str) -> Iterator[PurePosixPath]:
    """What a line may name: all of it, as names have spaces, or its first column."""
    yield PurePosixPath(line.replace("\\", "/"))
    for separator in ("\t", ",", " "):
        if separator in line:
            yield PurePosixPath(line.split(separator)[0].strip().replace("\\", "/"))


def _nearest(wanted: PurePosixPath, matching: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """Those of several images of one name that share most folders, from the file upwards, with the path wanted."""
    folders = wanted.parts[-2::-1]

    def shared(image: ImageFile) -> int:
        pairs = zip(folders, reversed(image.folder.split("/")), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    most = max(map(shared, matching))
    return [image for image in matching if shared(image) == most]
