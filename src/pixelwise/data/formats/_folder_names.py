"""The role (images or masks) and the split that the names of folders and files state."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
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

# Words that can stand beside the words for images, masks and splits: img_dir, training_data.
_OTHER_WORDS = "png|dir|directory|folder|file|dataset|data|set"
_ROLE = f"(?:(?:{_IMAGE_FOLDERS}|{_MASK_FOLDERS}|{_OTHER_WORDS})s?)+|[xy]"
_SPLIT = "|".join(SPLIT_WORDS)
# A split of two letters in front of a role needs a separator: "trim" is not the split "tr" and the role "im".
_LONG_SPLIT = "|".join(word for word in SPLIT_WORDS if len(word) > 2)
_SEPARATORS = re.compile(r"[-_ .]+")

_FOLDER = re.compile(
    f"(?P<before>{_LONG_SPLIT})?(?P<role>{_ROLE})|(?P<role2>{_ROLE})(?P<after>{_SPLIT})|(?P<alone>{_SPLIT})"
)

_MASK_WORD = re.compile(_MASK_FOLDERS)
_IMAGE_WORD = re.compile(_IMAGE_FOLDERS)


@lru_cache(maxsize=10_000)
def _parse(name: str) -> tuple[Split | None, str]:
    """Return the split in a folder's name, and the words for images or masks in the name ("" if there are none)."""
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
    """Return the split and the role that a folder's name states. Each is None if the name does not state it.

    >>> [parse_folder_name(name) for name in ("Images", "trainannot", "val_masks", "testing", "cats")]
    [(None, 'images'), ('train', 'masks'), ('val', 'masks'), ('test', None), (None, None)]
    """
    split, word = _parse(name)
    role: Role | None = None
    if word == "y" or _MASK_WORD.search(word):
        role = "masks"
    elif word == "x" or _IMAGE_WORD.search(word):
        role = "images"
    return split, role


def strip_split(name: str) -> str:
    """Return a folder's name without the word for a split.

    >>> strip_split("trainannot"), strip_split("cats")
    ('annot', 'cats')
    """
    split, word = _parse(name)
    return word if split or word else name


def without_split(name: str) -> str:
    """Return a folder's name in a form that is equal for the corresponding folders of all splits.

    >>> without_split("train_masks"), without_split("DUTS-TR"), without_split("testing"), without_split("cats")
    ('masks', 'duts-*', '', 'cats')
    """
    split, role = parse_folder_name(name)
    if split:
        return strip_split(name) if role else ""

    def mark(match: re.Match[str]) -> str:
        is_split = match[0] in _SHORT_WORDS or (len(match[0]) > 2 and parse_folder_name(match[0])[0])
        return "*" if is_split else match[0]

    return re.sub("[a-z]+", mark, name.casefold()) if role is None else name


@lru_cache(maxsize=10_000)
def split_of(path: str) -> Split | None:
    """Return the first split that a folder's path or a file's stem names, or None if it names none.

    >>> split_of("coco/train2017"), split_of("instances_val"), split_of("cats")
    ('train', 'val', None)
    """
    for part in path.split("/"):
        for word in (part, *re.findall("[a-z]+", part.casefold())):
            split = parse_folder_name(word)[0]
            if split:
                return split
    return None


@lru_cache(maxsize=10_000)
def words_in_name(name: str) -> tuple[Split | None, Role | None]:
    """Return the split and the role of a name that has other words too.

    Words of one or two letters are ignored. `folder_roles` decides if the split and the role are used.

    >>> words_in_name("ISIC2018_Task1-2_Training_Input"), words_in_name("stage1_test"), words_in_name("trainer")
    (('train', 'images'), ('test', None), (None, None))
    """
    parsed = [parse_folder_name(word) for word in re.split(r"[^a-z]+", name.casefold()) if len(word) > 2]
    roles = {role for _, role in parsed}
    role: Role | None = "masks" if "masks" in roles else "images" if "images" in roles else None
    return next((split for split, _ in parsed if split), None), role


@dataclass(frozen=True)
class FolderRole:
    """The role and the split that the path of a folder names.

    Attributes:
        role: images or masks. None if no part of the path names a role.
        split: the split, or None if no part of the path names one.
        base: the path down to the part that names the role. "" if `role` is None.
        rest: the parts of the path that do not give the role or the split. An image and its mask have them in common.
        unclear: the first part of the path with a word for a split among other words, if `split` is None. Else "".
    """

    role: Role | None
    split: Split | None
    base: str
    rest: tuple[str, ...]
    unclear: str = ""


@dataclass(frozen=True)
class _Part:
    """The split and the role of one part of a path. `exact` is False if the name of the part has other words too."""

    split: Split | None
    role: Role | None
    exact: bool = True


def folder_roles(folders: Iterable[str]) -> dict[str, FolderRole]:
    """Determine the roles of all folders of a data set together.

    If several parts of a path name a role, the first part with a sibling folder of the other role is used. If there is
    no such part, the last part is used.

    Names with other words (ISIC2018_Task1-2_Training_Input) count as splits if the data set has two splits or more.
    They count as roles if no other folder names masks.

    Args:
        folders: paths relative to the root of the data set, see `Listing`.

    Returns:
        Folder → its role.

    >>> folder_roles(["images/color", "masks/color"])["masks/color"]
    FolderRole(role='masks', split=None, base='masks', rest=('color',), unclear='')
    """
    paths = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    parts = _parse_parts({part for path in paths.values() for part in path})
    roles_in: dict[tuple[str, ...], set[Role]] = defaultdict(set)
    for path in paths.values():
        for index, name in enumerate(path):
            part = parts[name]
            if part.role:
                roles_in[path[:index]].add(part.role)
            elif part.split:  # train/ has the images if it is next to trainannot/
                roles_in[path[:index]].add("images")
    return {folder: _folder_role(path, [parts[name] for name in path], roles_in) for folder, path in paths.items()}


def _parse_parts(names: Iterable[str]) -> dict[str, _Part]:
    """Return the split and the role of each name. See `folder_roles` for the use of names with other words."""
    exact = {name: parse_folder_name(name) for name in names}
    words = {name: words_in_name(name) for name, parsed in exact.items() if parsed == (None, None)}
    words |= {name: (split, words[name][1]) for name, split in _short_splits(words).items()}
    words |= {name: (split, words[name][1]) for name, split in _joined_splits(words).items()}
    use_splits = len({split for split, _ in (*exact.values(), *words.values()) if split}) > 1
    use_roles = not any(role == "masks" for _, role in exact.values())
    parts = {name: _Part(*parsed) for name, parsed in exact.items()}
    for name, (split, role) in words.items():
        parts[name] = _Part(split if use_splits else None, role if use_roles else None, exact=False)
    return parts


_JOINED = re.compile(f"({'|'.join(sorted(_LONG_SPLIT.split('|'), key=len, reverse=True))})([a-z].*)")


def _joined_splits(names: Iterable[str]) -> dict[str, Split]:
    """Return the splits of names that differ only in a word for a split at their beginning: traincrop and valcrop."""
    found: dict[str, dict[str, Split]] = defaultdict(dict)
    for name in names:
        if match := _JOINED.fullmatch(name.casefold()):
            found[match[2]][name] = SPLIT_WORDS[match[1]]
    return {name: split for each in found.values() if len(set(each.values())) > 1 for name, split in each.items()}


_SHORT_WORDS: dict[str, Split] = {"tr": "train", "va": "val", "te": "test", "ts": "test"}


def _short_splits(names: Iterable[str]) -> dict[str, Split]:
    """Return the splits of names that differ only in a two-letter word for a split: DUTS-TR and DUTS-TE."""
    found: dict[str, dict[str, Split]] = defaultdict(dict)
    for name in names:
        words = re.split(r"([^a-z]+)", name.casefold())
        short = [index for index, word in enumerate(words) if word in _SHORT_WORDS]
        if len(short) == 1 and len(words) > 1:
            template = "".join("*" if index in short else word for index, word in enumerate(words))
            found[template][name] = _SHORT_WORDS[words[short[0]]]
    return {name: split for each in found.values() if len(set(each.values())) > 1 for name, split in each.items()}


def _folder_role(
    path: tuple[str, ...], parts: Sequence[_Part], roles_in: dict[tuple[str, ...], set[Role]]
) -> FolderRole:
    with_role = [index for index, part in enumerate(parts) if part.role]
    paired = [index for index in with_role if len(roles_in[path[:index]]) == 2]
    role_index = paired[0] if paired else with_role[-1] if with_role else -1
    with_split = sorted((not part.exact, index) for index, part in enumerate(parts) if part.split)
    split_index = with_split[0][1] if with_split else -1
    dropped = {
        split_index,
        role_index,
        *(i for i, part in enumerate(parts) if part.role and part.exact and i < role_index),
    }
    rest = tuple(name for index, name in enumerate(path) if index not in dropped)
    unclear = next((name for name in path if words_in_name(name)[0] and parse_folder_name(name)[0] is None), "")
    return FolderRole(
        parts[role_index].role if with_role else None,
        parts[split_index].split if with_split else None,
        "/".join(path[: role_index + 1]),
        rest,
        "" if with_split else unclear,
    )
