"""Search for YOLO label files, and detection of text files that are label files."""

from collections.abc import Iterable
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images, read_text
from pixelwise.data.formats._folder_names import folder_roles
from pixelwise.errors import DataError

TOLERANCE = 1e-2
"""Maximum distance of a point outside the image, as a fraction of the image's width or height.

Points can be slightly outside, because other programs round coordinates.
"""

BOX_VALUES = 4
"""Number of coordinates of a bounding box in a label file."""

_SAMPLED_FILES = 50
"""Number of text files that must be valid label files. Later files may be damaged."""


def find_label_files(listing: Listing) -> dict[ImageFile, tuple[str, str]]:
    """Return image → (folder, name) of its label file, for images that have one.

    The folder of the label file is that of the image, with "labels" instead of the last folder "images". Upper and
    lower case are not distinguished. If there is no folder "images", the label file is next to the image.
    """
    folders = {folder.casefold(): folder for folder in reversed(listing)}
    names = {folder: frozenset(files) for folder, files in listing.items()}
    found = {}
    for image in list_images(listing):
        parts = image.folder.split("/")
        for index in range(len(parts) - 1, -1, -1):
            if parts[index].casefold() == "images":
                parts[index] = "labels"
                break
        path = "/".join(parts)
        folder = path if path in names else folders.get(path.casefold(), path)
        if f"{image.stem}.txt" in names.get(folder, ()):
            found[image] = (folder, f"{image.stem}.txt")
    return found


def infer_class_numbers(root: Path, listing: Listing) -> list[int] | None:
    """Return the class numbers in the label files of a data set without data.yaml.

    Args:
        root: the root of the listing.
        listing: the files of the data set.

    Returns:
        The class numbers, sorted. None if the text files of the images are not label files, or if a folder of the data
        set contains masks.
    """
    label_files = find_label_files(listing)
    roles = folder_roles(listing)
    if not label_files or any(roles[image.folder].role == "masks" for image in list_images(listing)):
        return None
    paths = [root / folder / name for folder, name in label_files.values()]
    numbers: set[int] = set()
    for index, path in enumerate(paths):
        try:
            found = _class_numbers(read_text(path))
        except DataError:
            found = None
        if found is None and index < _SAMPLED_FILES:
            return None
        numbers |= found or set()
    return sorted(numbers) if numbers else None


def _class_numbers(text: str) -> set[int] | None:
    """Return the class numbers in the text of a label file, or None if the text is not that of a label file.

    Each line must have a class number and at least 4 coordinates in 0..1. The number of coordinates must be even.
    """
    numbers = set()
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            return None
        is_number = values[0] >= 0 and values[0].is_integer()
        if not is_number or len(values) < 1 + BOX_VALUES or len(values) % 2 == 0:
            return None
        if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in values[1:]):
            return None
        numbers.add(int(values[0]))
    return numbers


def number_names(numbers: Iterable[int]) -> dict[int, str]:
    """Return class number → made-up name, for data sets without a file of class names.

    >>> number_names([0, 7])
    {0: 'class 0', 7: 'class 7'}
    """
    return {number: f"class {number}" for number in numbers}
