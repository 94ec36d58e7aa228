"""Label files of YOLO: where they are, and whether text files are label files."""

from collections.abc import Iterable
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images, read_text
from pixelwise.data.formats._folder_names import folder_roles
from pixelwise.errors import DataError

TOLERANCE = 1e-2
"""Maximum distance of a point from the image, as a fraction of its width or height. Other programs round."""

BOX_VALUES = 4

_SAMPLED_FILES = 50
"""Number of text files that determine whether text files are label files."""


def find_label_files(listing: Listing) -> dict[ImageFile, tuple[str, str]]:
    """Return image → (folder, name) of its label file, for images that have one.

    In the path of a label file, the last "images" of the image's path is "labels", in any case. Without such a folder,
    the label file is next to the image.
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
        The numbers, sorted. None if the text files next to the images are not label files, or if there are masks too.
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
    """Return the class numbers in a label file, or None if a line is not a class number and coordinates in 0..1."""
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
    """Return class number → name for classes that no file names.

    >>> number_names([0, 7])
    {0: 'class 0', 7: 'class 7'}
    """
    return {number: f"class {number}" for number in numbers}
