"""Lookup of images by the names in annotation files."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.schema import DataIssue, Split
from pixelwise.errors import DataError


class ImageIndex:
    """The images of a listing by file name. A name can match listed images only, so no file outside the root is read.

    Args:
        root: the root of the listing.
        listing: the files of the data set.
    """

    def __init__(self, root: Path, listing: Listing) -> None:
        self.root = root
        self._by_name: dict[str, list[ImageFile]] = {}
        self._by_folded_name: dict[str, list[ImageFile]] = {}
        self._by_folded_stem: dict[str, list[ImageFile]] = {}
        for image in list_images(listing):
            self._by_name.setdefault(image.name, []).append(image)
            self._by_folded_name.setdefault(_fold(image.name), []).append(image)
            self._by_folded_stem.setdefault(_fold(image.stem), []).append(image)
        self._folder_names = {image.folder.rpartition("/")[2] for image in self}

    def __iter__(self) -> Iterator[ImageFile]:
        for images in self._by_name.values():
            yield from images

    def path(self, image: ImageFile) -> Path:
        """Return the full path of an image."""
        return self.root / image.folder / image.name

    def find(self, name: str, folder: str = "", split: Split | None = None, *, source: object = "") -> ImageFile | None:
        """Find an image by its name in an annotation file.

        If no file name is equal, names are compared without case and Unicode form, as Windows and macOS do. If several
        images match, the image with the most parent folders in common with `name` is returned. If these are several,
        the one in `folder` is returned, or else the only one below it.

        Args:
            name: a file name or a path. It can be a path on another computer.
            folder: the folder of the annotation file, see `Listing`.
            split: the split of the annotation file. Images of other splits are not considered. None considers all.
            source: the annotation file and the entry, for error messages.

        Returns:
            The image, or None if no image matches.

        Raises:
            DataError: Two images match equally well.
        """
        parts = [part for part in re.split(r"[\\/]+", name) if part not in ("", ".")]
        last = parts[-1] if parts else ""
        matches = self._by_name.get(last) or self._by_folded_name.get(_fold(last), [])
        if split is not None:
            matches = [image for image in matches if split_of(image.folder) in (None, split)]
        if not matches:
            return None
        ranks = [
            (_count_common(parts[-2::-1], image.folder), image.folder == folder, image.folder.startswith(f"{folder}/"))
            for image in matches
        ]
        # If the data set has the folder in `name`, but not this file in it, a file of the same name in another folder
        # is a different image.
        if max(ranks)[0] == 0 and len(parts) > 1 and parts[-2] in self._folder_names:
            return None
        best = [image for image, rank in zip(matches, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            raise DataError(f"{source}: {name} matches {best[0]} and {best[1]}; give images different names")
        return best[0]

    def find_stem(self, stem: str, folder: str, split: Split | None = None) -> ImageFile | None:
        """Find the image with the stem of an annotation file: in its folder, or else the only one in the data set.

        Args:
            stem: the annotation file's name without its suffix.
            folder: the folder of the annotation file, see `Listing`.
            split: the split of the annotation file, or None. Images of another split are not considered.

        Returns:
            The image. None if there is none, or if several match equally well.
        """
        matches = self._by_folded_stem.get(_fold(stem), [])
        matches = [image for image in matches if split is None or split_of(image.folder) in (None, split)]
        best = [image for image in matches if image.folder == folder] or matches
        return best[0] if len(best) == 1 else None


def _fold(name: str) -> str:
    """Return a file name for comparison without regard to case and to the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _count_common(folders: Sequence[str], path: str) -> int:
    """Count the equal folders of two paths from the file upward, up to the first difference."""
    count = 0
    for first, second in zip(folders, reversed(path.split("/")), strict=False):
        if first != second:
            break
        count += 1
    return count


def unlisted_images_issue(images: ImageIndex, listed: set[ImageFile], source: Path) -> list[DataIssue]:
    """Return one warning about all images in the same folders as listed images that are not listed themselves.

    Args:
        images: the images of the data set.
        listed: the images in the annotation files.
        source: the annotation file to name in the warning.

    Returns:
        The warning, or an empty list if all images are listed.
    """
    folders = {image.folder for image in listed}
    unlisted = [image for image in images if image.folder in folders and image not in listed]
    if not unlisted:
        return []
    count = f"{len(unlisted)} image{'s' * (len(unlisted) > 1)}"
    message = f"does not list {count} in the same folders, for example {unlisted[0].name}; left out"
    return [DataIssue("image not listed", str(source), message, severity="warning")]
