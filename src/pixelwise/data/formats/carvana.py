"""Carvana Image Masking Challenge: each car in 16 views."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import filter_files, is_folder, list_files
from pixelwise.data.formats.folders import find_pairs, map_records
from pixelwise.data.schema import FormatResult, Record

_JPEG_SUFFIXES = (".jpg", ".jpeg")

_MASK_ENDING = "_mask.gif"

_VIEW = re.compile(r"[0-9a-f]{12}_\d\d")


def read_carvana(root: Path) -> FormatResult | None:
    """Read Carvana: *.jpg and *_mask.gif, in train/ and train_masks/ or in one folder.

    If all image names have the form of the challenge, such as 0cdf5b5d0ce1_01.jpg, the classes are "background" and
    "car". The group of a record is then its car. https://www.kaggle.com/c/carvana-image-masking-challenge
    """
    if not is_folder(root):
        return None
    listing = list_files(root, depth=1)
    if not any(name.lower().endswith(_MASK_ENDING) for names in listing.values() for name in names):
        return None
    suffixes = (*_JPEG_SUFFIXES, _MASK_ENDING)
    files = find_pairs(root, filter_files(listing, lambda folder, name: name.lower().endswith(suffixes)))
    if files is None or not all(mask.name.lower().endswith(_MASK_ENDING) for mask in files.pairs.masks.values()):
        return None
    result = files.to_result()
    if not all(_VIEW.fullmatch(image.stem) for image in files.pairs.masks):
        return result
    return replace(map_records(result, _with_car), class_names=("background", "car"))


def _with_car(record: Record) -> Record:
    return replace(record, group=record.image.name.partition("_")[0])
