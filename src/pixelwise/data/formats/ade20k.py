"""The format of ADE20K in the version of its scene parsing challenge, with 150 classes."""

import re
from pathlib import Path

from pixelwise.data.formats._filesystem import filter_files, is_folder, list_files, list_images, read_lines
from pixelwise.data.formats.folders import find_pairs, with_known_classes
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX

_NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane, "
    "dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, "
    "fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, "
    "minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, "
    "screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, "
    "monitor, bulletin board, shower, radiator, glass, clock, flag"
)

CLASSES = tuple(_NAMES.split(", "))
"""The first name of each class, in the order of objectInfo150.txt. Class 0 has the mask value 1."""

_FOLDERS = tuple(f"{kind}/{split}" for kind in ("images", "annotations") for split in ("training", "validation"))

_INFO = ("objectInfo150.txt", "objectInfo150.csv")


def read_ade20k(root: Path) -> FormatResult | None:
    """Read ADE20K: images/ and annotations/, each with training/ and validation/.

    ADE20K is recognized by its file names (ADE_train_…) or by objectInfo150.txt or .csv. If there is such a file, the
    class names are read from it. Pixels with the mask value 0 are ignored.
    https://groups.csail.mit.edu/vision/datasets/ADE20K/

    Returns:
        The records and classes. None for other data, which `read_folders` can read if it has such folders.

    Raises:
        DataError: objectInfo150.txt is damaged, or the masks do not match the images (see `find_pairs`).
    """
    if not all(is_folder(root / folder) for folder in _FOLDERS):
        return None
    listing = filter_files(list_files(root, depth=2), lambda folder, name: folder in _FOLDERS)
    info = next((root / name for name in _INFO if (root / name).is_file()), None)
    names = [image.name for image in list_images(listing)]
    if info is None and not (names and all(name.startswith("ADE_") for name in names)):
        return None
    classes = CLASSES if info is None else _read_info(info)
    files = find_pairs(root, listing)
    if files is None:
        return None
    values = {index + 1: index for index in range(len(classes))}
    return with_known_classes(files.to_result(), classes, {0: IGNORE_INDEX} | values)


def _read_info(path: Path) -> tuple[str, ...]:
    """Return the first name in each row. The first cell of a row is the mask value, and the last cell has the names."""
    cells = [re.split(r"\t+|,(?! )", line) for line in read_lines(path)]
    rows = [(int(row[0]), row[-1].strip(' "')) for row in cells if row[0].strip().isdigit()]
    if not rows or [value for value, _ in rows] != list(range(1, len(rows) + 1)):
        raise DataError(f"{path}: must have one row per class, numbered from 1 upwards; fix or remove it")
    return tuple(re.split(r"[,;]", names)[0].strip() for _, names in rows)
