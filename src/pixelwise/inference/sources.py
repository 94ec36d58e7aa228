"""Find the images among files, directories, patterns and URLs, and report files that are left out."""

import glob
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from pixelwise.data.formats._filesystem import Listing, list_files
from pixelwise.errors import DataError
from pixelwise.inference.folder_files import FolderFiles, sort_files
from pixelwise.inference.inputs import UrlImage, open_image_url
from pixelwise.inference.mask_folders import check_no_masks
from pixelwise.inference.url_sources import find_at_url, names_many
from pixelwise.models.hub import is_hub_name
from pixelwise.runtime.disk_list import DiskList
from pixelwise.runtime.files import expand_home
from pixelwise.runtime.text_index import TextIndex
from pixelwise.runtime.windows import portable_name

ImageSource = Path | UrlImage
"""An image file to predict."""


@dataclass(frozen=True)
class FoundImages:
    """Result of `find_images`.

    Attributes:
        images: for each image, (its file, its name for output files). The name is the path relative to the source,
            without suffix. Names are not unique. `find_images` gives a sequence that is read from a file.
        problems: the errors of all sources. There is one for each directory without images, for each folder that
            cannot be read, for each source with files that can contain images but are not supported (such as raw
            images of cameras), and for each named pipe, socket or dangling link without the suffix of an image.
        notes: one line for each source that has other files, such as tables, or images without the suffix of an image.
    """

    images: Sequence[tuple[ImageSource, Path]]
    problems: tuple[DataError, ...] = ()
    notes: tuple[str, ...] = ()


def find_images(sources: Sequence[str | Path]) -> FoundImages:
    """Find the image files among files, directories, patterns and URLs.

    A directory is searched at any depth for files with the suffixes that training reads, for other files that are
    images by their content, and for videos if PyAV is installed. Outputs of earlier predictions, run directories, and
    the masks of a data set beside its images are left out. A source that is a file is used with any suffix. An image is
    returned once.

    Args:
        sources: files, directories, patterns such as "images/*.jpg" ("**" stands for any folders), and URLs of images,
            of folders and of patterns, see `find_at_url`. If a file or directory exists under the name of a pattern, it
            is used instead of the pattern.

    Returns:
        The images, the errors, and the notes.

    Raises:
        DataError: A source is missing, matches no file or is a folder of masks, or a URL is not allowed.
    """
    found = [_find(source) for source in sources]
    images: DiskList[tuple[ImageSource, Path]] = DiskList()
    seen = TextIndex()
    for each in found:
        for file, name in each.images:
            key = str(file.absolute()) if isinstance(file, Path) else str(file)
            if key not in seen:
                seen.add(key)
                images.append((file, name))
    problems = tuple(problem for each in found for problem in each.problems)
    return FoundImages(images, problems, tuple(note for each in found for note in each.notes))


def has_images(source: str) -> bool:
    """Return True if a source is an image or a video by its name or content, or contains one, or is a URL.

    Args:
        source: see `find_images`. The images in runs of a directory do not count.
    """
    if "://" in source:
        return not is_hub_name(source)
    try:
        path = expand_home(source)
        if path.is_file():
            return bool(sort_files(path.parent, {"": [path.name]}, keep_masks=True).images)
        return bool(_find(source).images)
    except DataError:
        return False


def _find(source: str | Path) -> FoundImages:
    if isinstance(source, str) and "://" in source:
        if names_many(source):
            files, left_out = find_at_url(source)
            return FoundImages(files, notes=(f"{source}: left out: {left_out}",) if left_out else ())
        file = open_image_url(source)
        if isinstance(file, Path):
            return _find(file)
        return FoundImages(((file, _name(portable_name(unquote(file.name)))),))
    path = expand_home(source)
    if path.is_dir():
        problems: list[DataError] = []
        return _search(path, list_files(path, on_error=problems.append), problems)
    if path.exists():
        return FoundImages(((path, _name(path.name)),))
    if glob.has_magic(str(path)) and (matches := _matches(str(path))):
        return _search_matches(path, matches)
    raise DataError(_missing(path))


def _name(file: str) -> Path:
    """Return the name of an image for its output files."""
    return Path(file.replace("/", "_") or "image").with_suffix("")


def _search(source: Path, listing: Listing, problems: Sequence[DataError]) -> FoundImages:
    """Find the images of a directory.

    Args:
        source: the directory.
        listing: its files.
        problems: the errors of its folders.
    """
    files = sort_files(source, listing)
    if not files.images:
        left_out = files.left_out()
        content = f"only {left_out}" if left_out else "it is empty"
        empty = DataError(f"{source}: no images in this directory ({content})")
        return FoundImages((), (*problems, *files.special) or (empty,))
    check_no_masks(source, files.images)
    return _result(files, problems)


def _search_matches(pattern: Path, matches: Sequence[Path]) -> FoundImages:
    """Find the images among the files that match a pattern, and in the directories that match it."""
    parts = pattern.parts
    root = Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    listing: Listing = {}
    problems: list[DataError] = []
    for path in matches:
        folder = path.relative_to(root) if root != Path() else path
        if path.is_dir():
            for inside, names in list_files(path, on_error=problems.append).items():
                listing[(folder / inside).as_posix().removeprefix("./")] = names
        else:
            parent = folder.parent.as_posix()
            listing.setdefault("" if parent == "." else parent, []).append(path.name)
    listing = {folder: sorted(set(names)) for folder, names in sorted(listing.items())}
    files = sort_files(root, listing, keep_masks=True)
    if not files.images:
        raise DataError(f"{pattern}: no file that matches is an image (only {files.left_out() or 'special files'})")
    return _result(files, problems)


def _matches(pattern: str) -> list[Path]:
    """Return the files that match a pattern. If none does, "[" and "]" stand for themselves."""
    # `Path.glob` needs a folder without a pattern, and does not match absolute patterns.
    literal = pattern.replace("[", "[[]")
    found = glob.glob(pattern, recursive=True) or glob.glob(literal, recursive=True)  # noqa: PTH207
    return sorted(map(Path, found))


def _result(files: FolderFiles, problems: Sequence[DataError]) -> FoundImages:
    images = DiskList((path, path.relative_to(files.root).with_suffix("")) for path in files.images)
    left_out, by_content = files.left_out(), files.images_by_content()
    notes = [f"{files.root}: {by_content}"] if by_content else []
    problems = [*problems, *files.special]
    if files.unreadable:
        problems.append(DataError(f"{files.root}: {left_out}"))
    elif left_out:
        notes.append(f"{files.root}: left out: {left_out}")
    return FoundImages(images, tuple(problems), tuple(notes))


def _missing(path: Path) -> str:
    """Return the message about a missing file or a pattern without matches, with a similar name if there is one."""
    folder = path.parent
    if glob.has_magic(str(path)):
        there = f"; {folder} has no such file" if folder.is_dir() else ""
        return f"{path}: no file matches this pattern{there}"
    if not folder.is_dir():
        return f"{path}: no such file or directory ({folder} does not exist)"
    names: list[str] = []
    with suppress(OSError):  # no permission
        names = [entry.name for entry in folder.iterdir()]
    near = get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
    return f"{path}: no such file or directory{hint}"
