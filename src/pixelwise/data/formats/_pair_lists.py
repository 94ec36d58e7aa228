"""Lists of pairs of an image and its mask, such as train.txt with lines "images/a.jpg masks/7.png"."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pixelwise.data.formats._filesystem import ImageFile, Listing, read_lines
from pixelwise.data.formats._splits import columns_of, find_lists, with_most_common_folders
from pixelwise.errors import DataError


def read_pair_lists(root: Path, listing: Listing, files: Sequence[ImageFile]) -> dict[ImageFile, ImageFile]:
    """Read the pairs of images and masks in the lists of the splits.

    Args:
        root: the root of the listing.
        listing: the files of the data set.
        files: all image files.

    Returns:
        Image → mask. A list is ignored unless every line names an image and its mask. Empty if no list is left, or if
        a file is listed both as an image and as a mask.

    Raises:
        DataError: An image is listed with two masks.
    """
    by_name: dict[str, list[ImageFile]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
    pairs: dict[ImageFile, ImageFile] = {}
    for path in find_lists(root, listing, files).values():
        for image, mask in _pairs_of(path, by_name):
            if pairs.setdefault(image, mask) != mask:
                raise DataError(f"{path}: lists {image} with {pairs[image]} and with {mask}; remove one of the lines")
    return {} if set(pairs) & set(pairs.values()) else pairs


def _pairs_of(path: Path, by_name: dict[str, list[ImageFile]]) -> list[tuple[ImageFile, ImageFile]]:
    """Return the pairs of a list, or [] if the list cannot be read or one of its lines is not a pair."""
    try:
        lines = read_lines(path)
    except DataError:
        return []
    pairs = []
    for line in lines:
        found = next((pair for pair in columns_of(line) if all(_find(name, by_name) for name in pair)), None)
        if found is None:
            return []
        image, mask = (_find(name, by_name) for name in found)
        if image is None or mask is None or image == mask:
            return []
        pairs.append((image, mask))
    return pairs


def _find(name: str, by_name: dict[str, list[ImageFile]]) -> ImageFile | None:
    path = PurePosixPath(name.replace("\\", "/"))
    matches = with_most_common_folders(path, by_name.get(path.name, []))
    return matches[0] if len(matches) == 1 else None
