"""Reading of files that list class names: classes.txt, class_dict.csv, labelmap.txt, _classes.json, …"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import Listing, file_starts_with, read_lines, read_text
from pixelwise.data.formats._json import read_json
from pixelwise.data.label_map.options import is_ignore_name
from pixelwise.errors import DataError
from pixelwise.palette import pack_rgb


@dataclass(frozen=True)
class ClassNames:
    """Class names from class files. For the fields see `FormatResult`."""

    names_by_value: Mapping[int, str] = field(default_factory=dict)
    names_by_color: Mapping[int, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names_by_value or self.names_by_color or self.class_names)


def read_class_names(root: Path, listing: Listing) -> ClassNames:
    """Read all class files of a data set and merge their fields.

    Args:
        root: the root of the listing.
        listing: the files of the data set.

    Returns:
        The merged class names. Each field can come from another file.

    Raises:
        DataError: A class file is damaged, or two class files contradict each other.
    """
    merged: dict[str, tuple[Path, Any]] = {}
    for folder in sorted(listing, key=lambda name: name.count("/") + bool(name)):
        for file in filter(_may_name_classes, listing[folder]):
            path = root / folder / file
            names = _read_file(path)
            for attribute in ("names_by_value", "names_by_color", "class_names"):
                value = getattr(names, attribute)
                if not value:
                    continue
                first_path, first_value = merged.setdefault(attribute, (path, value))
                if first_value != value:
                    raise DataError(
                        f"{path}: its classes differ from those in {first_path}; keep only the correct file"
                    )
    return ClassNames(**{attribute: value for attribute, (_, value) in merged.items()})


def _may_name_classes(file: str) -> bool:
    """Return True if the name of a file is that of a class file, or has the suffix of a table."""
    name = file.casefold()
    return name in CLASS_FILES or name in _JSON_IF_COLORS or name.endswith(".csv")


def _read_file(path: Path) -> ClassNames:
    """Read a class file. Return no names for any other file."""
    name = path.name.casefold()
    try:
        if reader := CLASS_FILES.get(name):
            return reader(path)
        if name in _JSON_IF_COLORS:
            return _read_json_with_colors(path)
        if name.endswith(".csv") and file_starts_with(path, _COLOR_HEADER):
            return _read_csv(path)
    except (ValueError, OverflowError):  # Python refuses numbers of more than 4300 digits
        raise DataError(f"{path}: a number in it cannot be read; fix or remove it") from None
    return ClassNames()


def _read_labelmap(path: Path) -> ClassNames:
    """Read CVAT's labelmap.txt, with lines name:red,green,blue:parts:actions, or else another text file."""
    rows = [line.split(":") for line in read_lines(path)]
    if not all(len(row) > 1 and re.fullmatch(r"\d+,\d+,\d+", row[1].replace(" ", "")) for row in rows):
        return _read_text_file(path)
    return _with_colors(path, [(row[0].strip(), [int(value) for value in row[1].split(",")]) for row in rows])


def _read_text_file(path: Path) -> ClassNames:
    """Read a text file. A line is a name, a number and a name, or a name before or after three color values."""
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


_COLOR_HEADER = r"(?i)[\"' ]*(?:name|class|label|r|red)s?[\"' ]*,[^\n]*\bg(?:reen)?\b[\"' ]*,[\"' ]*b(?:lue)?\b"
"""Start of a CSV file that lists colors, whatever its name is: class_dict_seg.csv, label_class_dict.csv."""

_COLOR_COLUMNS = (("name", "class", "label"), ("r", "red"), ("g", "green"), ("b", "blue"))


def _read_csv(path: Path) -> ClassNames:
    """Read a CSV file with the columns name,r,g,b (class_dict.csv) or value,class (Roboflow's _classes.csv)."""
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
    """Read a JSON file: a list of names, a mapping between names and values or colors, or a list of objects."""
    content = read_json(path, fix="fix or remove it")
    for key in ("classes", "labels", "categories", "names", "id2label"):
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            content = content[key]
    try:
        return _parse_json(path, content)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):  # OverflowError: 1e999 is infinite
        raise DataError(f"{path}: must be a list of names, or name: value pairs; fix or remove it") from None


_JSON_IF_COLORS = frozenset({"config.json", "dataset_meta.json", "meta.json"})
"""JSON files that can have other content: they are class files if they list names with colors, else ignored."""


def _read_json_with_colors(path: Path) -> ClassNames:
    """Read config.json (Mapillary Vistas: labels with names and colors) or dataset_meta.json (OpenVINO, Datumaro)."""
    try:
        content = read_json(path)
    except DataError:
        return ClassNames()
    if not isinstance(content, dict):
        return ClassNames()
    names, colors = content.get("label_map"), content.get("segmentation_colors")
    if isinstance(names, dict) and all(str(key).isdigit() and isinstance(name, str) for key, name in names.items()):
        by_value = {int(key): str(name) for key, name in names.items()}
        if not isinstance(colors, list) or len(colors) != len(names):
            return _with_values(path, list(by_value.items()))
        try:
            pairs = [(by_value[value], _to_rgb(color)) for value, color in zip(sorted(by_value), colors, strict=True)]
        except (TypeError, ValueError):
            return _with_values(path, list(by_value.items()))
        return replace(_with_colors(path, pairs), names_by_value=by_value, class_names=())
    labels = content.get("labels")
    has_colors = isinstance(labels, list) and all(
        isinstance(label, dict) and isinstance(label.get("name"), str) and isinstance(label.get("color"), list)
        for label in labels
    )
    if not has_colors or not labels:
        return ClassNames()
    # The index in the list is the value of gray masks, the color that of RGB masks.
    names_of = [str(label.get("readable") or label["name"]) for label in labels]
    by_color = _with_colors(
        path, [(name, _to_rgb(label["color"])) for name, label in zip(names_of, labels, strict=True)]
    )
    return replace(by_color, names_by_value=dict(enumerate(names_of)), class_names=())


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
    names: dict[int, str] = {}
    for value, text in pairs:
        name = str(text).strip()
        if names.setdefault(value, name) != name and not all(map(is_ignore_name, (name, names[value]))):
            raise DataError(f"{path}: has two names for one value; fix or remove it")
    _check_unique(path, list(names.values()))
    return ClassNames(names_by_value=names)


def _with_colors(path: Path, pairs: list[tuple[str, list[int]]]) -> ClassNames:
    """Return names by color. Classes to ignore may have the color of another class to ignore."""
    names: dict[int, str] = {}
    for text, values in pairs:
        name = str(text).strip()
        if len(values) != 3 or not all(0 <= value <= 255 for value in values):
            raise DataError(f"{path}: the color of {name} must be three values in 0..255; fix or remove it")
        color = int(pack_rgb(values))
        if names.setdefault(color, name) != name and not all(map(is_ignore_name, (name, names[color]))):
            raise DataError(f"{path}: {names[color]} and {name} have the same color; fix or remove it")
    _check_unique(path, list(names.values()))
    # The rows count as indices too, so none of them may be lost.
    rows = tuple(str(text).strip() for text, _ in pairs) if len(names) < len(pairs) else ()
    return ClassNames(names_by_color=names, class_names=rows)


def _check_unique(path: Path, names: list[str]) -> None:
    """Raise DataError if a name is listed twice. Names such as "void" may be: their pixels are ignored."""
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1 and not is_ignore_name(name))
    if duplicates:
        raise DataError(f"{path}: lists {duplicates[0]} twice; fix or remove it")


CLASS_FILES: dict[str, Callable[[Path], ClassNames]] = {
    "labelmap.txt": _read_labelmap,
    "label_colors.txt": _read_text_file,
    "classes.txt": _read_text_file,
    "class_names.txt": _read_text_file,
    "labels.txt": _read_text_file,
    "codes.txt": _read_text_file,
    "label_names.txt": _read_text_file,
    "class_list.txt": _read_text_file,
    "classlist.txt": _read_text_file,
    "label_map.txt": _read_text_file,
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
