"""What the name of a folder or a file says: images or masks, and of which split."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pixelwise.data.schema import Split

Role = Literal["images", "masks"]


_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip


_IMAGE_FOLDERS = "jpegimage|image|img|im|leftimg8bit|photo|picture|pic|colou?r|rgb|input|original|orig|raw|frame|scan"


_MASK_FOLDERS = (
    "mask|label|lbl|labelmap|annotation|annotated|annot|anno|ann|groundtruth|gtfine|gt|truth|segmentationclass|"
    "segmentation|segmented|semantic|segmap|segment|seg|target|trimap|matte"
)


_SPLIT = "train|training|val|valid|validation|dev|test|testing"


_ROLE = f"(?:(?:{_IMAGE_FOLDERS}|{_MASK_FOLDERS}|png)s?)+|[xy]"


_FOLDER = re.compile(
    f"(?P<before>{_SPLIT})?(?P<role>{_ROLE})|(?P<role2>{_ROLE})(?P<after>{_SPLIT}|tr|ts)|(?P<alone>{_SPLIT})"
)


_MASK_WORD = re.compile(_MASK_FOLDERS)


@lru_cache(maxsize=10_000)
def parse_folder_name(name: str) -> tuple[Split | None, Role | None]:
    """What the name of one folder says of a split and of what is inside.

    >>> tuple(parse_folder_name(name) for name in ("Images", "trainannot", "val_masks", "testing", "cats"))
    ((None, 'images'), ('train', 'masks'), ('val', 'masks'), ('test', None), (None, None))
    """
    match = _FOLDER.fullmatch(re.sub(r"[-_ .]", "", name.casefold()))
    if match is None:
        return None, None
    split = match["before"] or match["after"] or match["alone"]
    word = match["role"] or match["role2"]
    role: Role | None = None
    if word and word != "png":
        role = "masks" if word == "y" or _MASK_WORD.search(word) else "images"
    return _SPLITS[split] if split else None, role


def without_split(name: str) -> str:
    """The name of a folder without its split: "annot" of trainannot."""
    match = _FOLDER.fullmatch(re.sub(r"[-_ .]", "", name.casefold()))
    return (match["role"] or match["role2"] or "") if match else name


@dataclass(frozen=True)
class FolderRole:
    """What the path of a folder says of the images in it.

    Attributes:
        role: whether they are images or masks; None where no part of the path says so.
        split: of which split they are.
        base: the path down to the part that says the role; "" without a role.
        rest: the other parts, which images and their masks have in common.
    """

    role: Role | None
    split: Split | None
    base: str
    rest: tuple[str, ...]


def folder_roles(folders: Iterable[str]) -> dict[str, FolderRole]:
    """Read the paths of all folders together: of two parts that name a role, the one with a counterpart says it.

    >>> folder_roles(["images/color", "masks/color"])["masks/color"]
    Place(role='masks', split=None, base='masks', rest=('color',))
    """
    paths = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    beside: dict[tuple[str, ...], set[Role]] = defaultdict(set)
    for parts in paths.values():
        for at, part in enumerate(parts):
            split, role = parse_folder_name(part)
            if role:
                beside[parts[:at]].add(role)
            elif split:  # train/ beside trainannot/
                beside[parts[:at]].add("images")
    return {folder: _place(parts, beside) for folder, parts in paths.items()}


def _place(parts: tuple[str, ...], beside: dict[tuple[str, ...], set[Role]]) -> FolderRole:
    read = [parse_folder_name(part) for part in parts]
    named = [at for at, (_, role) in enumerate(read) if role]
    paired = [at for at in named if len(beside[parts[:at]]) == 2]
    chosen = paired[0] if paired else named[-1] if named else -1
    splitting = next((at for at, (split, _) in enumerate(read) if split), -1)
    rest = tuple(part for at, part in enumerate(parts) if at != splitting and not (at in named and at <= chosen))
    return FolderRole(
        read[chosen][1] if named else None,
        read[splitting][0] if splitting >= 0 else None,
        "/".join(parts[: chosen + 1]),
        rest,
    )


_MASK_WORDS = (
    r"masks?|seg(?:ment(?:ation)?)?s?|label(?:s|map|(?:train)?ids)?|lbl|gt(?:fine)?|ground[-_ ]?truth|"
    r"annot(?:ation)?s?|anno?|targets?|trimap|matte"
)


_IMAGE_WORDS = r"images?|img|im|photo|pic(?:ture)?|rgb|colou?r|sat|input|orig(?:inal)?|raw|leftimg8bit|0000"


_SUFFIX = r"(?:(?:[-_ .]+|(?<=\d))(?:{}))+$"


_PREFIX = r"^(?:{})(?:[-_ .]+|(?=\d))"


_OF_MASKS = re.compile(f"{_SUFFIX.format(_MASK_WORDS)}|{_PREFIX.format(_MASK_WORDS)}", re.IGNORECASE)


_OF_IMAGES = re.compile(f"{_SUFFIX.format(_IMAGE_WORDS)}|{_PREFIX.format(_IMAGE_WORDS)}", re.IGNORECASE)


_SECOND_SUFFIX = re.compile(r"\.(?:jpe?g|png|bmp|webp|tiff?)(?=$|[-_.])", re.IGNORECASE)


def strip_role_words(stem: str, role: Role) -> str:
    """The name that an image and its mask share: without what says which of the two a file is.

    >>> [strip_role_words(*each) for each in (("001_mask", "masks"), ("mask_001", "masks"), ("855_sat", "images"))]
    ('001', '001', '855')
    """
    if "." in stem:
        stem = _SECOND_SUFFIX.sub("", stem)  # a.jpg.png, a.jpg_mask.png
    return (_OF_MASKS if role == "masks" else _OF_IMAGES).sub("", stem, count=1) or stem


def has_mask_suffix(stem: str) -> bool:
    """Whether a file's own name says that it is a mask."""
    found = _OF_MASKS.search(stem)
    return found is not None and found.group() != stem
