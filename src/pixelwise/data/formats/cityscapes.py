"""Cityscapes: street scenes of 50 cities."""

from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import filter_files, is_folder, list_files
from pixelwise.data.formats.folders import find_pairs, map_records, with_known_classes
from pixelwise.data.schema import DataIssue, FormatResult, Record
from pixelwise.palette import IGNORE_INDEX

# (name, value in *_labelIds.png, color). The position of a class in this tuple is its value in *_labelTrainIds.png.
_CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)

_LABEL_IDS = dict.fromkeys((*range(35), 255), IGNORE_INDEX) | {
    value: index for index, (_, value, _) in enumerate(_CLASSES)
}

_TRAIN_IDS = {index: index for index in range(len(_CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX}

_TEST_CITIES = {"berlin", "bielefeld", "bonn", "leverkusen", "mainz", "munich"}


def read_cityscapes(root: Path) -> FormatResult | None:
    """Read Cityscapes: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/…/*_gtFine_labelIds.png, as 19 classes.

    *_labelTrainIds.png is read if there is no *_labelIds.png. The stratum of a record is its city. The cities of
    the official test split are left out, because their masks are not public: the published mask files are blank.
    https://www.cityscapes-dataset.com
    """
    if not (is_folder(root / "leftImg8bit") and is_folder(root / "gtFine")):
        return None
    listing = filter_files(list_files(root), lambda folder, name: folder.startswith(("leftImg8bit/", "gtFine/")))
    names = [name for files in listing.values() for name in files]
    ending = next((e for e in ("_labelIds.png", "_labelTrainIds.png") if any(n.endswith(e) for n in names)), None)
    if ending is None:
        return None
    endings = ("_leftImg8bit.png", ending)
    blank = {
        folder for folder in listing if folder.split("/")[1:2] == ["test"] and folder.split("/")[-1] in _TEST_CITIES
    }
    files = find_pairs(root, filter_files(listing, lambda folder, name: folder not in blank and name.endswith(endings)))
    if files is None:
        return None
    result = files.to_result()
    if any(listing[folder] for folder in blank):
        message = "the masks of the official test split are not public; the split is left out"
        left_out = DataIssue("images without masks", str(root / "leftImg8bit" / "test"), message, severity="warning")
        result = replace(result, issues=(*result.issues, left_out))
    result = map_records(result, _with_city)
    values = _LABEL_IDS if ending == "_labelIds.png" else _TRAIN_IDS
    return with_known_classes(result, [name for name, _, _ in _CLASSES], values, [color for _, _, color in _CLASSES])


def _with_city(record: Record) -> Record:
    return replace(record, stratum=record.image.name.partition("_")[0])
