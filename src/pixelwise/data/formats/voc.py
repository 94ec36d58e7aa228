"""Pascal VOC, and what others export in its layout."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_files import class_names
from pixelwise.data.formats._filesystem import is_folder, list_files, list_folders
from pixelwise.data.formats.folders import filter_files, find_pairs, with_known_classes
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


_IMAGE = re.compile(r"(20\d\d_)?\d{6}")


_FOLDERS = ("JPEGImages", "SegmentationClass")


_LISTS = "ImageSets/Segmentation"


def read_voc(root: Path) -> FormatResult | None:
    """Pascal VOC: JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/*.txt; also in VOCdevkit/VOC2012 below.

    Images named as VOC's (2007_000032) have its 21 classes, 255 = void. Of other data in this layout a labelmap.txt
    (as CVAT writes it) or its like names the classes, and the masks say how they are encoded.
    http://host.robots.ox.ac.uk/pascal/VOC/
    """
    if not is_folder(root):
        return None
    places = [root, *(sorted(each for top in (root, root / "VOCdevkit") if is_folder(top) for each in _below(top)))]
    places = [each for each in places if all(is_folder(each / name) for name in (*_FOLDERS, _LISTS))]
    if not places:
        return None
    if len(places) > 1:
        raise DataError(f"{root}: holds {' and '.join(each.name for each in places)}; point DATA at one of them")
    listing = list_files(places[0])
    inside = filter_files(listing, lambda folder, name: folder.startswith(_FOLDERS) or folder == _LISTS)
    found = find_pairs(places[0], inside)
    if found is None:
        return None
    names = class_names(places[0], filter_files(listing, lambda folder, name: not folder))
    layout = replace(found.layout(), **vars(names))
    if names or not all(_IMAGE.fullmatch(image.stem) for image in found.pairs.masks):
        return layout
    values = {index: index for index in range(len(CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX}
    return with_known_classes(layout, CLASSES, values, voc_palette(len(CLASSES)))


def _below(folder: Path) -> list[Path]:
    return [folder / name for name in list_folders(folder) if name.upper().startswith("VOC")]
