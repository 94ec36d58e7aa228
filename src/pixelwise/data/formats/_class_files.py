"""Files beside the masks that name the classes: classes.txt, class_dict.csv, labelmap.txt, _classes.json …"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import Listing, read_lines, read_text
from pixelwise.errors import DataError


@dataclass(frozen=True)
class ClassNames:
    """What such files say; see the fields of the same names in `FormatResult`."""

    names_by_value: Mapping[int, str] = field(default_factory=dict)
    names_by_color: Mapping[int, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names_by_value or self.names_by_color or self.class_names)


def class_names(root: Path, listing: Listing) -> ClassNames:
    """What the files in a listing say of the classes; values and colors from one file, names from another.

    Raises DataError for a file that cannot be understood, and for two files that say different things.
    """
    found: dict[str, tuple[Path, Any]] = {}
    for folder in sorted(listing, key=lambda each: each.count("/") + bool(each)):
        for name in listing[folder]:
            read = CLASS_FILES.get(name.lower())
            if read is None:
                continue
            path = root / folder / name
            names = read(path)
            for kind in ("names_by_value", "names_by_color", "class_names"):
                value = getattr(names, kind)
                if not value:
                    continue
                first, known = found.setdefault(kind, (path, value))
                if known != value:
                    raise DataError(f"{path}: names other classes than {first}; keep the one that is right")
    return ClassNames(**{kind: value for kind, (_, value) in found.items()})


def read_labelmap(path: Path) -> ClassNames:
    """labelmap.txt as CVAT writes it: name:red,green,blue:parts:actions."""
    rows = [line.split(":") for line in read_lines(path)]
    if not all(len(row) > 1 and re.fullmatch(r"\d+,\d+,\d+", row[1].replace(" ", "")) for row in rows):
        return _text(path)
    return _colors(path, [(row[0].strip(), [int(value) for value in row[1].split(",")]) for row in rows])


def _text(path: Path) -> ClassNames:
    """A name a line, or a number and a name, or three values of a color and a name (before or after it)."""
    lines = read_lines(path)
    colors = [
        re.fullmatch(r"(?P<n>.*?\S)?[\s,;]*\b(\d+)[\s,;]+(\d+)[\s,;]+(\d+)(?:[\s,;:]+(?P<name>\D.*))?", line)
        for line in lines
    ]
    if all(match and bool(match["n"]) != bool(match["name"]) for match in colors):
        return _colors(
            path,
            [((m["n"] or m["name"]).strip(",; "), [int(m[2]), int(m[3]), int(m[4])]) for m in colors if m],
        )
    numbered = [re.fullmatch(r"(\d+)\s*[:,;=\s]\s*(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return _values(path, [(int(match[1]), match[2]) for match in numbered if match])
    _check_names(path, lines)
    return ClassNames(class_names=tuple(lines))


def _table(path: Path) -> ClassNames:
    """A CSV of name,r,g,b (class_dict.csv), or of a pixel value and a class (Roboflow's _classes.csv)."""
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(io.StringIO(read_text(path))) if any(map(str.strip, row))
    ]
    if not rows:
        return ClassNames()
    head = [cell.casefold() for cell in rows[0]]
    rows = rows[1:] if not any(cell.isdigit() for cell in head) else rows
    try:
        if len(rows[0]) >= 4:
            at = [_column(head, names, default) for names, default in zip(_COLOR_COLUMNS, range(4), strict=True)]
            return _colors(path, [(row[at[0]], [int(row[i]) for i in at[1:]]) for row in rows])
        first_is_value = rows[0][0].isdigit()
        return _values(path, [(int(row[0 if first_is_value else 1]), row[1 if first_is_value else 0]) for row in rows])
    except (IndexError, ValueError):
        raise DataError(f"{path}: must have the columns name,r,g,b or value,class; mend or remove it") from None


_COLOR_COLUMNS = (("name", "class", "label"), ("r", "red"), ("g", "green"), ("b", "blue"))


def _column(head: list[str], names: tuple[str, ...], default: int) -> int:
    return next((head.index(name) for name in names if name in head), default)


def _json(path: Path) -> ClassNames:
    """A list of names, or names and values either way round, or names and colors, or a list of objects with those."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error}); mend or remove it") from None
    for key in ("classes", "labels", "categories", "names", "id2label"):
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            content = content[key]
    try:
        return _json_names(path, content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DataError(f"{path}: must be a list of names, or name: value pairs; mend or remove it") from None


def _json_names(path: Path, content: Any) -> ClassNames:
    if isinstance(content, list) and all(isinstance(each, str) for each in content):
        _check_names(path, content)
        return ClassNames(class_names=tuple(content))
    if isinstance(content, list):
        names = [_get(each, "name", "label", "title", "class") for each in content]
        numbers = [_get(each, "color", "colour", "rgb", "id", "value", "index") for each in content]
        pairs = list(zip(names, numbers, strict=True))
    elif all(str(key).isdigit() and isinstance(value, str) for key, value in content.items()):
        return _values(path, [(int(key), value) for key, value in content.items()])
    else:
        pairs = list(content.items())
    if any(isinstance(number, list | str) for _, number in pairs):
        return _colors(path, [(name, _rgb(number)) for name, number in pairs])
    return _values(path, [(int(number), name) for name, number in pairs])


def _get(each: dict[str, Any], *keys: str) -> Any:
    return next(each[key] for key in keys if key in each) if any(key in each for key in keys) else each[keys[0]]


def _rgb(color: Any) -> list[int]:
    if isinstance(color, str):
        return list(bytes.fromhex(color.removeprefix("#")))
    return [int(value) for value in color]


def _values(path: Path, pairs: list[tuple[int, str]]) -> ClassNames:
    names = {value: str(name).strip() for value, name in pairs}
    if len(names) < len(pairs):
        raise DataError(f"{path}: gives one value two names; mend or remove it")
    _check_names(path, list(names.values()))
    return ClassNames(names_by_value=names)


def _colors(path: Path, pairs: list[tuple[str, list[int]]]) -> ClassNames:
    names: dict[int, str] = {}
    for name, values in pairs:
        if len(values) != 3 or not all(0 <= value <= 255 for value in values):
            raise DataError(f"{path}: the color of {name} must be three values in 0..255; mend or remove it")
        color = values[0] << 16 | values[1] << 8 | values[2]
        if names.setdefault(color, str(name).strip()) != str(name).strip():
            raise DataError(f"{path}: gives {names[color]} and {name} one color; mend or remove it")
    return ClassNames(names_by_color=names)


def _check_names(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: names {twice[0]} twice; mend or remove it")


CLASS_FILES: dict[str, Callable[[Path], ClassNames]] = {
    "labelmap.txt": read_labelmap,
    "label_colors.txt": _text,
    "classes.txt": _text,
    "class_names.txt": _text,
    "labels.txt": _text,
    "codes.txt": _text,
    "class_dict.csv": _table,
    "classes.csv": _table,
    "_classes.csv": _table,
    "classes.json": _json,
    "_classes.json": _json,
    "label_map.json": _json,
    "labelmap.json": _json,
    "id2label.json": _json,
}
"""Name in lower case → how it is read."""
