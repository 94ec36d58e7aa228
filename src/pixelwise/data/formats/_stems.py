"""File stems of images and masks: the part that an image and its mask have in common, and the part that differs."""

import re
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from pixelwise.data.formats._filesystem import ImageFile

StemKey = Callable[[ImageFile], str]
"""File → the part of its stem that an image and its mask have in common."""

_MASK_WORDS = (
    r"masks?|seg(?:ment(?:ation)?)?s?|label(?:s|map|(?:train)?ids)?|lbl|gt(?:fine)?|ground[-_ ]?truth|"
    r"annot(?:ation)?s?|anno?|targets?|trimap|matte"
)

_IMAGE_WORDS = r"images?|img|im|photo|pic(?:ture)?|rgb|colou?r|sat|input|orig(?:inal)?|raw|leftimg8bit|0000"

_ENDING = r"(?:(?:[-_ .]+|(?<=\d))(?:{}))+$"
_BEGINNING = r"^(?:{})(?:[-_ .]+|(?=\d))"

_MASK_AFFIX = re.compile(f"{_ENDING.format(_MASK_WORDS)}|{_BEGINNING.format(_MASK_WORDS)}", re.IGNORECASE)
_IMAGE_AFFIX = re.compile(f"{_ENDING.format(_IMAGE_WORDS)}|{_BEGINNING.format(_IMAGE_WORDS)}", re.IGNORECASE)
_NUMBERED_MASK = re.compile(rf"[-_ .]+(?:{_MASK_WORDS})[-_ .]*\d+$", re.IGNORECASE)
_WHOLE_MASK = re.compile(rf"(?:{_MASK_WORDS})(?:[-_ .]*\d+)?", re.IGNORECASE)
_WHOLE_MASK_WORD = re.compile(_MASK_WORDS, re.IGNORECASE)
_WHOLE_IMAGE = re.compile(rf"(?:{_IMAGE_WORDS})", re.IGNORECASE)
_SECOND_SUFFIX = re.compile(r"\.(?:jpe?g|png|bmp|webp|tiff?)(?=$|[-_.])", re.IGNORECASE)

SEPARATORS = "-_. "
"""Characters between the parts of a stem."""


@lru_cache(maxsize=1 << 18)
def strip_role_words(stem: str, role: Literal["images", "masks"]) -> str:
    """Return a file's stem without the words for its role at the beginning or end.

    Args:
        stem: the file name without suffix.
        role: the role of the file.

    Returns:
        The rest of the stem, without a suffix inside it (a.jpg.png). The stem itself if nothing would be left.

    >>> strip_role_words("001_mask", "masks"), strip_role_words("855_sat", "images")
    ('001', '855')
    """
    if "." in stem:
        stem = _SECOND_SUFFIX.sub("", stem)  # a.jpg.png, a.jpg_mask.png
    return (_MASK_AFFIX if role == "masks" else _IMAGE_AFFIX).sub("", stem, count=1) or stem


def has_mask_word(stem: str) -> bool:
    """Return True if a file's stem begins or ends with a word for masks and has other parts too.

    >>> has_mask_word("1_mask"), has_mask_word("1_mask_2"), has_mask_word("mask"), has_mask_word("1")
    (True, True, False, False)
    """
    match = _MASK_AFFIX.search(stem) or _NUMBERED_MASK.search(stem)
    return match is not None and match.group() != stem


def mask_word_of(stem: str) -> str:
    """Return the word for masks at the end of a stem, with the number after it. Return "" if there is none.

    >>> mask_word_of("benign (3)_mask_1"), mask_word_of("benign (3)_mask"), mask_word_of("cat")
    ('mask_1', 'mask', '')
    """
    match = _NUMBERED_MASK.search(stem) or _MASK_AFFIX.search(stem)
    return match[0].strip(SEPARATORS) if match and match.end() == len(stem) else ""


def role_of_stem(stem: str) -> Literal["images", "masks"] | None:
    """Return the role of a file whose stem is only a word for images, or a word for masks with or without a number.

    Return None for other stems.

    >>> role_of_stem("mask_2"), role_of_stem("image"), role_of_stem("cat_mask")
    ('masks', 'images', None)
    """
    if _WHOLE_MASK.fullmatch(stem):
        return "masks"
    return "images" if _WHOLE_IMAGE.fullmatch(stem) else None


def stem_keys(images: Sequence[ImageFile]) -> list[tuple[StemKey, StemKey]]:
    """Return the pairs of functions that make the stems of an image and its mask equal.

    Words such as "img" or "0000" are removed from the stems of images only if all images have such a word. So
    `frame_0000.jpg` next to `frame_0001.jpg` keeps its number.

    Args:
        images: all images of the data set.

    Returns:
        (key of images, key of masks) in the order in which they are tried.
    """

    def plain(file: ImageFile) -> str:
        return file.stem

    def mask_stem(file: ImageFile) -> str:
        return strip_role_words(file.stem, "masks")

    def image_stem(file: ImageFile) -> str:
        return strip_role_words(file.stem, "images")

    def numbered_mask_stem(file: ImageFile) -> str:
        return _NUMBERED_MASK.sub("", file.stem)

    keys: list[tuple[StemKey, StemKey]] = [(plain, plain), (plain, mask_stem), (plain, numbered_mask_stem)]
    if all(image_stem(image) != image.stem for image in images):
        keys.append((image_stem, mask_stem))
    return [*keys, *((_casefold(image_key), _casefold(mask_key)) for image_key, mask_key in keys[1:])]


def _casefold(key: StemKey) -> StemKey:
    return lambda file: key(file).casefold()


def affix_keys(images: Sequence[ImageFile], masks: Sequence[ImageFile]) -> list[tuple[StemKey, StemKey, bool]]:
    """Return keys without the beginning and ending that all images have in common, and without that of all masks.

    The keys in order:

    1. the part of the stem between the beginning and the ending that all files have in common;
    2. the same part, compared as a number (img_001 and 1);
    3. the part between the beginning and the ending of each folder (21_training in one, 01_test in the other);
    4. the same part, compared as a number;
    5. the stem without words for images and masks at any position.

    Args:
        images: all images of the data set.
        masks: all masks of the data set.

    Returns:
        (key of images, key of masks, True if the keys are numbers), in the order in which they are tried.
    """
    keys: list[tuple[StemKey, StemKey, bool]] = []
    for by_folder in (False, True):
        image_key, mask_key = _core_key(images, by_folder), _core_key(masks, by_folder)
        keys += [(image_key, mask_key, False), (_number(image_key), _number(mask_key), True)]
    return [*keys, (_without_words("images"), _without_words("masks"), False)]


def _without_words(role: Literal["images", "masks"]) -> StemKey:
    """Return a key that removes the words for a role at any position: a_img_1 and a_mask_1."""
    word = _WHOLE_MASK_WORD if role == "masks" else _WHOLE_IMAGE
    return lambda file: "_".join(
        part for part in re.split(r"[-_ .]+", file.stem.casefold()) if not word.fullmatch(part)
    )


def _core_key(files: Sequence[ImageFile], by_folder: bool) -> StemKey:
    groups: dict[str, list[str]] = defaultdict(list)
    for file in files:
        groups[file.folder if by_folder else ""].append(file.stem)
    affixes = {folder: _common_affixes(stems) for folder, stems in groups.items()}

    def core(file: ImageFile) -> str:
        beginning, ending = affixes[file.folder if by_folder else ""]
        return file.stem.removeprefix(beginning).removesuffix(ending).casefold()

    return core


def _common_affixes(stems: Sequence[str]) -> tuple[str, str]:
    """Return the beginning ("word_") and the ending ("_word") that all stems have in common.

    Each is "" if there is none, or if there are fewer than two stems.
    """
    if len(stems) < 2:
        return "", ""
    beginning = _common_beginning(stems)
    # Keep a word directly in front of numbers (img1, img2). Cut any other beginning after its last separator: img_10
    # and img_11 have "img_" in common and not "img_1".
    if not (beginning[-1:].isalpha() and all(stem[len(beginning) :][:1].isdigit() for stem in stems)):
        beginning = beginning[: max((beginning.rfind(each) for each in SEPARATORS), default=-1) + 1]
    if not any(letter.isalpha() for letter in beginning):
        beginning = ""
    rests = [stem.removeprefix(beginning)[::-1] for stem in stems]
    end = _common_beginning(rests)[::-1]
    cut = min((index for index in map(end.find, SEPARATORS) if index >= 0), default=-1)
    ending = end[cut:] if cut >= 0 and any(letter.isalpha() for letter in end[cut:]) else ""
    return beginning, ending


def _common_beginning(texts: Sequence[str]) -> str:
    pairs = zip(min(texts), max(texts), strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _number(key: StemKey) -> StemKey:
    """Return a key that ignores leading zeros of a number. A text that is not a number never equals a number."""

    def number(file: ImageFile) -> str:
        text = key(file)
        return str(int(text)) if text.isascii() and text.isdigit() else f"/{text}"

    return number


def split_labels(
    masks: Sequence[ImageFile], bases: Callable[[ImageFile], Mapping[str, ImageFile]]
) -> list[tuple[ImageFile, str, ImageFile]] | None:
    """Split the stems of all masks into the stem of an image and a label: 001_disc, or disc_001.

    Args:
        masks: the masks.
        bases: mask → the images that it can belong to, by their stems as `base_of` returns them.

    Returns:
        (image, label, mask) for each mask. The image is the one with the longest stem that fits. The label can be "".
        None if a mask belongs to no image, or if some labels come before the image's stem and others after it.
    """
    for is_ending in (True, False):
        found = [(_split_label(mask.stem, bases(mask), is_ending), mask) for mask in masks]
        split = [(*match, mask) for match, mask in found if match is not None]
        if len(split) == len(masks):
            return split
    return None


def base_of(stem: str) -> str:
    """Return a stem in lower case, or a number without leading zeros, for comparison with parts of other stems.

    >>> base_of("IMG_1"), base_of("007")
    ('img_1', '7')
    """
    return str(int(stem)) if stem.isascii() and stem.isdigit() else stem.casefold()


def _split_label(stem: str, bases: Mapping[str, ImageFile], is_ending: bool) -> tuple[ImageFile, str] | None:
    if (whole := base_of(stem)) in bases:
        return bases[whole], ""
    cuts = [index for index, letter in enumerate(stem) if letter in f"{SEPARATORS}("]
    for cut in reversed(cuts) if is_ending else cuts:
        base, label = (stem[:cut], stem[cut:]) if is_ending else (stem[cut + 1 :], stem[:cut])
        image = bases.get(base_of(base))
        if image is not None and (is_ending or not any(letter.isdigit() for letter in label)):
            return image, label.strip(f"{SEPARATORS}()")
    return None


def extends_stem(file: ImageFile, stems: Container[tuple[str, str]]) -> bool:
    """Return True if the name of a file starts with that of another file in its folder and a separator: 1_a.png for 1.

    Args:
        file: the file.
        stems: (folder, stem) of the other files.
    """
    cuts = (cut for cut, letter in enumerate(file.stem) if letter in SEPARATORS)
    return any((file.folder, file.stem[:cut]) in stems for cut in cuts)
