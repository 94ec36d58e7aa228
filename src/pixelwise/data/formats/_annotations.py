"""What the formats that outline things share: JSON, numbers that people's tools wrote, and the image that is meant."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images, read_text
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, Record, Split
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX, voc_palette

FARTHEST = 100_000.0
"""Pixels from the corner that a point may lie: the time to draw an outline grows with its length."""


BACKGROUND = "background"


class AnnotationError(ValueError):
    """What is wrong with one outline, without the name of the file it is in."""


def read_json(path: Path) -> Any:
    """The content of a JSON file; DataError, which names it, where it is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{path}: is no JSON ({what}); export it again, mend or remove it") from None


def is_file(path: Path) -> bool:
    """Whether it is a file on this machine; see `is_folder`."""
    try:
        return isinstance(path, Path) and path.is_file()
    except OSError:
        return False


def file_starts_with(path: Path, pattern: str) -> bool:
    """Whether the first 64 KiB of a file hold a pattern (`re.match`); False where it cannot be read."""
    try:
        if not is_file(path):
            return False
        with path.open("rb") as file:
            head = file.read(1 << 16).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return False
    return re.match(pattern, head.decode("utf-8", "replace"), re.DOTALL) is not None


def is_text(value: object) -> bool:
    """Whether it is text that can be a name: not empty, one line, and possible to write down."""
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_whole(value: object) -> bool:
    """Whether it is a whole number, not negative, that fits in 63 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def to_points(values: object, farthest: float = FARTHEST) -> np.ndarray:
    """A flat list x, y, x, y … or a list of pairs as (K, 2) float64; AnnotationError if it is neither, or too far off.

    >>> to_points([0, 0, 4, 0, 4, 2]).tolist()
    [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]
    """
    if not isinstance(values, list):
        raise AnnotationError("an outline must be a list of numbers")
    try:
        points = np.array(values)
    except (ValueError, OverflowError):
        raise AnnotationError("an outline must be a list of numbers") from None
    if points.dtype.kind not in "iuf" and len(values):
        raise AnnotationError("an outline must be a list of numbers")
    if points.ndim == 1:
        if len(points) % 2:
            raise AnnotationError(f"an outline of {len(points)} numbers; there must be an x and a y for each point")
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise AnnotationError("an outline must have an x and a y for each point")
    # As `not <=`, so that NaN is caught too.
    if len(points) and not np.abs(points, dtype=np.float64).max() <= farthest:
        raise AnnotationError("an outline has a point that is no number, or far outside the image")
    return points.astype(np.float64, copy=False)


def area_of(polygon: np.ndarray) -> float:
    """The area within an outline (K, 2).

    >>> area_of(np.array([[0, 0], [4, 0], [4, 2]]))
    4.0
    """
    x, y = polygon.T
    return 0.5 * abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]))


def rectangle(x: float, y: float, width: float, height: float, angle: float = 0.0) -> np.ndarray:
    """The corners (4, 2) of a rectangle that is turned about its upper left one by degrees, clockwise."""
    turn = np.deg2rad(angle)
    across, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    corner = np.array([x, y])
    return np.stack([corner, corner + width * across, corner + width * across + height * down, corner + height * down])


def ellipse(x: float, y: float, across: float, down: float, angle: float = 0.0, count: int = 72) -> np.ndarray:
    """Points (count, 2) around an ellipse with center x, y and two radii, turned by degrees, clockwise."""
    turns, turn = np.linspace(0, 2 * np.pi, count, endpoint=False), np.deg2rad(angle)
    flat = np.stack([across * np.cos(turns), down * np.sin(turns)], axis=1)
    return flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)


def assign_class_ids(
    names: Iterable[str], background: Iterable[str] = (BACKGROUND,)
) -> tuple[list[str], dict[str, int]]:
    """Class names, "background" first, and the index of each name; a name in `background`, in any case, is that class.

    Index 255 says "ignore" in masks, so no class has it: where there are so many, a name that says so holds its place.

    >>> assign_class_ids(["cat", "Background", "dog"])
    (['background', 'cat', 'dog'], {'cat': 1, 'Background': 0, 'dog': 2})
    """
    classes, index_of = [BACKGROUND], dict[str, int]()
    for name in dict.fromkeys(names):
        if name.casefold() in background:
            index_of[name] = 0
            continue
        if len(classes) == IGNORE_INDEX:
            classes.append("ignore (255)")
        index_of[name] = len(classes)
        classes.append(name)
    return classes, index_of


def polygon_result(
    records: Mapping[Split, Sequence[Record]], classes: Sequence[str], problems: Sequence[DataIssue]
) -> FormatResult:
    """The layout of masks that are drawn."""
    train, val, test = (tuple(records[split]) for split in SPLITS)
    # Some of very many classes may be chosen later; our own palette has no colors for them all.
    palette = voc_palette(len(classes)) if len(classes) >= IGNORE_INDEX else ()
    return FormatResult(train, val, test, tuple(classes), LabelMap("polygons"), palette=palette, issues=tuple(problems))


class ImageIndex:
    """The images of a listing, to be found by what a file calls them."""

    def __init__(self, root: Path, listing: Listing) -> None:
        self.root = root
        self.by_name: dict[str, list[ImageFile]] = {}
        for image in list_images(listing):
            self.by_name.setdefault(image.name, []).append(image)
        self.folders = {each.folder.rpartition("/")[2] for many in self.by_name.values() for each in many}

    def path(self, image: ImageFile) -> Path:
        """Where the image lies."""
        return self.root / image.folder / image.name

    def find(self, name: str, near: str = "", split: Split | None = None, where: object = "") -> ImageFile | None:
        """The image of a name or path, of any machine; None where there is none.

        Of several, the one whose folders are most like the path's, then one in the folder `near`, then one in a folder
        of its name. Images of another split are passed over. Only what was listed is found, so no path leads out of
        the folder. Raises DataError, which begins with `where`, if two may be meant.
        """
        parts = [part for part in re.split(r"[\\/]+", name) if part not in ("", ".")]
        there = self.by_name.get(parts[-1], []) if parts else []
        there = [each for each in there if split_of(each.folder) in (None, split) or split is None]
        if not there:
            return None
        ranks = [(_shared(parts[-2::-1], each.folder), each.folder == near) for each in there]
        # The folder is here and this file not in it: another one of its name is another image.
        if max(ranks)[0] == 0 and len(parts) > 1 and parts[-2] in self.folders:
            return None
        best = [each for each, rank in zip(there, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            raise DataError(f"{where}: {name} may be {best[0]} or {best[1]}; give images different names")
        return best[0]


@lru_cache(maxsize=10_000)
def split_of(path: str) -> Split | None:
    """The split that a folder, or a word in the name of a file, says: train2017, instances_val."""
    for part in path.split("/"):
        for word in (part, *re.findall("[a-z]+", part.casefold())):
            split = parse_folder_name(word)[0]
            if split:
                return split
    return None


def _shared(folders: Sequence[str], other: str) -> int:
    """How many folders two paths share, from the file upwards."""
    count = 0
    for one, two in zip(folders, reversed(other.split("/")), strict=False):
        if one != two:
            break
        count += 1
    return count


def printable_prefix(text: str) -> str:
    """A text from a file as it can be printed: without halves of characters, cut to a length for messages."""
    return text.encode("utf-8", "replace").decode()[:200]


def unlisted_images_issue(images: ImageIndex, used: set[ImageFile], source: Path) -> list[DataIssue]:
    """A note for images that lie among the listed ones and are not listed."""
    folders = {image.folder for image in used}
    rest = [each for many in images.by_name.values() for each in many if each.folder in folders and each not in used]
    if not rest:
        return []
    what = f"{len(rest)} image{'s' * (len(rest) > 1)} here, such as {rest[0].name}, it does not list; left out"
    return [DataIssue("image not listed", str(source), what, severity="warning")]
