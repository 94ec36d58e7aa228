"""Which mask belongs to which image, by their names."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile

from pixelwise.data.formats._filesystem import ImageFile, shown
from pixelwise.data.formats._folder_names import FolderRole, strip_role_words
from pixelwise.errors import DataError

Key = tuple[str, ...] | None
"""What an image and its mask have in common; None: nothing to go by."""


StemOf = Callable[[str], str]


PartOf = Callable[[tuple[str, ...]], Key]
"""Of the folders in a path, those that an image and its mask have in common."""


@dataclass
class Pairs:
    """Images with their masks.

    Attributes:
        masks: image → its mask.
        by_class: in multi-label data, instead of `masks`: image → class → its mask.
        lone_masks: masks that have no image.
    """

    masks: dict[ImageFile, ImageFile] = field(default_factory=dict)
    by_class: dict[ImageFile, dict[str, ImageFile]] = field(default_factory=dict)
    lone_masks: list[ImageFile] = field(default_factory=list)


def pair(images: Sequence[ImageFile], masks: Sequence[ImageFile], places: Mapping[str, FolderRole]) -> Pairs:
    """Pair by relative path; else with a folder a class; else by name alone. The first way that pairs any is taken.

    Images without a mask are simply not in the answer. Raises DataError where an image has two masks, or a mask two
    images.
    """
    by_name = partial(_one_way, images, masks, places, stems=_NAMED)
    for part, class_of in ((_all, None), (_but_last, _last), (_but_first, _first)):
        found, left = by_name(_all, part)
        if found:
            return _settle(found, left, class_of, places)
    found, left = by_name(_none, _none)
    if not found:
        # What all masks have in their names and what all images have, whatever it is (21_training, 21_manual1), may
        # be left out only where each mask then has its image.
        endings = [(_without_common_end(images), _without_common_end(masks))]
        found, left = _one_way(images, masks, places, _all, _all, endings)
        if left:
            return Pairs(lone_masks=list(masks))
    return _settle(found, left, None, places)


def _same(stem: str) -> str:
    return stem


_NAMED: list[tuple[StemOf, StemOf]] = [
    (_same, _same),
    (partial(strip_role_words, role="images"), partial(strip_role_words, role="masks")),
]


def _all(rest: tuple[str, ...]) -> Key:
    return rest


def _none(rest: tuple[str, ...]) -> Key:
    return ()


def _but_first(rest: tuple[str, ...]) -> Key:
    return rest[1:] if rest else None


def _first(rest: tuple[str, ...]) -> str:
    return rest[0]


def _but_last(rest: tuple[str, ...]) -> Key:
    return rest[:-1] if rest else None


def _last(rest: tuple[str, ...]) -> str:
    return rest[-1]


def _one_way(
    images: Sequence[ImageFile],
    masks: Sequence[ImageFile],
    places: Mapping[str, FolderRole],
    of_image: PartOf,
    of_mask: PartOf,
    stems: Sequence[tuple[StemOf, StemOf]],
) -> tuple[dict[ImageFile, list[ImageFile]], list[ImageFile]]:
    """Image → masks that have the same key, and the masks that are left; by the first stems, then by the next."""
    split_both = all(any(places[each.folder].split for each in group) for group in (images, masks))

    def key(part: PartOf, stem: StemOf, image: ImageFile) -> Key:
        place = places[image.folder]
        rest = part(place.rest)
        return None if rest is None else (place.split or "" if split_both else "", *rest, stem(image.stem))

    found: dict[ImageFile, list[ImageFile]] = defaultdict(list)
    left = list(masks)
    for stem_of_image, stem_of_mask in stems:
        if not left:
            break
        by_key: dict[Key, list[ImageFile]] = defaultdict(list)
        for image in images:
            by_key[key(of_image, stem_of_image, image)].append(image)
        remaining = []
        for mask in left:
            wanted = key(of_mask, stem_of_mask, mask)
            matching = by_key.get(wanted, []) if wanted is not None else []
            if len(matching) > 1:
                raise DataError(
                    f"{mask}: two images have this mask by their names ({shown(matching)}); "
                    "move the one away that is no image of the data set"
                )
            if matching:
                found[matching[0]].append(mask)
            else:
                remaining.append(mask)
        left = remaining
    return found, left


def _settle(
    found: Mapping[ImageFile, Sequence[ImageFile]],
    left: list[ImageFile],
    class_of: Callable[[tuple[str, ...]], str] | None,
    places: Mapping[str, FolderRole],
) -> Pairs:
    """One mask an image, or one a class; anything else is an error."""
    multilabel = class_of is not None and any(len({m.folder for m in masks}) > 1 for masks in found.values())
    pairs = Pairs(lone_masks=left)
    for image, masks in found.items():
        if multilabel and class_of is not None:
            if len({places[mask.folder].base for mask in masks}) > 1:
                _refuse(image, masks, places)
            by_class: dict[str, ImageFile] = {}
            for mask in masks:
                name = class_of(places[mask.folder].rest)
                if name in by_class:
                    _refuse(image, [by_class[name], mask], places)
                by_class[name] = mask
            pairs.by_class[image] = by_class
        else:
            if len(masks) > 1:
                _refuse(image, masks, places)
            pairs.masks[image] = masks[0]
    return pairs


def _refuse(image: ImageFile, masks: Sequence[ImageFile], places: Mapping[str, FolderRole]) -> None:
    bases = sorted({places[mask.folder].base for mask in masks})
    if len(bases) > 1:
        folders = " and ".join(f"{base}/" for base in bases)
        raise DataError(f"both {folders} hold masks of the same images ({image}); move one of the folders away")
    raise DataError(f"{image}: has two masks ({shown(masks)}); move one away")


def _without_common_end(files: Sequence[ImageFile]) -> StemOf:
    """A stem without the ending "_word" that all stems share, if they do."""
    if len(files) < 2:
        return _same
    first, last = min(file.stem[::-1] for file in files), max(file.stem[::-1] for file in files)
    end = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))[::-1]
    cut = min((at for at in map(end.find, "_-. ") if at >= 0), default=-1)
    if cut < 0 or not any(letter.isalpha() for letter in end[cut:]):
        return _same
    return lambda stem: stem.removesuffix(end[cut:])
