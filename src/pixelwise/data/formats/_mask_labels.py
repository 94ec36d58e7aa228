"""Decision if the mask files of an image are one per class or one per object, with an error for ambiguous files."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from pixelwise.data.formats._filesystem import ImageFile, abbreviate
from pixelwise.data.formats._mask_patterns import advice, as_choices, find_patterns, several_folders
from pixelwise.data.formats._matches import Matches, Roles
from pixelwise.data.formats._stems import SEPARATORS, role_of_stem, strip_role_words
from pixelwise.errors import AmbiguousDataError, DataError

_NUMBER = re.compile(r"\d+(?:st|nd|rd|th)?|\b(?:first|second|third|fourth)\b")

_PERSON = re.compile(
    r"annotator|rater|expert|observer|reader|grader|labell?er|radiologist|manual|"
    r"\d(?:st|nd|rd|th)|\b(?:first|second|third|[a-d])\b"
)
"""Pattern of labels (see `Matches`) that name the annotator of a mask. The masks of several annotators show the same
objects, so only one of them can be used."""

_CLASS_NUMBER = re.compile(r"(?:class|cls|category|cat|label|c)[-_ ]?#")

_ONE_FILE_AN_OBJECT = "several mask files of one image are united, as each is one object"


@dataclass
class Pairs:
    """Images with their masks. Each image is a key of one of `masks`, `merged` and `by_class`.

    Attributes:
        masks: image → its only mask.
        merged: image → its mask files, one per object. They are united to one mask.
        by_class: for multi-label data, image → class name → the files of that class.
        unmatched_masks: masks without an image.
        decisions: one line per decision, for the user.
    """

    masks: dict[ImageFile, ImageFile] = field(default_factory=dict)
    merged: dict[ImageFile, tuple[ImageFile, ...]] = field(default_factory=dict)
    by_class: dict[ImageFile, dict[str, tuple[ImageFile, ...]]] = field(default_factory=dict)
    unmatched_masks: list[ImageFile] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    def __contains__(self, image: object) -> bool:
        return image in self.masks or image in self.merged or image in self.by_class

    def __bool__(self) -> bool:
        return bool(self.masks or self.merged or self.by_class)

    def files(self) -> list[ImageFile]:
        """Return the files of all masks."""
        several = (*self.merged.values(), *(files for each in self.by_class.values() for files in each.values()))
        return [*self.masks.values(), *(file for files in several for file in files)]


def to_pairs(matches: Matches, roles: Roles, instances: bool = False) -> Pairs:
    """Decide if several masks of one image are one per class or one per object.

    The decision depends on the labels of the files (see `Matches`). If many images have the same labels (001_disc.png,
    001_box.png), or the labels are names of folders, there is one file per class. If almost all labels are unique, or
    they are consecutive numbers and images differ in the number of masks, there is one file per object. The files of
    the objects are united. Files of several annotators and other ambiguous files raise an error.

    Args:
        matches: images with all their masks.
        roles: the roles of the folders.
        instances: True if the user states that each file is one object.

    Returns:
        The images with their masks.

    Raises:
        AmbiguousDataError: The masks of an image are of several annotators or are ambiguous.
        DataError: An image has several masks of the same name in one folder.
    """
    pairs = Pairs(unmatched_masks=matches.unmatched, decisions=[matches.note] if matches.note else [])
    if all(len(masks) == 1 for masks in matches.masks.values()) and not matches.by_folder:
        pairs.masks = {image: masks[0] for image, masks in matches.masks.items()}
    elif matches.by_folder:
        pairs.by_class = {image: _one_per_folder(image, matches, roles) for image in matches.masks}
    elif instances:
        _merge(pairs, matches)
    elif not matches.labels:
        for image, masks in matches.masks.items():
            if len(masks) > 1:
                _raise_several_masks(image, masks, matches, roles)
    else:
        _settle_labels(pairs, matches, roles)
    return pairs


def _one_per_folder(image: ImageFile, matches: Matches, roles: Roles) -> dict[str, tuple[ImageFile, ...]]:
    """Return class name → mask files for an image whose masks are in one folder per class."""
    masks = matches.masks[image]
    persons = sorted(mask.folder for mask in masks if _PERSON.search(matches.labels[mask].casefold().replace("_", " ")))
    if len({roles[mask.folder].base for mask in masks}) > 1 or len(persons) > 1:
        _raise_several_masks(image, masks, matches, roles)
    by_class: dict[str, tuple[ImageFile, ...]] = {}
    for mask in masks:
        name = matches.labels[mask]
        if name in by_class:
            _raise_several_masks(image, [*by_class[name], mask], matches, roles)
        by_class[name] = (mask,)
    return by_class


def _raise_several_masks(image: ImageFile, masks: Sequence[ImageFile], matches: Matches, roles: Roles) -> NoReturn:
    """Raise the error for an image with several masks. If they are in several folders, the error names these."""

    def base(mask: ImageFile) -> str:
        return roles[mask.folder].base or mask.folder

    name_of = base if len({base(mask) for mask in masks}) > 1 else lambda mask: mask.folder
    folders: dict[str, list[ImageFile]] = {name: [] for name in sorted(map(name_of, masks))}
    if len(folders) < 2:
        raise DataError(f"{image}: has {len(masks)} masks ({abbreviate(masks)}); keep one, and move the others away")
    # The folders of the other splits have the same last part: training/manual1 and test/manual1.
    last_parts = {name.rpartition("/")[2]: name for name in folders}
    for mask in (mask for each in matches.masks.values() for mask in each):
        if name := last_parts.get(name_of(mask).rpartition("/")[2]):
            folders[name].append(mask)
    raise several_folders(folders, image)


def _merge(pairs: Pairs, matches: Matches) -> None:
    """Add the masks to `pairs` as one file per object."""
    for image, masks in matches.masks.items():
        pairs.merged[image] = tuple(masks)
    image, masks = max(matches.masks.items(), key=lambda item: len(item[1]))
    pairs.decisions.append(f"{_ONE_FILE_AN_OBJECT}: {image} has {len(masks)}")


def _settle_labels(pairs: Pairs, matches: Matches, roles: Roles) -> None:
    """Add the masks to `pairs` as one file per class or one per object, by the labels of the files. See `to_pairs`."""
    labels = _short_labels(matches)
    images_with = Counter(label for masks in matches.masks.values() for label in {labels[mask] for mask in masks})
    forms = {label: _NUMBER.sub("#", label) for label in images_with}
    numbered = defaultdict(list)
    for label, form in forms.items():
        if "#" in form and not _CLASS_NUMBER.fullmatch(form):
            numbered[form].append(label)
    unique = sum(count == 1 for count in images_with.values())
    if len(matches.masks) > 1 and unique > 0.9 * len(images_with) and len(images_with) > len(matches.masks):
        _merge(pairs, matches)  # unique names, for example hashes
    elif any(not label or _is_person(label) for label in images_with):
        _ask(matches, labels)
    elif {_word(form) for form in forms.values()} == {_word(form) for form in numbered} and len(numbered) == 1:
        if _counts_objects(matches, labels):
            _merge(pairs, matches)
        else:
            _ask(matches, labels)
    elif any(map(_says_mask, images_with)) or (
        len(matches.masks) > 1 and unique > 0.5 * len(images_with) and not numbered
    ):
        _ask(matches, labels)
    else:
        name_of = {label: _word(form if form in numbered else label) for label, form in forms.items()}
        if "" in name_of.values():
            _ask(matches, labels)
        _split_by_class(pairs, matches, lambda mask: name_of[labels[mask]])


def _short_labels(matches: Matches) -> dict[ImageFile, str]:
    """Return the labels in lower case, without words for masks at the beginning or end and without a common prefix."""
    labels = {}
    for mask, label in matches.labels.items():
        short = label.casefold()
        labels[mask] = short if role_of_stem(short) else strip_role_words(short, "masks").strip(SEPARATORS)
    parts = [re.split(r"(?<=[-_ .])", label, maxsplit=1) for label in set(labels.values())]
    # The labels of NAME_class_disc and NAME_class_box share the first word. It is not part of the class names.
    have_word = len(parts) > 1 and len({part[0] for part in parts}) == 1 and all(len(part) == 2 for part in parts)
    if have_word and not any(part[1].isdigit() for part in parts):
        return {mask: label[len(parts[0][0]) :] for mask, label in labels.items()}
    return labels


def _is_person(label: str) -> bool:
    """Return True if a label names an annotator."""
    return _PERSON.search(re.sub(r"[-_.]+", " ", label)) is not None


def _word(form: str) -> str:
    """Return a label without its number: mask_# → mask."""
    return form.replace("#", "").strip(SEPARATORS)


def _says_mask(label: str) -> bool:
    """Return True if the whole label is a word for masks, such as "mask" or "label", without a number."""
    return role_of_stem(label) == "masks" and not any(letter.isdigit() for letter in label)


def _counts_objects(matches: Matches, labels: Mapping[ImageFile, str]) -> bool:
    """Return True if each image has the numbers 0, 1, … or 1, 2, …, and images differ in the number of masks.

    A label without a number counts as 0, for example the first of mask and mask_1.
    """
    lengths = set()
    for masks in matches.masks.values():
        found = [re.search(r"\d+", labels[mask]) for mask in masks]
        numbers = sorted(int(digits[0]) if digits else 0 for digits in found)
        if numbers not in (list(range(len(masks))), list(range(1, len(masks) + 1))):
            return False
        lengths.add(len(numbers))
    return len(lengths) > 1


def _split_by_class(pairs: Pairs, matches: Matches, name_of: Callable[[ImageFile], str]) -> None:
    """Add the masks to `pairs` as one or several files per class."""
    for image, masks in matches.masks.items():
        by_class: dict[str, tuple[ImageFile, ...]] = {}
        for mask in masks:
            by_class[name_of(mask)] = (*by_class.get(name_of(mask), ()), mask)
        pairs.by_class[image] = by_class
    names = sorted({name for by_class in pairs.by_class.values() for name in by_class})
    example = next(iter(matches.masks.values()))[0]
    pairs.decisions.append(f"each class has its own mask files ({', '.join(names[:20])}), for example {example}")


def _ask(matches: Matches, labels: Mapping[ImageFile, str]) -> NoReturn:
    """Raise the error for files that can be of several annotators or one per object."""
    image, masks = max(matches.masks.items(), key=lambda item: len(item[1]))
    by_label: dict[str, list[ImageFile]] = defaultdict(list)
    for mask, label in sorted(matches.labels.items(), key=lambda item: item[1]):
        by_label[label].append(mask)
    is_shared = 2 * min(map(len, by_label.values())) >= len(matches.masks)  # most images have a mask of each label
    patterns = find_patterns(by_label, use_names=True) if is_shared else []
    raise AmbiguousDataError(
        f"{image}: has {len(masks)} masks ({abbreviate([mask.name for mask in masks])}), which differ in "
        f"{abbreviate(by_label, 6)}; if they are of several annotators, {advice(patterns)}move all but one mask of "
        "each image away; if each is one object, set `instances`",
        [*as_choices(patterns), {"instances": True}],
    )
