"""Words that name splits, and lists of the images of each split: train.txt, val.txt, test.txt."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, ImageFile, Listing, read_lines
from pixelwise.data.schema import SPLITS, DataIssue, Split
from pixelwise.errors import DataError

SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test", "ts": "test",
}  # fmt: skip
"""Word in lower case → split. All formats use this table: for folders, lists, columns, keys and file names."""

LIST_FOLDERS = ("", "splits", "split", "lists", "list", "imagesets", "imagesets/segmentation", "annotations")
"""Folders that can have lists of images, in lower case."""

_LIST_SUFFIXES = (".txt", ".lst")

_MAX_UNCLEAR = 10
"""Maximum number of files that `unclear_lists` returns. If there are more, they are annotations of single images."""

_WORDS = re.compile("[a-z]+")

_LIST_WORDS = frozenset({
    "data", "file", "filelist", "filename", "filenames", "files", "id", "ids", "image", "images", "img", "imgs", "list",
    "lists", "name", "names", "pairs", "sample", "samples", "set", "split",
})  # fmt: skip
"""Words that the name of a list can have besides the word for a split: train_list.txt, list_val.txt, test_ids.txt."""


def split_of_list(name: str) -> Split | None:
    """Return the split in the file name of a list of images, or None if the name is not clear.

    >>> split_of_list("train_list.txt"), split_of_list("valid-ids.TXT"), split_of_list("trainlist.txt")
    ('train', 'val', 'train')
    >>> split_of_list("labels.txt"), split_of_list("train_fold3.txt")
    (None, None)
    """
    stem, suffix = name[:-4].casefold(), name[-4:].casefold()
    if suffix not in _LIST_SUFFIXES or any(letter.isdigit() for letter in stem):
        return None
    for word in ("list", "files", "set"):  # trainlist, trainset
        if stem.removesuffix(word) in SPLIT_WORDS:
            stem = stem.removesuffix(word)
    words = _WORDS.findall(stem)
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    others = [word for word in words if word not in SPLIT_WORDS and word not in _LIST_WORDS]
    return splits[0] if len(splits) == 1 and not others else None


def split_of_stem(stem: str) -> Split | None:
    """Return the split whose word is at the beginning of an image's stem, or None. Words of two letters do not count.

    >>> split_of_stem("train_12"), split_of_stem("testA_1"), split_of_stem("trainer_1"), split_of_stem("tr_1")
    ('train', 'test', None, None)
    """
    word = re.match(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", stem)
    return SPLIT_WORDS.get(word[0].casefold()) if word and len(word[0]) > 2 else None


def find_lists(root: Path, listing: Listing, images: Iterable[ImageFile]) -> dict[Split, Path]:
    """Find the list of images of each split.

    Folders for lists are searched first (the root, splits/, ImageSets/Segmentation/ and so on), then all other folders.
    If there is no train list, trainval.txt is used.

    Args:
        root: the root of the listing.
        listing: the files of the data set.
        images: the images of the data set.

    Returns:
        Split → its list, from the first folder that has lists. In a folder that is not for lists, one of the lists must
        name an image of the data set. Empty if there are no lists.
    """
    usual = [folder for folder in listing if folder.casefold() in LIST_FOLDERS]
    others = sorted((folder for folder in listing if folder not in usual), key=lambda name: (name.count("/"), name))
    names = {name for image in images for name in (image.stem, image.name, image.folder.rpartition("/")[2])}
    for folder in (*usual, *others):
        lists: dict[Split, Path] = {}
        for name in sorted(listing[folder], key=len, reverse=True):  # train.txt overwrites train_ids.txt
            if split := split_of_list(name):
                lists[split] = root / folder / name
        train_val = [name for name in listing[folder] if name.lower() == "trainval.txt"]
        if train_val and "train" not in lists:
            lists["train"] = root / folder / train_val[0]
        if lists and (folder in usual or any(_names_image(path, names) for path in lists.values())):
            return lists
    return {}


def _names_image(path: Path, names: Container[str]) -> bool:
    """Return True if the first line of a list names an image."""
    try:
        first = next(iter(read_lines(path)), "")
    except DataError:
        return False
    return any(path.name in names or path.stem in names for path in _candidate_paths(first))


def unclear_lists(root: Path, listing: Listing) -> list[Path]:
    """Return text files whose names have a word for a split, such as train_fold1.txt.

    Files outside the folders for lists count only if `split_of_list` returns a split for them.

    Args:
        root: the root of the listing.
        listing: the files of the data set.

    Returns:
        At most `_MAX_UNCLEAR` files.
    """
    return [
        root / folder / name
        for folder, names in listing.items()
        for name in names
        if name.lower().endswith(_LIST_SUFFIXES)
        and (folder.casefold() in LIST_FOLDERS or split_of_list(name))
        and any(word in SPLIT_WORDS and len(word) > 2 for word in _WORDS.findall(name.casefold()))
    ][:_MAX_UNCLEAR]


def keep_first_split(
    by_split: Mapping[Split, Iterable[ImageFile]], file: Path
) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
    """Remove images from a split if an earlier split has them: an image in two splits would make metrics too high.

    Args:
        by_split: the images of each split.
        file: the file that lists the splits, for the issues.

    Returns:
        The images of each split, and an issue for each split that lost images.
    """
    assigned: set[ImageFile] = set()
    kept: dict[Split, list[ImageFile]] = {}
    issues = []
    for split in SPLITS:
        images = list(by_split.get(split, ()))
        kept[split] = [image for image in images if image not in assigned]
        if count := len(images) - len(kept[split]):
            message = f"{count} image{'s' * (count > 1)} of {split} also in an earlier split; used only there"
            issues.append(DataIssue("image in two splits", str(file), message, severity="warning"))
        assigned.update(images)
    return kept, issues


def read_list(path: Path, images: Iterable[ImageFile]) -> tuple[list[ImageFile], list[DataIssue]]:
    """Read a list of images.

    Args:
        path: a text file. Each line is the name or the path of an image, with or without suffix, or of a folder of
            images. Other columns can follow.
        images: the images of the data set.

    Returns:
        The images in the order of the list without duplicates, and an issue for each line that matches no image.

    Raises:
        DataError: A line matches two images, or the file cannot be read.
    """
    by_name: dict[str, list[ImageFile]] = {}
    by_folder: dict[str, list[ImageFile]] = {}
    for image in images:
        for name in {image.stem, image.name}:
            by_name.setdefault(name, []).append(image)
        by_folder.setdefault(image.folder.rpartition("/")[2], []).append(image)
    listed: dict[ImageFile, None] = {}
    issues = []
    for line in read_lines(path):
        for candidate in _candidate_paths(line):
            matches: Sequence[ImageFile] = by_name.get(candidate.name) or by_name.get(candidate.stem) or ()
            if len(matches) > 1:
                matches = with_most_common_folders(candidate, matches)
            if len(matches) > 1:
                raise DataError(f"{path}: {line} matches {matches[0]} and {matches[1]}; write the path in the list")
            if matches:
                listed[matches[0]] = None
                break
        else:
            name = line.strip("/")
            if in_folder := [
                i for i in by_folder.get(name.rpartition("/")[2], ()) if f"/{i.folder}".endswith(f"/{name}")
            ]:
                listed |= dict.fromkeys(in_folder)
                continue
            message = f"no such image, though {path.name} lists it; add it or remove the line"
            issues.append(DataIssue("missing image", line, message))
    return list(listed), issues


def columns_of(line: str) -> Iterator[tuple[str, str]]:
    """Yield each way to split a line of a list into its first column and the rest.

    There can be several ways, because names can have spaces.

    >>> list(columns_of("a b.jpg m.png"))
    [('a', 'b.jpg m.png'), ('a b.jpg', 'm.png')]
    """
    for separator in ("\t", ",", ";", " "):
        columns = line.split(separator)
        for cut in range(1, len(columns)):
            yield separator.join(columns[:cut]).strip(), separator.join(columns[cut:]).strip()


def _candidate_paths(line: str) -> Iterator[PurePosixPath]:
    """Yield the paths that a line can mean: first columns with the suffix of an image, the whole line, other columns.

    There can be several first columns, because names can have spaces.
    """
    columns = [PurePosixPath(first.replace("\\", "/")) for first, _ in columns_of(line)]
    yield from (path for path in columns if path.suffix[1:].lower() in IMAGE_SUFFIXES)
    yield PurePosixPath(line.replace("\\", "/"))
    yield from columns


def with_most_common_folders(path: PurePosixPath, images: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """Return the images that have the most parent folders in common with a path, counted from the file upwards.

    Args:
        path: a path in a list of images.
        images: images with the file name of the path.

    Returns:
        One image, or several that are equally good. Empty if `images` is empty.
    """
    folders = path.parts[-2::-1]

    def count_common(image: ImageFile) -> int:
        pairs = zip(folders, reversed(image.folder.split("/")), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    max_count = max(map(count_common, images), default=0)
    return [image for image in images if count_common(image) == max_count]
