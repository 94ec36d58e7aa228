"""COCO JSON files: find them and the root of their images, and check their entries of categories and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import file_starts_with, is_file, is_folder, list_files
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.formats._json import is_index, is_name
from pixelwise.errors import DataError

_HEAD = r'\s*\{\s*"(info|licenses?|images|annotations|categories|type|videos|contributor)"\s*:'

_FOLDERS = ("", "annotations", "annotation")

_MAX_FILES = 50
"""Maximum number of JSON files in a folder. A folder with more has one file per image, which is another format."""


def find_json_files(root: Path, prefix: str) -> list[Path]:
    """Return the COCO JSON files of a data set.

    The root, folders for annotations and folders of splits are searched for .json files. Other subfolders of the root
    are searched for .coco.json files only.

    Args:
        root: the folder of the data set, or the JSON file.
        prefix: prefix of file names, in lower case. If a folder has files with this prefix, its other files are left
            out, because they are for other tasks.

    Returns:
        The files that begin as COCO JSON. Empty if there are none.
    """
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    files = []
    for folder, names in list_files(root, depth=1).items():
        any_name = folder.casefold() in _FOLDERS or parse_folder_name(folder)[0] is not None
        names = [name for name in names if name.lower().endswith(".json" if any_name else ".coco.json")]
        preferred = [name for name in names if name.lower().startswith(prefix)]
        if len(names) <= _MAX_FILES:
            files += [root / folder / name for name in preferred or names]
    return [path for path in files if file_starts_with(path, _HEAD)]


def image_root(root: Path) -> Path:
    """Return the folder to search for images: the root, or the folder of a root that is a JSON file.

    For a JSON file in a folder named "annotations" or "annotation", it is the parent of that folder.
    """
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name.casefold() in _FOLDERS[1:] else root.parent


def read_categories(path: Path, items: Sequence[dict[str, Any]]) -> dict[int, tuple[str, object]]:
    """Return category id → (name, supercategory).

    Args:
        path: the JSON file, for messages.
        items: the entries of its categories.

    Raises:
        DataError: An entry has no valid id or no name, or two entries with the same id have different names.
    """
    categories: dict[int, tuple[str, object]] = {}
    for index, item in enumerate(items):
        number, name = item.get("id"), item.get("name")
        if not is_index(number) or not is_name(name):
            raise DataError(f"{path}: category {index} (from 0) must have an id, 0 or greater, and a name; fix it")
        assert isinstance(number, int) and isinstance(name, str)
        name = name.strip()
        first_name = categories.setdefault(number, (name, item.get("supercategory")))[0]
        if first_name != name:
            raise DataError(f"{path}: category {number} is {first_name} and also {name}; give each its own id")
    return categories


def check_image(path: Path, index: int, item: Mapping[str, Any]) -> tuple[int | str, str]:
    """Return the id and the file name in an entry for an image.

    Args:
        path: the JSON file, for messages.
        index: position of the entry, from 0, for messages.
        item: the entry.

    Raises:
        DataError: The entry has no valid id or no file name.
    """
    number, name = item.get("id"), item.get("file_name")
    if not (is_index(number) or is_name(number)) or not is_name(name):
        raise DataError(f"{path}: image {index} (from 0) must have an id and a file_name; export it again")
    assert isinstance(number, int | str) and isinstance(name, str)
    return number, name
