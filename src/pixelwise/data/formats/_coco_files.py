"""JSON files of COCO: where they are, their images' folder, their categories and entries of images."""

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
"""A folder with more JSON files has one per image, which is another format."""


def find_json_files(root: Path, prefix: str) -> list[Path]:
    """Return the JSON files of a data set.

    Args:
        root: the folder of the data set, or the JSON file.
        prefix: beginning of the names to prefer, in lower case: a folder can have files for other tasks too.
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
    """Return the folder whose subfolders have the images."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name.casefold() in _FOLDERS[1:] else root.parent


def read_categories(path: Path, items: Sequence[dict[str, Any]]) -> dict[int, tuple[str, object]]:
    """Return category id → (name, supercategory).

    Args:
        path: the JSON file, for messages.
        items: the entries of its categories.
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
    """Return the id and the file name of an entry for an image.

    Args:
        path: the JSON file, for messages.
        index: position of the entry.
        item: the entry.
    """
    number, name = item.get("id"), item.get("file_name")
    if not (is_index(number) or is_name(number)) or not is_name(name):
        raise DataError(f"{path}: image {index} (from 0) must have an id and a file_name; export it again")
    assert isinstance(number, int | str) and isinstance(name, str)
    return number, name
