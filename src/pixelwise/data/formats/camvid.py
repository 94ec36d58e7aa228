"""Read the CamVid data set in the version that the authors of SegNet distribute."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import filter_files, is_folder, list_files, list_images
from pixelwise.data.formats.folders import find_pairs, map_records, with_known_classes
from pixelwise.data.schema import FormatResult, Record
from pixelwise.palette import IGNORE_INDEX

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

PALETTE = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip

IGNORE_VALUE = 11
"""The mask value of pixels to ignore, which have no class."""

_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_\w+\.\w+")


def read_camvid(root: Path) -> FormatResult | None:
    """Read CamVid: train/ trainannot/ val/ valannot/ test/ testannot/.

    Mask values 0..10 are the class indices. Pixels with the value 11 are ignored. The group of a record is its video.
    Returns None if train/ or trainannot/ is missing, or if an image does not have the name of a CamVid frame.
    `read_folders` can read such folders.
    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/
    """
    if not (is_folder(root / "train") and is_folder(root / "trainannot")):
        return None
    folders = {f"{split}{kind}" for split in ("train", "val", "test") for kind in ("", "annot")}
    listing = filter_files(list_files(root, depth=1), lambda folder, name: folder in folders)
    names = [image.name for image in list_images(listing)]
    if not names or not all(map(_FRAME.fullmatch, names)):
        return None
    files = find_pairs(root, listing)
    if files is None:
        return None
    result = map_records(files.to_result(), _with_video)
    values = {index: index for index in range(len(CLASSES))} | {IGNORE_VALUE: IGNORE_INDEX}
    return with_known_classes(result, CLASSES, values, PALETTE)


def _with_video(record: Record) -> Record:
    return replace(record, group=record.image.name.partition("_")[0])
