"""Damage to the bytes of a file, and to the content of JSON, YAML, XML and tables."""

import copy
import csv
import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import yaml

Damage = Callable[[random.Random, bytes], bytes]

FOREIGN = (
    b"", b"\0", b"\xff" * 9, bytes(1000), b"hello\n", b"<html></html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"%PDF-1.7\n", b"PK\3\4", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"\x1f\x8b\x08",
    b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"BM",
    b"RIFF\x08\0\0\0WEBP", b"P6\n9 9\n255\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
)  # fmt: skip
"""Starts of other files, and files of other programs."""

_NUMBERS = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF, 0xFFFF0000)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(1, len(content))]


def cut_late(rng: random.Random, content: bytes) -> bytes:
    return content[: len(content) - rng.randrange(1, max(2, len(content) // 8))]


def flip_bits(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_header(rng: random.Random, content: bytes) -> bytes:
    size = min(len(content), 128)
    return flip_bits(rng, content[:size]) + content[size:]


def zero(rng: random.Random, content: bytes) -> bytes:
    return overwrite(content, rng.randrange(len(content)), bytes(rng.choice((1, 8, 64, 512))))


def giant_number(rng: random.Random, content: bytes) -> bytes:
    """Write an extreme number into the header, where sizes and offsets are."""
    number = struct.pack(rng.choice("<>") + "I", rng.choice(_NUMBERS))
    return overwrite(content, rng.randrange(min(len(content), 192)), number[: rng.choice((2, 4))])


def insert(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(rng.choice((1, 3, 200))) + content[place:]


def delete(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + content[place + rng.choice((1, 3, 200)) :]


def foreign(rng: random.Random, content: bytes) -> bytes:
    return rng.choice(FOREIGN)


def foreign_start(rng: random.Random, content: bytes) -> bytes:
    start = rng.choice(FOREIGN)
    return start + content[len(start) :]


def noise_after_start(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(min(len(content), 64))
    return content[:place] + rng.randbytes(len(content) - place)


def overwrite(content: bytes, place: int, part: bytes) -> bytes:
    """Return the content with a part replaced. Its length stays."""
    return (content[:place] + part + content[place + len(part) :])[: len(content)]


BYTES: dict[str, Damage] = {
    "cut": cut,
    "cut near the end": cut_late,
    "bits flipped": flip_bits,
    "bits of the header flipped": flip_header,
    "zeros": zero,
    "giant number in the header": giant_number,
    "bytes inserted": insert,
    "bytes removed": delete,
    "foreign content": foreign,
    "foreign start": foreign_start,
    "noise after the start": noise_after_start,
}
"""Damage of any file."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 255, 256, 65_536, 2**31, 2**63, -(2**63), 10**300, 1e308, 1e-320,
    float("nan"), float("inf"), "", " ", "0", "NaN", "1e999", "x" * 3000, "\0", "\ud800", "\x1b[2J", "\u202e",
    "a\nb", "[/red]", "$x_$", "<script>alert(1)</script>", "&amp;", "../../../../etc/passwd", "/etc/passwd",
    "/dev/zero", "C:\\x", "~nobody/x", "http://127.0.0.1:9/x.png", "file:///etc/passwd", "memory://x", "zip://x::y",
    "::", "data:image/png;base64,eA==", [], {}, [[]], [None], [[1, 2], [3]], {"a": {}}, list(range(500)),
    [1e9, 1e9, -1e9, 1e9, 0, -1e9], {"size": [0, 0]}, {"size": [40, 60], "counts": [-1, 2401]},
    {"size": [40, 60], "counts": "~~~"}, {"size": [1e9, 1e9], "counts": []},
)  # fmt: skip
"""Values that replace others."""

_TEXTS = (*(value for value in ODD_VALUES if isinstance(value, str)), "-1", "0 0", "1 2 3 4", "9" * 400, ",", '"')


def damage_text(rng: random.Random, content: bytes) -> bytes:
    """Change the encoding, the nesting or the lines of a text file."""
    place = rng.randrange(len(content) + 1)
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return rng.choice((
        content.decode("utf-8", "replace").encode("utf-16"), b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"),
        content[:place] + b"\0" + content[place:], content[:place] + b"[" * 50_000 + content[place:],
        content[:place] + b"9" * 6000 + content[place:], content[:place] + b"\xff\xfe" + content[place:],
        b"".join(lines), b"".join(lines[: len(lines) // 2]), content * 2, content.replace(b"0", b"-1"),
        content.replace(b"1", b"nan"), content.replace(b'"', b"'"),
    ))  # fmt: skip


def damage_structure(rng: random.Random, content: bytes, suffix: str) -> bytes:
    """Replace, remove or repeat parts of the content of a text file. The syntax stays valid."""
    if suffix == ".json":
        return json.dumps(_mutate(rng, json.loads(content))).encode()
    if suffix in (".yaml", ".yml"):
        value = _mutate(rng, yaml.safe_load(content))
        try:
            return yaml.safe_dump(value, allow_unicode=True).encode()
        except (yaml.YAMLError, UnicodeError):
            return json.dumps(value).encode()
    if suffix == ".xml":
        return _damage_xml(rng, content)
    return _damage_table(rng, content)


def _mutate(rng: random.Random, value: Any) -> Any:
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        spots = list(_spots(value))
        if not spots:
            return rng.choice(ODD_VALUES)
        parent, key = rng.choice(spots)
        action = rng.random()
        if action < 0.7:
            parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif action < 0.85:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            parent[rng.choice(_TEXTS)] = copy.deepcopy(parent[key])
    return value


def _spots(value: Any) -> Any:
    """Yield each container with each of its keys, at any depth."""
    if isinstance(value, dict | list):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _spots(item)


def _damage_xml(rng: random.Random, content: bytes) -> bytes:
    root = ElementTree.fromstring(content)
    elements = list(root.iter())
    for _ in range(rng.choice((1, 1, 2, 4))):
        element, action = rng.choice(elements), rng.random()
        text = "".join(c for c in rng.choice(_TEXTS) if c.isprintable())
        if action < 0.5 and element.attrib:
            element.set(rng.choice(list(element.attrib)), text)
        elif action < 0.6 and element.attrib:
            element.attrib.pop(rng.choice(list(element.attrib)))
        elif action < 0.75:
            element.text = text
        elif action < 0.85:
            element.append(copy.deepcopy(rng.choice(elements)))
        else:
            for child in list(element)[: rng.choice((1, 100))]:
                element.remove(child)
    changed = ElementTree.tostring(root)
    if rng.random() < 0.1:
        entities = b"".join(b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 9 if i else b"x" * 9) for i in range(9))
        return b"<!DOCTYPE x [" + entities + b"]>" + changed.replace(b">", b">&e8;", 1)
    return changed


def _damage_table(rng: random.Random, content: bytes) -> bytes:
    """Damage cells of a CSV, or words of another text file."""
    text = content.decode("utf-8", "replace")
    first = text.partition("\n")[0]
    delimiter = max(",;\t :", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    for _ in range(rng.choice((1, 1, 2, 4))):
        full = [row for row in rows if row]
        if not full:
            break
        row, action = rng.choice(full), rng.random()
        if action < 0.7:
            row[rng.randrange(len(row))] = rng.choice(_TEXTS)
        elif action < 0.8:
            row.pop(rng.randrange(len(row)))
        elif action < 0.9:
            rows.append(list(row))
        else:
            row.extend(row)
    table = io.StringIO()
    csv.writer(table, delimiter=delimiter, lineterminator="\n", quotechar='"', escapechar="\\").writerows(rows)
    return table.getvalue().encode("utf-8", "surrogatepass")
