"""Lookup of the images that annotation files name."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.schema import DataIssue, Split
from pixelwise.errors import DataError


class ImageIndex:
    """The images of a listing by file name. Only listed files are found, so no path leads out of the root."""

    def __init__(self, root: Path, listing: Listing) -> None:
        self.root = root
        self._by_name: dict[str, list[ImageFile]] = {}
        for image in list_images(listing):
            self._by_name.setdefault(image.name, []).append(image)
        self._folder_names = {image.folder.rpartition("/")[2] for image in self}

    def __iter__(self) -> Iterator[ImageFile]:
        for images in self._by_name.values():
            yield from images

    def path(self, image: ImageFile) -> Path:
        """Return the full path of an image."""
        return self.root / image.folder / image.name

    def find(self, name: str, folder: str = "", split: Split | None = None, *, source: object = "") -> ImageFile | None:
        """Find the image that an annotation file names.

        Of several images with the same file name, the one whose folders agree with most folders of `name` is returned,
        then the one in `folder`. Images of another split are not considered.

        Args:
            name: a file name or a path, which can be from another computer.
            folder: the folder of the annotation file, see `Listing`.
            split: the split of the annotation file, or None.
            source: the annotation file and the entry, for messages.

        Returns:
            The image. None if there is none.

        Raises:
            DataError: Two images match equally well.
        """
        parts = [part for part in re.split(r"[\\/]+", name) if part not in ("", ".")]
        matches = self._by_name.get(parts[-1], []) if parts else []
        if split is not None:
            matches = [image for image in matches if split_of(image.folder) in (None, split)]
        if not matches:
            return None
        ranks = [(_count_common(parts[-2::-1], image.folder), image.folder == folder) for image in matches]
        # If the named folder is here without this file, a file of the same name elsewhere is another image.
        if max(ranks)[0] == 0 and len(parts) > 1 and parts[-2] in self._folder_names:
            return None
        best = [image for image, rank in zip(matches, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            raise DataError(f"{source}: {name} may be {best[0]} or {best[1]}; give images different names")
        return best[0]


def _count_common(folders: Sequence[str], path: str) -> int:
    """Count how many folders two paths have in common, from the file upwards."""
    count = 0
    for first, second in zip(folders, reversed(path.split("/")), strict=False):
        if first != second:
            break
        count += 1
    return count


def unlisted_images_issue(images: ImageIndex, listed: set[ImageFile], source: Path) -> list[DataIssue]:
    """Return one warning for all images that are in the folders of listed images and are not listed.

    Args:
        images: the images of the data set.
        listed: those that the annotation files name.
        source: the annotation file that the warning names.
    """
    folders = {image.folder for image in listed}
    unlisted = [image for image in images if image.folder in folders and image not in listed]
    if not unlisted:
        return []
    count = f"{len(unlisted)} image{'s' * (len(unlisted) > 1)}"
    message = f"does not list {count} of the same folders, for example {unlisted[0].name}; left out"
    return [DataIssue("image not listed", str(source), message, severity="warning")]
