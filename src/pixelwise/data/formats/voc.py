"""Pascal VOC, and other data in the folders of Pascal VOC."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import filter_files, is_folder, list_files, list_folders
from pixelwise.data.formats.folders import find_pairs, with_known_classes
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_IMAGE = re.compile(r"(20(07|08|09|10|11|12)_)?\d{6}")

_FOLDERS = ("JPEGImages", "SegmentationClass")

_LISTS = "ImageSets/Segmentation"


def read_voc(root: Path) -> FormatResult | None:
    """Read Pascal VOC: JPEGImages/, SegmentationClass/, ImageSets/Segmentation/*.txt.

    These folders are in the root, in VOC2012/ or in VOCdevkit/VOC2012/. If all images have names of VOC (2007_000032,
    000032), the classes are its 21 classes, and mask value 255 is ignored. In other data, or with a class file (see
    `CLASS_FILES`), the class file names the classes, and the label map comes from the mask values.
    http://host.robots.ox.ac.uk/pascal/VOC/

    Returns:
        The records, or None if the folders are missing or have no masks.

    Raises:
        DataError: There are several data sets below the root, or images and masks do not match.
    """
    if not is_folder(root):
        return None
    candidates = [root, *sorted(path for top in (root, root / "VOCdevkit") if is_folder(top) for path in _years(top))]
    roots = [path for path in candidates if all(is_folder(path / name) for name in (*_FOLDERS, _LISTS))]
    if not roots:
        return None
    if len(roots) > 1:
        raise DataError(f"{root}: has {' and '.join(path.name for path in roots)}; use one of them as the data set")
    listing = list_files(roots[0])
    used = filter_files(listing, lambda folder, name: folder.startswith(_FOLDERS) or folder == _LISTS)
    files = find_pairs(roots[0], used)
    if files is None:
        return None
    names = read_class_names(roots[0], filter_files(listing, lambda folder, name: not folder))
    result = replace(files.to_result(), **vars(names))
    if names or not all(_IMAGE.fullmatch(image.stem) for image in files.pairs.masks):
        return result
    values = {index: index for index in range(len(CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX}
    return with_known_classes(result, CLASSES, values, voc_palette(len(CLASSES)))


def _years(folder: Path) -> list[Path]:
    return [folder / name for name in list_folders(folder) if name.upper().startswith("VOC")]
