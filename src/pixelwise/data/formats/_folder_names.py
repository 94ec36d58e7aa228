"""Folder and file names: whether they are for images or for masks, and for which split."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.schema import Split

Role = Literal["images", "masks"]

_IMAGE_FOLDERS = "jpegimage|image|img|im|leftimg8bit|photo|picture|pic|colou?r|rgb|input|original|orig|raw|frame|scan"

_MASK_FOLDERS = (
    "mask|label|lbl|labelmap|annotation|annotated|annot|anno|ann|groundtruth|gtfine|gt|truth|segmentationclass|"
    "segmentation|segmented|semantic|segmap|segment|seg|target|trimap|matte"
)

_ROLE = f"(?:(?:{_IMAGE_FOLDERS}|{_MASK_FOLDERS}|png)s?)+|[xy]"
_SPLIT = "|".join(SPLIT_WORDS)
# Two letters in front of a role are a split only if a separator follows: "trim" is not train + im.
_LONG_SPLIT = "|".join(word for word in SPLIT_WORDS if len(word) > 2)
_SEPARATORS = re.compile(r"[-_ .]+")

_FOLDER = re.compile(
    f"(?P<before>{_LONG_SPLIT})?(?P<role>{_ROLE})|(?P<role2>{_ROLE})(?P<after>{_SPLIT})|(?P<alone>{_SPLIT})"
)

_MASK_WORD = re.compile(_MASK_FOLDERS)


@lru_cache(maxsize=10_000)
def _parse(name: str) -> tuple[Split | None, str]:
    """Return the split in a folder's name, and the words for images or masks in it ("" if there are none)."""
    first, *rest = _SEPARATORS.split(name.casefold())
    match = _FOLDER.fullmatch("".join([first, *rest]))
    if match is None and first in SPLIT_WORDS and rest:
        match = re.fullmatch(f"(?P<role>{_ROLE})", "".join(rest))
        return (SPLIT_WORDS[first], match["role"]) if match else (None, "")
    if match is None:
        return None, ""
    split = match["before"] or match["after"] or match["alone"]
    return SPLIT_WORDS[split] if split else None, match["role"] or match["role2"] or ""


def parse_folder_name(name: str) -> tuple[Split | None, Role | None]:
    """Return the split that a folder's name states, and whether it is a name for images or for masks.

    >>> [parse_folder_name(name) for name in ("Images", "trainannot", "val_masks", "testing", "cats")]
    [(None, 'images'), ('train', 'masks'), ('val', 'masks'), ('test', None), (None, None)]
    """
    split, word = _parse(name)
    role: Role | None = None
    if word and word != "png":
        role = "masks" if word == "y" or _MASK_WORD.search(word) else "images"
    return split, role


def strip_split(name: str) -> str:
    """Return a folder's name without the split.

    >>> strip_split("trainannot"), strip_split("cats")
    ('annot', 'cats')
    """
    split, word = _parse(name)
    return word if split or word else name


@lru_cache(maxsize=10_000)
def split_of(path: str) -> Split | None:
    """Return the split in a folder's path or in a file's stem, or None.

    >>> split_of("coco/train2017"), split_of("instances_val"), split_of("cats")
    ('train', 'val', None)
    """
    for part in path.split("/"):
        for word in (part, *re.findall("[a-z]+", part.casefold())):
            split = parse_folder_name(word)[0]
            if split:
                return split
    return None


@dataclass(frozen=True)
class FolderRole:
    """The role and the split that the path of a folder names.

    Attributes:
        role: images or masks. None if no part of the path names either.
        split: the split, or None.
        base: the path down to the part that names the role. "" without a role.
        rest: the other parts of the path, which images and their masks have in common.
    """

    role: Role | None
    split: Split | None
    base: str
    rest: tuple[str, ...]


def folder_roles(folders: Iterable[str]) -> dict[str, FolderRole]:
    """Determine the roles of all folders of a data set together.

    A path can have two parts that name a role. The part with a sibling folder of the other role is used.

    Args:
        folders: paths relative to the root of the data set, see `Listing`.

    Returns:
        Folder → its role.

    >>> folder_roles(["images/color", "masks/color"])["masks/color"]
    FolderRole(role='masks', split=None, base='masks', rest=('color',))
    """
    paths = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    roles_in: dict[tuple[str, ...], set[Role]] = defaultdict(set)
    for parts in paths.values():
        for index, part in enumerate(parts):
            split, role = parse_folder_name(part)
            if role:
                roles_in[parts[:index]].add(role)
            elif split:  # train/ next to trainannot/
                roles_in[parts[:index]].add("images")
    return {folder: _folder_role(parts, roles_in) for folder, parts in paths.items()}


def _folder_role(parts: tuple[str, ...], roles_in: dict[tuple[str, ...], set[Role]]) -> FolderRole:
    parsed = [parse_folder_name(part) for part in parts]
    with_role = [index for index, (_, role) in enumerate(parsed) if role]
    paired = [index for index in with_role if len(roles_in[parts[:index]]) == 2]
    role_index = paired[0] if paired else with_role[-1] if with_role else -1
    split_index = next((index for index, (split, _) in enumerate(parsed) if split), -1)
    rest = tuple(
        part
        for index, part in enumerate(parts)
        if index != split_index and not (index in with_role and index <= role_index)
    )
    return FolderRole(
        parsed[role_index][1] if with_role else None,
        parsed[split_index][0] if split_index >= 0 else None,
        "/".join(parts[: role_index + 1]),
        rest,
    )


_MASK_WORDS = (
    r"masks?|seg(?:ment(?:ation)?)?s?|label(?:s|map|(?:train)?ids)?|lbl|gt(?:fine)?|ground[-_ ]?truth|"
    r"annot(?:ation)?s?|anno?|targets?|trimap|matte"
)

_IMAGE_WORDS = r"images?|img|im|photo|pic(?:ture)?|rgb|colou?r|sat|input|orig(?:inal)?|raw|leftimg8bit|0000"

_ENDING = r"(?:(?:[-_ .]+|(?<=\d))(?:{}))+$"
_BEGINNING = r"^(?:{})(?:[-_ .]+|(?=\d))"

_MASK_AFFIX = re.compile(f"{_ENDING.format(_MASK_WORDS)}|{_BEGINNING.format(_MASK_WORDS)}", re.IGNORECASE)
_IMAGE_AFFIX = re.compile(f"{_ENDING.format(_IMAGE_WORDS)}|{_BEGINNING.format(_IMAGE_WORDS)}", re.IGNORECASE)
_SECOND_SUFFIX = re.compile(r"\.(?:jpe?g|png|bmp|webp|tiff?)(?=$|[-_.])", re.IGNORECASE)


def strip_role_words(stem: str, role: Role) -> str:
    """Return the part of a file's stem that an image and its mask have in common.

    Args:
        stem: the file name without suffix.
        role: whether the file is an image or a mask.

    >>> strip_role_words("001_mask", "masks"), strip_role_words("855_sat", "images")
    ('001', '855')
    """
    if "." in stem:
        stem = _SECOND_SUFFIX.sub("", stem)  # a.jpg.png, a.jpg_mask.png
    return (_MASK_AFFIX if role == "masks" else _IMAGE_AFFIX).sub("", stem, count=1) or stem


def has_mask_word(stem: str) -> bool:
    """Return True if a file's stem begins or ends with a word for masks and has other parts too."""
    match = _MASK_AFFIX.search(stem)
    return match is not None and match.group() != stem
