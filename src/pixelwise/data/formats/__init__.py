"""Data set formats. Each format is a function that turns a data directory into records and class names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixelwise.data.formats.ade20k import read_ade20k
from pixelwise.data.formats.camvid import read_camvid
from pixelwise.data.formats.carvana import read_carvana
from pixelwise.data.formats.cityscapes import read_cityscapes
from pixelwise.data.formats.coco import read_coco
from pixelwise.data.formats.folders import read_folders
from pixelwise.data.formats.huggingface import read_huggingface
from pixelwise.data.formats.label_studio import read_label_studio
from pixelwise.data.formats.labelme import read_labelme
from pixelwise.data.formats.oxford_pets import read_oxford_pets
from pixelwise.data.formats.table import read_table
from pixelwise.data.formats.voc import read_voc
from pixelwise.data.formats.webdataset import read_webdataset
from pixelwise.data.formats.yolo import read_yolo
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.schema import FormatResult
from pixelwise.errors import ConfigError, DataError, first_line, unknown_name
from pixelwise.registry import Registry

FormatReader = Callable[[Any], FormatResult | None]
"""A format: data directory or file (`pathlib.Path`) → its records and classes, or None if it has another format.

A reader reads no pixels. It raises DataError if the data has its format but cannot be used.
"""


class FormatRegistry(Registry[FormatReader]):
    """Formats by name, in the order in which `detect_format` tries them."""

    def move_before(self, name: str, other: str) -> None:
        """Try the format `name` immediately before the format `other`."""
        order = [key for key in self._entries if key != name]
        order.insert(order.index(other), name)
        self._entries = {key: self._entries[key] for key in order}


FORMATS = FormatRegistry("format")
"""All formats. `detect_format` tries them in this order and reads the registry at each call.

Formats with the trait `remote` also read a `RemoteFile`.
"""

# Tables are tried before shards: a server can refuse the request for dataset.json with an error instead of "not found".
FORMATS.register("table", read_table, remote=True)
FORMATS.register("shards", read_webdataset, remote=True)
FORMATS.register("oxford-pets", read_oxford_pets)
FORMATS.register("camvid", read_camvid)
FORMATS.register("carvana", read_carvana)
FORMATS.register("voc", read_voc)
FORMATS.register("cityscapes", read_cityscapes)
FORMATS.register("ade20k", read_ade20k)
FORMATS.register("coco", read_coco)
FORMATS.register("yolo-seg", read_yolo)
FORMATS.register("labelme", read_labelme)
FORMATS.register("label-studio", read_label_studio)
FORMATS.register("huggingface", read_huggingface)
FORMATS.register("folders", read_folders)


def register_format(name: str, reader: FormatReader, before: str | None = None, *, remote: bool = False) -> None:
    """Add a format.

    Args:
        name: the name for the argument `format`.
        reader: see `FormatReader`.
        before: the format that is tried next if `reader` returns None. By default that is "folders", which accepts
            almost every directory of images and masks. A reader for directories that another format accepts too
            must come before that format.
        remote: True if the reader also reads a `RemoteFile`, the root of a data set behind a URL.

    Raises:
        ConfigError: The name is taken, or there is no format `before`.
    """
    if before is not None and before not in FORMATS:
        raise ConfigError(unknown_name("format", before, FORMATS))
    FORMATS.register(name, reader, remote=remote)
    if before or "folders" in FORMATS:
        FORMATS.move_before(name, before or "folders")


def unregister_format(name: str) -> None:
    """Remove a format. ConfigError lists the formats if there is none of this name."""
    FORMATS.unregister(FORMATS[name].name)


def detect_format(root: Path | RemoteFile, format: str | None = None) -> tuple[str, FormatResult]:
    """Return the format of a data set, and its records and classes. No pixels are read.

    Args:
        root: a directory, or a file that lists a data set.
        format: a name in FORMATS. None tries all formats in order.

    Returns:
        The name of the format, and the result of its reader.

    Raises:
        DataError: The root is missing, or no format (or not the given format) accepts it.
        ConfigError: There is no format of this name.
    """
    _check_exists(root)
    is_remote = isinstance(root, RemoteFile)
    candidates = FORMATS.names(remote=True) if is_remote else FORMATS.names()
    if format is not None:
        if FORMATS[format].name not in candidates:
            raise DataError(f"{root}: the format {format} cannot be read from a URL; copy the data set to this machine")
        candidates = [format]
    for name in candidates:
        result = FORMATS[name].component(root)
        if result is not None:
            return name, result
    where = " from a URL" if is_remote else ""
    formats = f"the format {format}" if format else f"any format that pixelwise reads{where} ({', '.join(candidates)})"
    raise DataError(f"{root}: is not laid out as {formats}")


def _check_exists(root: Path | RemoteFile) -> None:
    try:
        exists = root.exists()
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    except OSError as error:
        raise DataError(f"{root}: cannot be reached ({first_line(error)})") from None
    if not exists:
        raise DataError(f"{root}: no such folder")
