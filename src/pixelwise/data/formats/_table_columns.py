"""Find the roles of the columns of a table by name: image, mask, split, group, stratum."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pixelwise.data.formats._table_files import Table
from pixelwise.errors import DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        "image", "image_path", "image_file", "image_filename", "image_file_name", "image_url", "img", "img_path",
        "photo", "photo_path", "picture", "pixel_values", "file", "filename", "file_name", "file_path", "filepath",
    ),
    "mask": (
        "mask", "mask_path", "mask_file", "mask_filename", "mask_file_name", "mask_url", "mask_name", "masks", "label",
        "label_path", "labels", "annotation", "annotation_path", "annotations", "segmentation", "segmentation_path",
        "segmentation_mask", "semantic_segmentation", "seg_map", "ground_truth", "gt",
    ),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
    "stratum": ("stratum", "strata"),
}  # fmt: skip
"""Role of a column → its possible names. They are compared in lower case and with underscores for spaces and "-"."""

REQUIREMENT = "a column 'image' and a column 'mask' (or 'mask:CLASS' for each class) with paths or URLs of images"

_CLASS_COLUMN = re.compile(r"\s*masks?\s*([:_/ -])\s*(\S.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """The index of the column of each role in a table.

    Attributes:
        image: column of the images.
        masks: columns of the masks. Multi-label data has one column for each of `classes`, other data has one in all.
        classes: class names of multi-label data, or ().
        split: column of the splits, or None.
        group: column of the groups, or None.
        stratum: column of the strata, or None.
    """

    image: int
    masks: tuple[int, ...]
    classes: tuple[str, ...] = ()
    split: int | None = None
    group: int | None = None
    stratum: int | None = None


def has_image_and_mask(names: Sequence[str]) -> bool:
    """Return True if these column names include a column of images and a column of masks."""
    return bool(columns_for(names, "image")) and bool(columns_for(names, "mask") or _class_columns(names))


def columns_for(names: Sequence[str], role: str) -> list[int]:
    """Return the indices of the columns whose names are in `COLUMNS` for a role.

    Args:
        names: the names of all columns.
        role: a key of `COLUMNS`.

    >>> columns_for(["Image path", "mask", "notes"], "image")
    [0]
    """
    return [index for index, name in enumerate(names) if _normalize(name) in COLUMNS[role]]


def find_columns(table: Table, strict: bool) -> Columns | None:
    """Determine the roles of the columns of a table.

    Args:
        table: the table.
        strict: True to accept a column of images or masks only if its first rows name or contain images. False to use
            the first rows only to choose between several columns.

    Returns:
        The columns. None if there is no column of images or no column of masks.

    Raises:
        DataError: Two columns match one role, or two columns have masks of one class.
    """

    def with_images(columns: Sequence[int]) -> list[int]:
        matches = [index for index in columns if index in table.image_columns]
        return matches if matches or strict else list(columns)

    names = table.columns
    masks = with_images(columns_for(names, "mask"))
    by_class = _class_columns(names)
    with_colon = [index for index in by_class if ":" in names[index]]
    # If there is a column "mask", mask_preview is not the mask of a class "preview".
    class_masks = with_images(with_colon or ([] if masks else list(by_class)))
    if masks and class_masks:
        both = f"'{names[masks[0]]}' and '{names[class_masks[0]]}'"
        raise DataError(f"{table.file}: the columns {both} may both be the mask; rename or remove one")
    image = _check_single(table, "image", with_images(columns_for(names, "image")))
    mask = _check_single(table, "mask", masks)
    if image is None or (mask is None and not class_masks):
        return None
    classes = tuple(by_class[index] for index in class_masks)
    duplicates = [name for name in classes if classes.count(name) > 1]
    if duplicates:
        raise DataError(f"{table.file}: two columns are masks of '{duplicates[0]}'; rename or remove one")
    split, group, stratum = (
        _check_single(table, role, columns_for(names, role)) for role in ("split", "group", "stratum")
    )
    return Columns(image, tuple(class_masks) if mask is None else (mask,), classes, split, group, stratum)


def _normalize(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _class_columns(names: Sequence[str]) -> dict[int, str]:
    """Return index → class name of the columns whose names are like mask:CLASS or mask_CLASS."""
    classes = {}
    for index, name in enumerate(names):
        match = _CLASS_COLUMN.fullmatch(name)
        if match and (match[1] == ":" or _normalize(name) not in COLUMNS["mask"]):
            classes[index] = match[2]
    return classes


def _check_single(table: Table, role: str, columns: Sequence[int]) -> int | None:
    if len(columns) > 1:
        both = " and ".join(f"'{table.columns[index]}'" for index in columns[:2])
        raise DataError(f"{table.file}: the columns {both} may both be the {role}; rename or remove one")
    return columns[0] if columns else None
