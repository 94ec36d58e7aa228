"""Files with the split of each image: tables with a column of names and one of splits, and JSON files with lists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.data.formats._filesystem import ImageFile, Listing
from pixelwise.data.formats._json import read_json
from pixelwise.data.formats._splits import LIST_FOLDERS, SPLIT_WORDS, keep_first_split, with_most_common_folders
from pixelwise.data.formats._table_columns import columns_for
from pixelwise.data.formats._table_files import open_table
from pixelwise.data.schema import SPLITS, DataIssue, Split
from pixelwise.errors import DataError

_MAX_FILES = 20
"""Maximum number of files that are opened. If there are more, they are annotations of single images."""

MIN_FOUND = 0.9
"""At least this fraction of the names in a file must be those of images."""


@dataclass(frozen=True)
class SplitTable:
    """The split of each image of a data set.

    Attributes:
        file: the file that states the splits.
        images: the images of each split.
        issues: warnings about names that match no image or several, and about images without a split.
    """

    file: Path
    images: dict[Split, list[ImageFile]]
    issues: tuple[DataIssue, ...]


def find_split_table(root: Path, listing: Listing, images: Sequence[ImageFile]) -> SplitTable | None:
    """Find a file that states the split of each image.

    It is a CSV file with a column of image names and a column "split" whose cells are words for splits, or a JSON file
    with a list of image names for each split. It is in the root or in a folder for lists.

    Args:
        root: the root of the listing.
        listing: the files of the data set.
        images: the images of the data set.

    Returns:
        The first such file in which at least the fraction `MIN_FOUND` of the names are those of images, or None.
    """
    finder = _Finder(images)
    folders = [folder for folder in listing if folder.casefold() in LIST_FOLDERS]
    files = [(folder, name) for folder in folders for name in listing[folder]]
    candidates = [root / folder / name for folder, name in files if name.lower().endswith((".csv", ".tsv", ".json"))]
    for path in candidates if len(candidates) <= _MAX_FILES else ():
        try:
            names = _read_json_lists(path) if path.suffix.lower() == ".json" else _read_columns(path)
        except DataError:  # the file has another purpose. If it is needed, its own reader raises an error.
            continue
        if names and (found := finder.find(path, names)):
            return found
    return None


def _read_json_lists(path: Path) -> list[tuple[str, Split]]:
    """Return the image names in the list of each split, with the split. Return [] for other JSON files."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(str(key).casefold() in SPLIT_WORDS for key in content):
        return []
    names = []
    for key, values in content.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return []
        names += [(value, SPLIT_WORDS[str(key).casefold()]) for value in values]
    return names


def _read_columns(path: Path) -> list[tuple[str, Split]]:
    """Return the image name and the split of each row. Return [] for tables without splits.

    The names are in the column for images. If there is none, they are in the first column that is not the split.
    """
    table = open_table(path, lambda names: len(names) > 1 and len(columns_for(names, "split")) == 1)
    if table is None:
        return []
    (split,) = columns_for(table.columns, "split")
    image = [*columns_for(table.columns, "image"), *(index for index in range(len(table.columns)) if index != split)][0]
    rows = [(str(cells[0]), str(cells[1]).casefold()) for _, cells in table.read_rows([image, split])]
    if not all(word in SPLIT_WORDS for _, word in rows):
        return []
    return [(name, SPLIT_WORDS[word]) for name, word in rows]


class _Finder:
    """Finds images by their names or stems."""

    def __init__(self, images: Sequence[ImageFile]) -> None:
        self._images = images
        self._by_name: dict[str, list[ImageFile]] = {}
        for image in images:
            for name in {image.stem, image.name}:
                self._by_name.setdefault(name, []).append(image)

    def find(self, path: Path, names: Iterable[tuple[str, Split]]) -> SplitTable | None:
        """Return the images of each split, or None if less than the fraction `MIN_FOUND` of the names is found."""
        splits: dict[Split, dict[ImageFile, None]] = {split: {} for split in SPLITS}
        missing = []
        for name, split in names:
            image = self._find(name)
            if image is None:
                missing.append(name)
            else:
                splits[split][image] = None
        found = {image for each in splits.values() for image in each}
        if not found or len(missing) > (1 - MIN_FOUND) * (len(missing) + len(found)):
            return None
        kept, issues = keep_first_split(splits, path)
        if missing:
            message = f"{len(missing)} names have no image, for example {missing[0]}"
            issues.append(DataIssue("missing image", str(path), message, "warning"))
        left_out = [image for image in self._images if image not in found]
        if left_out:
            message = f"{len(left_out)} images have no split, for example {left_out[0]}; they are left out"
            issues.append(DataIssue("no split", str(path), message, "warning"))
        return SplitTable(path, kept, tuple(issues))

    def _find(self, name: str) -> ImageFile | None:
        """Return the image with a name or path. Return None if no image or several match."""
        path = PurePosixPath(name.replace("\\", "/"))
        matches = with_most_common_folders(path, self._by_name.get(path.name) or self._by_name.get(path.stem) or [])
        return matches[0] if len(matches) == 1 else None
