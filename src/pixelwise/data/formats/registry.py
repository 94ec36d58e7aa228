"""The registry of data set formats. A format is a function that turns a data directory into records and class names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_check import check_classes
from pixelwise.data.formats._filesystem import shared_scans
from pixelwise.data.formats._unknown_layout import describe_path, mask_choices
from pixelwise.data.formats.ade20k import read_ade20k
from pixelwise.data.formats.camvid import read_camvid
from pixelwise.data.formats.carvana import read_carvana
from pixelwise.data.formats.cityscapes import read_cityscapes
from pixelwise.data.formats.coco import read_coco
from pixelwise.data.formats.coco_panoptic import read_coco_panoptic
from pixelwise.data.formats.cvat import read_cvat
from pixelwise.data.formats.folders import read_folders
from pixelwise.data.formats.huggingface import read_huggingface
from pixelwise.data.formats.label_studio import read_label_studio
from pixelwise.data.formats.labelme import read_labelme
from pixelwise.data.formats.labelme_export import read_labelme_export
from pixelwise.data.formats.oxford_pets import read_oxford_pets
from pixelwise.data.formats.rle_table import read_rle_table
from pixelwise.data.formats.supervisely import read_supervisely
from pixelwise.data.formats.table import read_table
from pixelwise.data.formats.via import read_via
from pixelwise.data.formats.voc import read_voc
from pixelwise.data.formats.webdataset import read_webdataset
from pixelwise.data.formats.yolo import read_yolo
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import FormatResult
from pixelwise.errors import AmbiguousDataError, ConfigError, DataError, first_line, unknown_name
from pixelwise.registry import Registry

FormatReader = Callable[..., FormatResult | None]
"""A function from a data directory or file (`pathlib.Path`) to its records and classes, or None for another format.

A reader does not read pixels. It raises DataError if the data is in its format but cannot be used.
"""


class FormatRegistry(Registry[FormatReader]):
    """Formats by name, in the order in which `detect_format` tries them."""

    def move_before(self, name: str, other: str) -> None:
        """Change the order so that `detect_format` tries one format immediately before another.

        Args:
            name: the format to move.
            other: the format that is tried next.

        Raises:
            ValueError: `other` is not registered.
            KeyError: `name` is not registered.
        """
        order = [key for key in self._entries if key != name]
        order.insert(order.index(other), name)
        self._entries = {key: self._entries[key] for key in order}


FORMATS = FormatRegistry("format")
"""All formats. `detect_format` tries them in this order and reads the registry at each call.

Formats with the trait `remote` also read a `RemoteFile`. Those with the trait `takes_options` have the user's
`LabelOptions` as second argument. Those with the trait `draws_lines` draw lines with the width `line_width`, and those
with the trait `chooses_masks` use the files `mask_files` as masks.

Formats with the trait `known_classes` have the classes of a well-known data set: "values" if mask values are fixed,
"names" if only the number of classes is. `has_ignored` is True if nearly each of its masks has ignored pixels.
"""

# Tables are tried before shards: the shard reader requests URL/dataset.json, and some servers answer the request for a
# missing file with an error other than "not found". For the URL of a table this error would stop the detection.
FORMATS.register("table", read_table, remote=True, takes_options=True)
FORMATS.register("shards", read_webdataset, remote=True, takes_options=True)
FORMATS.register("oxford-pets", read_oxford_pets, known_classes="values")
FORMATS.register("camvid", read_camvid, known_classes="values")
FORMATS.register("carvana", read_carvana, known_classes="names")
FORMATS.register("voc", read_voc, known_classes="values", has_ignored=True)
FORMATS.register("cityscapes", read_cityscapes, known_classes="values", has_ignored=True)
FORMATS.register("ade20k", read_ade20k, known_classes="values")
FORMATS.register("coco", read_coco)
FORMATS.register("coco-panoptic", read_coco_panoptic)
FORMATS.register("yolo-seg", read_yolo, takes_options=True)
FORMATS.register("labelme", read_labelme, takes_options=True, draws_lines=True)
FORMATS.register("labelme-export", read_labelme_export)
FORMATS.register("label-studio", read_label_studio)
FORMATS.register("cvat", read_cvat, takes_options=True, draws_lines=True)
FORMATS.register("via", read_via, takes_options=True, draws_lines=True)
FORMATS.register("supervisely", read_supervisely, takes_options=True, draws_lines=True)
FORMATS.register("run-lengths", read_rle_table)
FORMATS.register("huggingface", read_huggingface, takes_options=True)
FORMATS.register("folders", read_folders, takes_options=True, chooses_masks=True)


def register_format(name: str, reader: FormatReader, before: str | None = None, *, remote: bool = False) -> None:
    """Add a format.

    Args:
        name: the name for the argument `format`.
        reader: see `FormatReader`.
        before: name of the format that is tried next if `reader` returns None. If another format accepts the same
            directories, name it here. None means "folders", which accepts almost every directory of images and masks.
        remote: True if the reader also accepts a `RemoteFile`, the root of a data set at a URL.

    Raises:
        ConfigError: The name is taken, or `before` is not a format.
    """
    if before is not None and before not in FORMATS:
        raise ConfigError(unknown_name("format", before, FORMATS))
    FORMATS.register(name, reader, remote=remote)
    if before or "folders" in FORMATS:
        FORMATS.move_before(name, before or "folders")


def unregister_format(name: str) -> None:
    """Remove a format. Raises ConfigError that lists the formats if the name is unknown."""
    FORMATS.unregister(FORMATS[name].name)


def detect_format(
    root: Path | RemoteFile, format: str | None = None, options: LabelOptions | None = None
) -> tuple[str, FormatResult]:
    """Detect the format of a data set, and list its records and classes without reading pixels.

    Args:
        root: a directory, or a file that lists a data set.
        format: a name in FORMATS. None tries all formats in order.
        options: the user's options, for formats that use them.

    Returns:
        The name of the format, and the result of its reader.

    Raises:
        DataError: The root does not exist, or it does not have the given format or any known format.
        ConfigError: `format` is unknown, or an option does not apply to the format.
    """
    _check_exists(root)
    is_remote = isinstance(root, RemoteFile)
    candidates = FORMATS.names(remote=True) if is_remote else FORMATS.names()
    mask_files = options.mask_files if options else None
    if mask_files is not None and format is None:
        candidates = [name for name in candidates if FORMATS[name].traits.get("chooses_masks")]
    if format is not None:
        if FORMATS[format].name not in candidates:
            raise DataError(f"{root}: the format {format} cannot be read from a URL; copy the data set to this machine")
        candidates = [format]
    with shared_scans():
        for name in candidates:
            entry = FORMATS[name]
            more = (options or LabelOptions(),) if entry.traits.get("takes_options") else ()
            result = entry.component(root, *more)
            if result is not None:
                line_width = options.line_width if options else None
                if line_width is not None and not entry.traits.get("draws_lines"):
                    raise ConfigError(f"`line_width` is set, but the format {name} has no lines; leave it out")
                if mask_files is not None and not entry.traits.get("chooses_masks"):
                    raise ConfigError(f"`mask_files` is set, but the format {name} states the masks; leave it out")
                return name, replace(result, line_width=line_width, mask_files=mask_files)
    where = " from a URL" if is_remote else ""
    formats = f"the format {format}" if format else f"any format that pixelwise reads{where} ({', '.join(candidates)})"
    found = describe_path(root) if isinstance(root, Path) else ""
    if found and isinstance(root, Path) and not root.is_dir():
        raise DataError(f"{root}: {found}")
    message = f"{root}: does not match {formats}" + (f"; {found}" if found else "")
    choices = mask_choices(root) if isinstance(root, Path) and format is None else []
    raise AmbiguousDataError(message, choices) if choices else DataError(message)


def detect_data_set(root: Path | RemoteFile, options: LabelOptions) -> tuple[str, FormatResult]:
    """Detect the format of a data set as `detect_format` does, and compare well-known classes with a few masks.

    Masks with other values are those of another data set in the same layout: the result then has no classes and a
    message. A format that the user has set is not compared.

    Args:
        root: a directory, or a file that lists a data set.
        options: the user's options.

    Returns:
        The name of the format, and its records and classes.

    Raises:
        DataError, ConfigError: See `detect_format`.
    """
    format, result = detect_format(root, options.format, options)
    traits = FORMATS[format].traits
    known = traits.get("known_classes")
    is_known = result.label_map is not None if known == "values" else known == "names" and bool(result.class_names)
    if options.format is not None or not is_known or not isinstance(root, Path):
        return format, result
    return format, check_classes(root, format, result, bool(traits.get("has_ignored")))


def _check_exists(root: Path | RemoteFile) -> None:
    try:
        exists = root.exists()
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    except OSError as error:
        raise DataError(f"{root}: cannot be reached ({first_line(error)})") from None
    if not exists:
        raise DataError(f"{root}: no such file or directory")
