"""Survey of the image files of a folder that cannot be read as a data set, for a report on its content."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.scan import scan
from pixelwise.data.band_ranges import measure_scale
from pixelwise.data.formats._filesystem import ImageFile, Listing, is_folder, list_files, list_images
from pixelwise.data.formats._folder_names import folder_roles
from pixelwise.data.formats._matches import Roles
from pixelwise.data.formats._stems import extends_stem, has_mask_word
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.schema import DataIssue, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress

MAX_SCANNED_IMAGES = 2000
"""Maximum number of images that are read. They are evenly spaced in the list of all images."""

MAX_FOLDERS = 12
"""Maximum number of folders with examples, those with the most image files."""

EXAMPLES_PER_FOLDER = 4
"""Maximum number of example files of a folder."""


@dataclass(frozen=True)
class FolderContent:
    """The image files of one folder.

    Attributes:
        folder: path of the folder below the data directory, "." for the directory itself.
        suffixes: suffix in lower case → number of files.
        role: "images" or "masks" if the path of the folder states it, else "".
        examples: the first `EXAMPLES_PER_FOLDER` files. If two folders have equal file names, their examples are pairs.
    """

    folder: str
    suffixes: dict[str, int]
    role: str
    examples: tuple[Path, ...]


@dataclass(frozen=True)
class FileSurvey:
    """The images and folders of a directory.

    Attributes:
        images: the statistics of the images that were read.
        folders: the `MAX_FOLDERS` folders with the most image files, in the order of their paths.
        issues: folders that cannot be listed.
        messages: notes for the user, for example that only a sample of the images was read.
    """

    images: ImageStatsTable
    folders: tuple[FolderContent, ...]
    issues: tuple[DataIssue, ...]
    messages: tuple[str, ...]


def survey_files(root: Path | RemoteFile, progress: Progress) -> FileSurvey | None:
    """Read the images of a folder, whatever its layout.

    Args:
        root: the data set.
        progress: see `Progress`.

    Returns:
        The survey. None if `root` is not a local folder, or if it has no image that can be read.
    """
    if not is_folder(root):
        return None
    issues: list[DataIssue] = []

    def add_error(error: DataError) -> None:
        path, _, fault = str(error).partition(": ")
        issues.append(DataIssue("unreadable folder", path, fault))

    listing = list_files(root, on_error=add_error)
    roles = folder_roles(listing)
    images = _find_images(list(list_images(listing)), roles)
    step = -(-len(images) // MAX_SCANNED_IMAGES)
    sample = images[:: max(1, step)]
    records = [Record(root / str(image), None) for image in sample]
    scale = measure_scale(records)
    table = ImageStatsTable(scale)
    for _, stats in scan(records, progress, scale=scale):
        table.add(replace(stats, issues=tuple(issue for issue in stats.issues if issue.kind != "missing mask")))
    if not table.modes:
        return None
    messages = [f"scanned: {len(sample)} of {len(images)} images"] if len(sample) < len(images) else []
    return FileSurvey(table, _folder_contents(root, listing, roles), tuple(issues), tuple(messages))


def _find_images(files: Sequence[ImageFile], roles: Roles) -> list[ImageFile]:
    """Select images by names and folders, without masks. If there are none, return all files."""
    stems = {(file.folder, file.stem) for file in files}
    images = [file for file in files if roles[file.folder].role == "images"]
    others = [file for file in files if roles[file.folder].role is None]
    images = images or [file for file in others if not has_mask_word(file.stem) and not extends_stem(file, stems)]
    return images or list(files)


def _folder_contents(root: Path, listing: Listing, roles: Roles) -> tuple[FolderContent, ...]:
    """Return the content of the `MAX_FOLDERS` folders with the most image files, in the order of their paths."""
    by_folder: dict[str, list[ImageFile]] = defaultdict(list)
    for file in list_images(listing):
        by_folder[file.folder].append(file)
    largest = sorted(by_folder, key=lambda folder: (-len(by_folder[folder]), folder))[:MAX_FOLDERS]
    contents = []
    for folder in sorted(largest):
        files = by_folder[folder]
        suffixes = Counter(file.name.rpartition(".")[2].lower() for file in files)
        examples = tuple(root / str(file) for file in files[:EXAMPLES_PER_FOLDER])
        contents.append(FolderContent(folder or ".", dict(suffixes.most_common()), roles[folder].role or "", examples))
    return tuple(contents)
