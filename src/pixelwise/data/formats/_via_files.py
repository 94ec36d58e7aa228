"""Files of the VGG Image Annotator (VIA): versions 1 and 2 (JSON, CSV or projects), and version 3 (projects)."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import file_starts_with, is_file, read_text
from pixelwise.data.formats._json import is_name, quote, read_json
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError

Region = Mapping[str, Any]

_SHAPES_OF_VERSION_3: dict[object, tuple[str, tuple[str, ...]]] = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("line", ()),
    6: ("polyline", ()),
    7: ("polygon", ()),
    8: ("extreme_rect", ()),
    9: ("extreme_circle", ()),
}
"""Shape number in version 3 → name of the shape, and names of its coordinates, or () for x, y, x, y, …"""

_CHOICE_TYPES = ("dropdown", "radio", "select")
"""Types of attributes whose value is one of several options, in versions 1 and 2."""

_CSV_HEAD = r"#?filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"

_IMAGE_TYPE = 2
"""Type number of an image file in version 3. Video and audio files have other numbers."""


@dataclass(frozen=True)
class ViaImage:
    """An image and its regions.

    Attributes:
        name: file name, path or URL of the image.
        location: the annotation file and the place in it, for messages.
        regions: dictionaries with the keys shape_attributes and region_attributes, as in version 2.
    """

    name: str
    location: str
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class ViaFile:
    """The content of one annotation file.

    Attributes:
        path: the annotation file.
        images: the annotated images.
        options: region attribute → options in order, for attributes with options.
        skipped: number of annotated files that are not images (version 3 only).
    """

    path: Path
    images: tuple[ViaImage, ...]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: int = 0


def read_via_file(path: Path) -> ViaFile | None:
    """Read an annotation file of VIA.

    Args:
        path: a JSON or CSV file.

    Returns:
        The content of the file. None if another program wrote it.

    Raises:
        DataError: The file is damaged or cannot be read.
    """
    if is_via_csv(path):
        return ViaFile(path, _read_csv(path))
    content = read_json(path)
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("project"), dict) and isinstance(content.get("metadata"), dict):
        return _read_version_3(path, content)
    entries = content.get("_via_img_metadata", content)
    if not isinstance(entries, dict) or not any(map(_is_entry, entries.values())):
        return None
    attributes = content.get("_via_attributes")
    declared = attributes.get("region") if isinstance(attributes, dict) else None
    options = {
        str(name): tuple(item["options"])
        for name, item in (declared.items() if isinstance(declared, dict) else ())
        if isinstance(item, dict) and isinstance(item.get("options"), dict) and item.get("type") in _CHOICE_TYPES
    }
    return ViaFile(path, tuple(_read_entries(path, entries)), options)


def is_via_csv(path: Path | RemoteFile) -> bool:
    """Return True if the path is a local CSV file with the columns of VIA."""
    return is_file(path) and path.name.lower().endswith(".csv") and file_starts_with(path, _CSV_HEAD)


def _read_csv(path: Path) -> tuple[ViaImage, ...]:
    """Read a CSV file. Each region has a row. An image without regions has one row without a shape."""
    images: dict[str, ViaImage] = {}
    reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("#"), newline=""), strict=True)
    try:
        for row in reader:
            location, name = f"{path}, line {reader.line_num}", row["filename"]
            shape, attributes = (
                json.loads(row[key] or "{}") for key in ("region_shape_attributes", "region_attributes")
            )
            if not is_name(name) or not isinstance(shape, dict):
                raise ValueError("a row must have a filename and an object of shape attributes")
            image = images.get(name) or ViaImage(name, location, ())
            regions = ({"shape_attributes": shape, "region_attributes": attributes},) if shape else ()
            images[name] = ViaImage(name, image.location, image.regions + regions)
    except (csv.Error, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}, line {reader.line_num}: cannot be read ({error}); export it again") from None
    return tuple(images.values())


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and "filename" in entry and "regions" in entry


def _read_entries(path: Path, entries: Mapping[str, object]) -> Iterator[ViaImage]:
    for key, entry in entries.items():
        location = f"{path}, image {quote(key)}"
        if not isinstance(entry, dict) or not is_name(entry.get("filename")):
            raise DataError(f"{location}: must be an object with a filename; export it again")
        regions = entry.get("regions")
        # Version 1 numbers the regions: {"0": …, "1": …}.
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
            raise DataError(f'{location}: must have "regions", a list of objects; export it again')
        yield ViaImage(entry["filename"], location, tuple(regions))


def _read_version_3(path: Path, content: Mapping[str, Any]) -> ViaFile:
    """Read a project of version 3. Regions are converted to the format of version 2."""
    sections = [content.get(key) for key in ("attribute", "file", "metadata", "view")]
    if not all(
        isinstance(section, dict) and all(isinstance(v, dict) for v in section.values()) for section in sections
    ):
        raise DataError(
            f'{path}: "attribute", "file", "metadata" and "view" must be objects of objects; export it again'
        )
    attributes, files, metadata, views = (dict[str, dict[str, Any]](section or {}) for section in sections)
    names = {number: str(item.get("aname") or number) for number, item in attributes.items()}
    options = {
        number: {str(key): str(text) for key, text in item["options"].items()}
        for number, item in attributes.items()
        if isinstance(item.get("options"), dict) and item["options"]
    }
    regions: dict[str, list[Region]] = {view: [] for view in views}
    for item in metadata.values():
        values = item.get("av") if isinstance(item.get("av"), dict) else {}
        named = {names.get(key, key): options.get(key, {}).get(str(value), value) for key, value in values.items()}
        # An entry without coordinates is a time segment of a video or audio file, not a region.
        if item.get("xy") and str(item.get("vid")) in regions:
            shape = _to_shape(item["xy"], path)
            regions[str(item["vid"])].append({"shape_attributes": shape, "region_attributes": named})
    images, skipped = [], 0
    for number, view in views.items():
        ids = view.get("fid_list")
        if not isinstance(ids, list) or len(ids) != 1 or str(ids[0]) not in files:
            raise DataError(f"{path}, view {quote(number)}: must show one file of the project; export it again")
        file = files[str(ids[0])]
        if not is_name(file.get("fname")):
            raise DataError(f"{path}, file {quote(ids[0])}: has no fname; export it again")
        if file.get("type", _IMAGE_TYPE) == _IMAGE_TYPE:
            images.append(ViaImage(file["fname"], f"{path}, file {quote(ids[0])}", tuple(regions[number])))
        else:
            skipped += 1
    texts = {names[number]: tuple(choices.values()) for number, choices in options.items()}
    return ViaFile(path, tuple(images), texts, skipped)


def _to_shape(numbers: object, path: Path) -> dict[str, Any]:
    """Convert the coordinates of version 3, [shape number, coordinate, …], to the shape attributes of version 2."""
    if not isinstance(numbers, list) or not isinstance(numbers[0], int | float):
        raise DataError(f'{path}: "xy" of a region must be a list of numbers; export it again')
    name, keys = _SHAPES_OF_VERSION_3.get(numbers[0], (f"shape {quote(numbers[0])}", ()))
    if keys:
        return {"name": name} | dict(zip(keys, numbers[1:], strict=False))
    return {"name": name, "all_points_x": numbers[1::2], "all_points_y": numbers[2::2]}
