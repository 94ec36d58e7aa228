"""CamVid as SegNet's authors prepared it."""

import re
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import is_folder, list_files, list_images
from pixelwise.data.formats.folders import filter_files, find_pairs, map_records, with_known_classes
from pixelwise.data.schema import FormatResult, Record
from pixelwise.palette import IGNORE_INDEX

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip


PALETTE = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip


VOID = 11


_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_\w+\.\w+")


def read_camvid(root: Path) -> FormatResult | None:
    """CamVid: train/ trainannot/ val/ valannot/ test/ testannot/, classes 0–10, 11 = void; frames of four videos.

    A record's group is its video. Other data in folders of those names is for `folders`.
    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/
    """
    if not (is_folder(root / "train") and is_folder(root / "trainannot")):
        return None
    wanted = {f"{split}{kind}" for split in ("train", "val", "test") for kind in ("", "annot")}
    listing = filter_files(list_files(root, depth=1), lambda folder, name: folder in wanted)
    names = [image.name for image in list_images(listing)]
    if not names or not all(map(_FRAME.fullmatch, names)):
        return None
    found = find_pairs(root, listing)
    if found is None:
        return None
    layout = found.layout()
    values = {index: index for index in range(len(CLASSES))} | {VOID: IGNORE_INDEX}
    return with_known_classes(map_records(layout, _with_video), CLASSES, values, PALETTE)


def _with_video(record: Record) -> Record:
    return replace(record, group=record.image.name.partition("_")[0])
