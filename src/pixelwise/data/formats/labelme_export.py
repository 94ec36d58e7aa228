"""The format of folders that labelme exports: NAME_json/ with an image, its mask and the names of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats._annotations import assign_class_ids, polygon_result
from pixelwise.data.formats._filesystem import ImageFile, is_folder, list_files, list_images, read_text
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats.labelme import IGNORE_LABEL
from pixelwise.data.schema import (
    SPLITS,
    DataIssue,
    FormatResult,
    MaskSource,
    PolygonMask,
    Record,
    Split,
    ValueImage,
)
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.parsing import parse_yaml

_NAME_FILES = ("label_names.txt", "info.yaml")


@dataclass(frozen=True)
class _Export:
    """One exported folder.

    Attributes:
        path: the folder.
        image: name of the image file.
        mask: name of the mask file, or None if it is missing.
        names: class names in the order of the mask's values, from 0. None if no file lists them.
        split: the split that the path names, or None.
    """

    path: Path
    image: str
    mask: str | None
    names: tuple[str, ...] | None
    split: Split | None


def read_labelme_export(root: Path) -> FormatResult | None:
    """Read the folders that labelme_export_json (formerly labelme_json_to_dataset) writes, one per image.

    A folder has the image img.png, the mask label.png, and label_names.txt (info.yaml in old versions of labelme). The
    lines of label_names.txt are the classes in the order of the mask's values. Different folders can have different
    lists. label_viz.png is not used. The root can be one such folder. https://github.com/wkentaro/labelme

    Returns:
        The records. None if there are no such folders.

    Raises:
        DataError: label_names.txt or info.yaml has no class names.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    exports = [export for folder, names in listing.items() if (export := _find_export(root, folder, names)) is not None]
    folders = {export.path for export in exports}
    others = [image for image in list_images(listing) if root / image.folder not in folders]
    # If no folder lists class names, the names img.png and label.png alone are weak evidence of this format.
    has_names = any(export.names for export in exports)
    if not any(export.mask for export in exports) or (len(others) > len(exports) and not has_names):
        return None
    issues = _other_images_issue(root, others)
    named = [export for export in exports if export.mask and export.names is not None]
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    names = sorted({name for export in named for name in export.names or ()} - {IGNORE_LABEL})
    classes, index_of = assign_class_ids(_longest_names(named) or names)
    for export in exports:
        if export.mask is None:
            message = "has no mask label.png; export it again, or move the folder away"
            issues.append(DataIssue("missing mask", str(export.path / export.image), message))
        elif export.names is None and named:
            message = "has no label_names.txt, which other folders have; export it again, or move the folder away"
            issues.append(DataIssue("missing class names", str(export.path), message))
        else:
            mask = _mask(export.path / export.mask, export.names, index_of)
            records[export.split or "train"].append(Record(export.path / export.image, mask))
    if named:
        return polygon_result(records, classes, issues)
    train, val, test = (tuple(records[split]) for split in SPLITS)
    return FormatResult(train, val, test, issues=tuple(issues))  # the classes are inferred from the mask values


def _find_export(root: Path, folder: str, names: Sequence[str]) -> _Export | None:
    """Return the export in a folder, or None if the folder is not an export."""
    by_name = {name.casefold(): name for name in names}
    image, mask = by_name.get("img.png"), by_name.get("label.png")
    lists = [by_name[name] for name in _NAME_FILES if name in by_name]
    path = root / folder
    if image is None or not (lists or (root / folder).name.casefold().endswith("_json")):
        return None
    if mask is None and not any(name.startswith("label") for name in by_name):
        return None
    class_names = _read_names(path / lists[0]) if lists else None
    return _Export(path, image, mask, class_names, split_of(folder.rpartition("/")[0]))


def _read_names(path: Path) -> tuple[str, ...]:
    """Return the class names in label_names.txt or info.yaml. Raise DataError if there are none."""
    text = read_text(path)
    names: object = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix.casefold() == ".yaml":
        try:
            content = parse_yaml(text)
        except ValueError:
            content = None
        names = content.get("label_names") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: has no class names; export it again, or move the folder away")
    return tuple(names)


def _longest_names(exports: Sequence[_Export]) -> list[str]:
    """Return the longest list of class names if every list is a prefix of it, else an empty list.

    The label for pixels to ignore is left out.
    """
    lists = [export.names or () for export in exports]
    longest = max(lists, key=len, default=())
    if any(longest[: len(names)] != names for names in lists):
        return []
    return [name for name in longest if name != IGNORE_LABEL]


def _mask(path: Path, names: Sequence[str] | None, index_of: Mapping[str, int]) -> MaskSource:
    """Return a mask whose values are indices into `names`. 255 means "ignore" if `names` has fewer entries.

    If `names` is None, return the file itself.
    """
    if names is None:
        return path
    class_ids = [IGNORE_INDEX if name == IGNORE_LABEL else index_of[name] for name in names]
    pairs = {IGNORE_INDEX: IGNORE_INDEX} | dict(enumerate(class_ids))
    return PolygonMask((), str(path), base=ValueImage(path, "index", tuple(pairs.items())))


def _other_images_issue(root: Path, others: Sequence[ImageFile]) -> list[DataIssue]:
    if not others:
        return []
    plural = "s" * (len(others) > 1)
    message = f"{len(others)} image{plural} outside of exported folders, such as {others[0]}: left out"
    return [DataIssue("image not listed", str(root), message, severity="warning")]
