"""Carvana's masking challenge: cars from sixteen sides."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import is_folder, list_files
from pixelwise.data.formats.folders import filter_files, find_pairs, map_records
from pixelwise.data.schema import FormatResult, Record

_JPEG = (".jpg", ".jpeg")


_MASK = "_mask.gif"


_VIEW = re.compile(r"[0-9a-f]{12}_\d\d")


def read_carvana(root: Path) -> FormatResult | None:
    """Carvana: *.jpg and *_mask.gif, in train/ and train_masks/ or in one folder.

    Where the files are the challenge's own by their names, classes are "background" and "car", and a record's group
    is its car. https://www.kaggle.com/c/carvana-image-masking-challenge
    """
    if not is_folder(root):
        return None
    listing = list_files(root, depth=1)
    if not any(name.lower().endswith(_MASK) for names in listing.values() for name in names):
        return None
    found = find_pairs(root, filter_files(listing, lambda folder, name: name.lower().endswith((*_JPEG, _MASK))))
    if found is None or not all(mask.name.lower().endswith(_MASK) for mask in found.pairs.masks.values()):
        return None
    layout = found.layout()
    if not all(_VIEW.fullmatch(image.stem) for image in found.pairs.masks):
        return layout
    return replace(map_records(layout, _with_car), class_names=("background", "car"))


def _with_car(record: Record) -> Record:
    return replace(record, group=record.image.name.partition("_")[0])
