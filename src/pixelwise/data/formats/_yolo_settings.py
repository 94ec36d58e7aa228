"""Class names and splits of a YOLO data set, from data.yaml, classes.txt, or the class numbers in the label files."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.formats._filesystem import is_file, is_folder, list_files, read_lines, read_text
from pixelwise.data.formats._json import MAX_NAME, is_index, is_name
from pixelwise.data.formats._outside import outside_error
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.formats._yolo_labels import find_label_files, infer_class_numbers, number_names
from pixelwise.data.schema import Split
from pixelwise.errors import DataError

_YAML_SUFFIXES = (".yaml", ".yml")

_YAML_STEMS = ("data", "dataset")

_NAME_FILES = ("classes.txt", "obj.names")
"""Files with one class name per line. labelImg and Label Studio write the first, Darknet uses the second."""


@dataclass
class YoloSettings:
    """The class names and the splits of a YOLO data set.

    Attributes:
        path: data.yaml, classes.txt or obj.names. The root of the data set if there is no such file.
        base: the folder that the paths in `folders` are relative to.
        names: class number → name.
        folders: split → folders or lists of images.
        has_names: False if there is no such file. The class numbers are then those in the label files.
    """

    path: Path
    base: Path
    names: dict[int, str]
    folders: dict[Split, list[str]] = field(default_factory=dict)
    has_names: bool = True


def find_settings(root: Path, allow_outside: bool = False) -> YoloSettings | None:
    """Find and read the settings of a data set.

    Args:
        root: the folder of the data set, or its YAML file.
        allow_outside: True if the YAML file may name a folder outside its own. It has an effect only if `root` is the
            file. If `root` is a folder, no folder outside it is used.

    Returns:
        The settings. None if the data set is not in the YOLO format.

    Raises:
        DataError: A YAML file of YOLO is not valid or names a folder that is not allowed, or a text file cannot be
            read.
    """
    if is_file(root):
        is_yaml = root.suffix.lower() in _YAML_SUFFIXES
        return _read_settings(root, is_root=True, allow_outside=allow_outside) if is_yaml else None
    if not is_folder(root):
        return None
    listing = list_files(root)
    numbers: list[int] | None = None
    # Other formats have YAML files too, but no text files below labels/.
    names = [name for folder, names in listing.items() if "labels" in folder.casefold().split("/") for name in names]
    if not any(name.endswith(".txt") for name in names):
        numbers = infer_class_numbers(root, listing)
        if numbers is None:
            return None
    paths = [root / name for name in listing[""] if name.lower().endswith(_YAML_SUFFIXES)]
    paths.sort(key=lambda path: (path.stem.lower() not in _YAML_STEMS, path.name))
    for path in paths:
        settings = _read_settings(path)
        if settings is not None:
            return settings
    label_folders = {folder for folder, _ in find_label_files(listing).values()}
    for folder in ("", "labels", *sorted(label_folders)):
        for name in _NAME_FILES:
            if name in listing.get(folder, ()) and label_folders:
                path = root / folder / name
                return YoloSettings(path, root, dict(enumerate(read_lines(path))))
    numbers = infer_class_numbers(root, listing) if numbers is None else numbers
    return None if numbers is None else YoloSettings(root, root, number_names(numbers), has_names=False)


class _Loader(yaml.SafeLoader):
    """A YAML loader that raises an error for a duplicate key. PyYAML's own loaders use the last value of the key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise yaml.constructor.ConstructorError(None, None, f"line {line}: {key.value} is there twice")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _read_settings(path: Path, is_root: bool = False, allow_outside: bool = False) -> YoloSettings | None:
    """Read a YAML file. Return None if it does not have the keys of YOLO.

    If `is_root`, the user passed the file itself. An existing folder outside its own then needs `allow_outside`.
    """
    text = read_text(path)
    try:
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        fault = " ".join(str(error).split())[:MAX_NAME]
        if path.stem.lower() in _YAML_STEMS or re.search(r"^(names|nc)\s*:", text, re.MULTILINE):
            raise DataError(f"{path}: is not valid YAML ({fault}); fix it") from None
        return None
    if not isinstance(content, dict) or not {"names", "nc"} & set(content):
        return None
    base = path.parent
    if is_name(content.get("path")):
        other = base / content["path"]
        if is_folder(other):
            if other.resolve().is_relative_to(base.resolve()) or (is_root and allow_outside):
                base = other
            elif is_root:
                raise DataError(f"{path}: {outside_error(content['path'], str(base))}")
    return YoloSettings(path, base, _read_names(path, content), _read_split_folders(path, content))


def _read_split_folders(path: Path, content: Mapping[Any, Any]) -> dict[Split, list[str]]:
    """Return split → folders or lists. If a split has several keys, the first one in `SPLIT_WORDS` is used."""
    folders: dict[Split, list[str]] = {}
    for key, split in SPLIT_WORDS.items():
        value = content.get(key)
        if not value or split in folders:
            continue
        folders[split] = value if isinstance(value, list) else [value]
        if not all(map(is_name, folders[split])):
            raise DataError(f'{path}: "{key}" must be a folder, a list of folders, or a .txt file; fix it')
    return folders


def _read_names(path: Path, content: Mapping[Any, Any]) -> dict[int, str]:
    """Return class number → name, sorted by number."""
    names, count = content.get("names"), content.get("nc")
    if count is not None and not (is_index(count) and count < 1 << 16):
        raise DataError(f"{path}: nc must be the number of classes; fix it")
    if names is None:
        names = number_names(range(count or 0))
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{path}: names must be a list of names, or number: name for each class; fix it")
    by_number = {}
    for number, name in names.items():
        name = str(name) if is_index(name) else name
        if not is_index(number) or not is_name(name):
            raise DataError(
                f"{path}: the name of class {number} must be text (put yes, no, on, off and null in quotes); fix it"
            )
        by_number[number] = name.strip()
    if count is not None and count != len(by_number):
        raise DataError(f"{path}: nc is {count}, but there are {len(by_number)} names; fix the wrong one")
    return dict(sorted(by_number.items()))
