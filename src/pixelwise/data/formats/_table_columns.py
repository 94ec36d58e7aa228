"""Which column of a table is what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pixelwise.data.formats._table_files import Table
from pixelwise.errors import DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        "image", "image_path", "image_file", "image_filename", "image_file_name", "image_url", "img", "img_path",
        "photo", "photo_path", "picture", "file", "filename", "file_name", "file_path", "filepath",
    ),
    "mask": (
        "mask", "mask_path", "mask_file", "mask_filename", "mask_file_name", "mask_url", "mask_name", "label",
        "label_path", "annotation", "annotation_path", "segmentation", "segmentation_path", "segmentation_mask",
    ),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
    "stratum": ("stratum", "strata"),
}  # fmt: skip
"""What a column holds → the names that it may have, in lower case and with underscores for spaces."""


NEEDED = "a column 'image' and a column 'mask' (or 'mask:CLASS' for each class) with paths or URLs of images"


_CLASS = re.compile(r"\s*masks?\s*([:_/ -])\s*(\S.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Where things stand in a table: `masks` is one column, or one for each of `classes`."""

    image: int
    masks: tuple[int, ...]
    classes: tuple[str, ...] = ()
    split: int | None = None
    group: int | None = None
    stratum: int | None = None


def wanted(names: Sequence[str]) -> bool:
    """Whether there may be images and masks in columns of these names."""
    return bool(_named(names, "image")) and bool(_named(names, "mask") or _class_columns(names))


def find_columns(table: Table, strict: bool) -> Columns | None:
    """The columns of a table; None where none may hold images or none masks.

    With `strict` a column must hold images by its first rows; without, that decides between several. Raises DataError
    where two columns may be meant.
    """

    def likely(found: Sequence[int]) -> list[int]:
        images = [each for each in found if each in table.with_images]
        return images if images or strict else list(found)

    names = table.columns
    masks = likely(_named(names, "mask"))
    by_class = _class_columns(names)
    with_colon = [each for each in by_class if ":" in names[each]]
    # mask_preview is no class where there is a column "mask".
    layers = likely(with_colon or ([] if masks else list(by_class)))
    if masks and layers:
        both = f"'{names[masks[0]]}' and '{names[layers[0]]}'"
        raise DataError(f"{table.file}: the columns {both} may both be the mask; rename or remove one")
    image, mask = _only(table, "image", likely(_named(names, "image"))), _only(table, "mask", masks)
    if image is None or (mask is None and not layers):
        return None
    classes = tuple(by_class[each] for each in layers)
    twice = [name for name in classes if classes.count(name) > 1]
    if twice:
        raise DataError(f"{table.file}: two columns are masks of '{twice[0]}'; rename or remove one")
    others = {kind: _only(table, kind, _named(names, kind)) for kind in ("split", "group", "stratum")}
    return Columns(image, tuple(layers) if mask is None else (mask,), classes, **others)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _named(names: Sequence[str], kind: str) -> list[int]:
    return [each for each, name in enumerate(names) if _plain(name) in COLUMNS[kind]]


def _class_columns(names: Sequence[str]) -> dict[int, str]:
    """The columns mask:CLASS and mask_CLASS, and the class of each."""
    found = {}
    for each, name in enumerate(names):
        match = _CLASS.fullmatch(name)
        if match and (match[1] == ":" or _plain(name) not in COLUMNS["mask"]):
            found[each] = match[2]
    return found


def _only(table: Table, kind: str, found: Sequence[int]) -> int | None:
    if len(found) > 1:
        both = " and ".join(f"'{table.columns[each]}'" for each in found[:2])
        raise DataError(f"{table.file}: the columns {both} may both be the {kind}; rename or remove one")
    return found[0] if found else None
