"""Files next to the masks that name the classes: classes.txt, class_dict.csv, labelmap.txt, _classes.json, …"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import Listing, read_lines, read_text
from pixelwise.data.formats._json import read_json
from pixelwise.errors import DataError


@dataclass(frozen=True)
class ClassNames:
    """Class names from such files. The fields are those of `FormatResult`."""

    names_by_value: Mapping[int, str] = field(default_factory=dict)
    names_by_color: Mapping[int, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names_by_value or self.names_by_color or self.class_names)


def read_class_names(root: Path, listing: Listing) -> ClassNames:
    """Read all class files in a listing. One file can have the values or colors, and another one the names.

    Args:
        root: the root of the listing.
        listing: the files of the data set.

    Raises:
        DataError: A class file is damaged, or two class files contradict each other.
    """
    merged: dict[str, tuple[Path, Any]] = {}
    for folder in sorted(listing, key=lambda name: name.count("/") + bool(name)):
        for file in listing[folder]:
            read = CLASS_FILES.get(file.lower())
            if read is None:
                continue
            path = root / folder / file
            names = read(path)
            for attribute in ("names_by_value", "names_by_color", "class_names"):
                value = getattr(names, attribute)
                if not value:
                    continue
                first_path, first_value = merged.setdefault(attribute, (path, value))
                if first_value != value:
                    raise DataError(f"{path}: names other classes than {first_path}; keep only the correct file")
    return ClassNames(**{attribute: value for attribute, (_, value) in merged.items()})


def _read_labelmap(path: Path) -> ClassNames:
    """Read labelmap.txt as CVAT writes it: name:red,green,blue:parts:actions."""
    rows = [line.split(":") for line in read_lines(path)]
    if not all(len(row) > 1 and re.fullmatch(r"\d+,\d+,\d+", row[1].replace(" ", "")) for row in rows):
        return _read_text_file(path)
    return _with_colors(path, [(row[0].strip(), [int(value) for value in row[1].split(",")]) for row in rows])


def _read_text_file(path: Path) -> ClassNames:
    """Read lines of a name; of a number and a name; or of three color values and a name, before or after them."""
    lines = read_lines(path)
    colors = [
        re.fullmatch(r"(?P<before>.*?\S)?[\s,;]*\b(\d+)[\s,;]+(\d+)[\s,;]+(\d+)(?:[\s,;:]+(?P<after>\D.*))?", line)
        for line in lines
    ]
    if all(match and bool(match["before"]) != bool(match["after"]) for match in colors):
        return _with_colors(
            path,
            [((m["before"] or m["after"]).strip(",; "), [int(m[2]), int(m[3]), int(m[4])]) for m in colors if m],
        )
    numbered = [re.fullmatch(r"(\d+)\s*[:,;=\s]\s*(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return _with_values(path, [(int(match[1]), match[2]) for match in numbered if match])
    _check_unique(path, lines)
    return ClassNames(class_names=tuple(lines))


_COLOR_COLUMNS = (("name", "class", "label"), ("r", "red"), ("g", "green"), ("b", "blue"))


def _read_csv(path: Path) -> ClassNames:
    """Read a CSV file of name,r,g,b (class_dict.csv), or of pixel value and class (Roboflow's _classes.csv)."""
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(io.StringIO(read_text(path))) if any(map(str.strip, row))
    ]
    if not rows:
        return ClassNames()
    head = [cell.casefold() for cell in rows[0]]
    rows = rows[1:] if not any(cell.isdigit() for cell in head) else rows
    try:
        if len(rows[0]) >= 4:
            columns = [
                next((head.index(name) for name in names if name in head), default)
                for default, names in enumerate(_COLOR_COLUMNS)
            ]
            return _with_colors(path, [(row[columns[0]], [int(row[i]) for i in columns[1:]]) for row in rows])
        value, name = (0, 1) if rows[0][0].isdigit() else (1, 0)
        return _with_values(path, [(int(row[value]), row[name]) for row in rows])
    except (IndexError, ValueError):
        raise DataError(f"{path}: must have the columns name,r,g,b or value,class; fix or remove it") from None


def _read_json_file(path: Path) -> ClassNames:
    """Read a list of names; a mapping between names and values or colors; or a list of objects with those."""
    content = read_json(path, fix="fix or remove it")
    for key in ("classes", "labels", "categories", "names", "id2label"):
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            content = content[key]
    try:
        return _parse_json(path, content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DataError(f"{path}: must be a list of names, or name: value pairs; fix or remove it") from None


def _parse_json(path: Path, content: Any) -> ClassNames:
    if isinstance(content, list) and all(isinstance(item, str) for item in content):
        _check_unique(path, content)
        return ClassNames(class_names=tuple(content))
    if isinstance(content, list):
        names = [_first_value(item, "name", "label", "title", "class") for item in content]
        numbers = [_first_value(item, "color", "colour", "rgb", "id", "value", "index") for item in content]
        pairs = list(zip(names, numbers, strict=True))
    elif all(str(key).isdigit() and isinstance(value, str) for key, value in content.items()):
        return _with_values(path, [(int(key), value) for key, value in content.items()])
    else:
        pairs = list(content.items())
    if any(isinstance(number, list | str) for _, number in pairs):
        return _with_colors(path, [(name, _to_rgb(number)) for name, number in pairs])
    return _with_values(path, [(int(number), name) for name, number in pairs])


def _first_value(item: dict[str, Any], *keys: str) -> Any:
    """Return the value of the first key that is present. Raises KeyError if none is."""
    return item[next((key for key in keys if key in item), keys[0])]


def _to_rgb(color: Any) -> list[int]:
    if isinstance(color, str):
        return list(bytes.fromhex(color.removeprefix("#")))
    return [int(value) for value in color]


def _with_values(path: Path, pairs: list[tuple[int, str]]) -> ClassNames:
    names = {value: str(name).strip() for value, name in pairs}
    if len(names) < len(pairs):
        raise DataError(f"{path}: gives one value two names; fix or remove it")
    _check_unique(path, list(names.values()))
    return ClassNames(names_by_value=names)


def _with_colors(path: Path, pairs: list[tuple[str, list[int]]]) -> ClassNames:
    names: dict[int, str] = {}
    for name, values in pairs:
        if len(values) != 3 or not all(0 <= value <= 255 for value in values):
            raise DataError(f"{path}: the color of {name} must be three values in 0..255; fix or remove it")
        color = values[0] << 16 | values[1] << 8 | values[2]
        if names.setdefault(color, str(name).strip()) != str(name).strip():
            raise DataError(f"{path}: gives {names[color]} and {name} one color; fix or remove it")
    return ClassNames(names_by_color=names)


def _check_unique(path: Path, names: list[str]) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise DataError(f"{path}: names {duplicates[0]} twice; fix or remove it")


CLASS_FILES: dict[str, Callable[[Path], ClassNames]] = {
    "labelmap.txt": _read_labelmap,
    "label_colors.txt": _read_text_file,
    "classes.txt": _read_text_file,
    "class_names.txt": _read_text_file,
    "labels.txt": _read_text_file,
    "codes.txt": _read_text_file,
    "class_dict.csv": _read_csv,
    "classes.csv": _read_csv,
    "_classes.csv": _read_csv,
    "classes.json": _read_json_file,
    "_classes.json": _read_json_file,
    "label_map.json": _read_json_file,
    "labelmap.json": _read_json_file,
    "id2label.json": _read_json_file,
}
"""File name in lower case → the function that reads the file."""
