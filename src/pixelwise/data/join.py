"""Several data sets as one, also if their classes differ."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.label_map.options import MAX_CLASSES
from pixelwise.data.load import reorder_classes
from pixelwise.data.partial_labels import PartialLabels
from pixelwise.data.schema import LabelMap, MultilabelMask, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX, Color, Palette, background_classes, default_palette

_MADE_UP_NAME = re.compile(r"foreground|class \d+|#[0-9a-f]{6}")
"""Names that classes get if neither the data set nor the user names them."""

_MAX_NAMES = 12
"""Maximum number of class names in a message."""


def join_datasets(datasets: Sequence[DatasetIndex], classes: Sequence[str] = (), palette: Palette = ()) -> DatasetIndex:
    """Join data sets to one. Each keeps the parameters for reading its files, and its splits.

    The classes are those of all data sets, in the order in which they appear. Classes with equal names are one class.
    The backgrounds of all data sets are one class, even if their names differ ("background" and "other").

    A class that a data set lacks is unknown there. A background pixel of this data set is background or of an unknown
    class, see `PartialLabels`. If the data set has no background (see `background_class`), each of its pixels is of one
    of its own classes. In multi-label masks, the channel of an unknown class is ignored.

    Args:
        datasets: the data sets, as `load_dataset` returns them. Their task and number of channels must be equal.
        classes: the class names of the result, for example those of a model, or () for those of the data sets.
        palette: one color per class, or () for the colors of the data sets.

    Returns:
        The joined data set. Its `messages` list what is unknown in each data set, and its `sets` are `datasets`.

    Raises:
        DataError: The data sets cannot be joined, or have too many classes.
        ConfigError: An item is not a data set, or a data set has a class that is not in `classes`.

    >>> data = join_datasets([load_dataset("cats/"), load_dataset("dogs/")])  # doctest: +SKIP
    >>> run = train(data, "runs/animals")  # doctest: +SKIP
    """
    for data in datasets:
        check_index(data)
    sets = [part for data in datasets for part in (data.sets or (data,))]
    if not sets:
        raise DataError("there are no data sets to join")
    names = dataset_names([data.root for data in sets])
    _check_alike(sets, names)
    union = _union(sets, names, classes)
    if not palette:
        palette = _joined_palette(sets, union)
    parts = [_part(data, own, union.classes) for data, own in zip(sets, union.own, strict=True)]
    possible = tuple(dict.fromkeys(part.possible for part in parts if part.possible))
    partial_labels = PartialLabels(len(union.classes), possible)
    first = sets[0].read_spec
    read_spec = replace(
        first,
        label_map=LabelMap("multilabel" if first.task is MULTILABEL else "index"),
        masks_as_stored=False,
        partial_labels=partial_labels,
    )
    records = [_records(part, number, partial_labels) for number, part in enumerate(parts)]
    summaries = [f"{name}: {data.group_summary}" for name, data in zip(names, sets, strict=True) if data.group_summary]
    is_searched = all(data.val or data.group_summary is not None for data in sets)
    return DatasetIndex(
        root=sets[0].root if len(sets) == 1 else " + ".join(str(data.root) for data in sets),
        format=", ".join(dict.fromkeys(data.format for data in sets)),
        classes=union.classes,
        palette=palette,
        read_spec=read_spec,
        train=tuple(record for train, _, _ in records for record in train),
        val=tuple(record for _, val, _ in records for record in val),
        test=tuple(record for _, _, test in records for record in test),
        messages=_messages(sets, names, union, parts),
        group_summary="; ".join(summaries) if is_searched else None,
        sets=tuple(sets),
    )


def background_class(classes: Sequence[str]) -> str | None:
    """Return the name of the class of all pixels that are of no other class, or None if there is none.

    `background_classes` finds it by its name, such as "background" or "other". If there are several, it is the one that
    is named background, else the first.

    >>> background_class(["cat", "other", "Background"]), background_class(["road", "sky"])
    ('Background', None)
    """
    return _main_background([classes[index] for index in background_classes(classes)])


def _background_of(data: DatasetIndex) -> str | None:
    """Return the name of the background of a data set, or None. The value 0 of masks of 0 and 255 is background too."""
    return _main_background([data.classes[index] for index in data.background])


def _main_background(names: Sequence[str]) -> str | None:
    return next((name for name in names if "background" in name.casefold()), next(iter(names), None))


def class_indices(data: DatasetIndex) -> list[tuple[int, ...]]:
    """Return the index in `data.classes` of each class of each data set in `data.sets`."""
    union = _union(data.sets, dataset_names([part.root for part in data.sets]), data.classes)
    return [tuple(union.classes.index(name) for name in own) for own in union.own]


def dataset_names(roots: Sequence[object]) -> list[str]:
    """Return a unique name for each data set: the last part of its path, or the whole path if this part is not unique.

    A data set that is there twice, for example with different classes, gets a number.

    >>> dataset_names(["data/cats", "data/dogs/"]), dataset_names(["a/train", "b/train"]), dataset_names(["a", "a"])
    (['cats', 'dogs'], ['a/train', 'b/train'], ['a', 'a (2)'])
    """
    paths = [str(root).rstrip("/") for root in roots]
    short = [path.rpartition("/")[2] or path for path in paths]
    names = [name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)]
    counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


@dataclass(frozen=True)
class _Union:
    """The classes of all data sets.

    Attributes:
        classes: the names in index order.
        own: for each data set, the name in `classes` of each of its classes.
    """

    classes: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Part:
    """One of the data sets, with the classes of all.

    Attributes:
        data: the data set.
        order: for each of its classes, the index in the classes of all.
        background: the index of its background in the classes of all, or None.
        unknown: the indices of the classes that the data set lacks.
    """

    data: DatasetIndex
    order: tuple[int, ...]
    background: int | None
    unknown: tuple[int, ...]

    @property
    def possible(self) -> tuple[int, ...]:
        """The possible classes of a background pixel, the background first. () if a background pixel has only one."""
        if self.background is None or not self.unknown or self.data.read_spec.task is MULTILABEL:
            return ()
        return (self.background, *self.unknown)


def _check_alike(sets: Sequence[DatasetIndex], names: Sequence[str]) -> None:
    """Raise DataError if the classes of a data set are undecided, or if data sets differ in task or channels."""
    first = sets[0].read_spec
    for data, name in zip(sets, names, strict=True):
        if data.undecided:
            raise DataError(data.undecided)
        if data.read_spec.task is not first.task:
            tasks = f"{data.read_spec.task.name}, but those of '{names[0]}' are {first.task.name}"
            raise DataError(f"{data.root}: the masks of '{name}' are {tasks}; train each data set by itself")
        if data.read_spec.channels != first.channels:
            channels = f"{data.read_spec.channels} channels, but those of '{names[0]}' have {first.channels}"
            raise DataError(f"{data.root}: the images of '{name}' have {channels}; convert one of them")


def _union(sets: Sequence[DatasetIndex], names: Sequence[str], classes: Sequence[str]) -> _Union:
    """Return the classes of all data sets. The background of each data set gets the name of the first background."""
    backgrounds = [_background_of(data) for data in sets]
    candidates = [name for name in backgrounds if name is not None and (not classes or name in classes)]
    common = next(iter(candidates), background_class(classes))
    # A data set with two such names, such as "background" and "other", distinguishes them: then both are classes.
    pairs = list(zip(sets, backgrounds, strict=True))
    is_kept = common is None or any(common != background and common in data.classes for data, background in pairs)
    new_names = {name: str(common) for name in backgrounds if name and name not in classes and not is_kept}
    own = tuple(
        tuple(new_names.get(name, name) if name == background else name for name in data.classes)
        for data, background in pairs
    )
    union = tuple(classes) or tuple(dict.fromkeys(name for of_set in own for name in of_set))
    for of_set, name in zip(own, names, strict=True):
        if foreign := [each for each in of_set if each not in union]:
            raise ConfigError(f"{name}: has the class '{foreign[0]}', which is none of {_listed(union)}")
    if len(union) > MAX_CLASSES:
        raise DataError(f"{', '.join(names)}: have {len(union)} classes, more than the maximum of {MAX_CLASSES}")
    return _Union(union, own)


def _part(data: DatasetIndex, own: Sequence[str], classes: Sequence[str]) -> _Part:
    order = tuple(classes.index(each) for each in own)
    background = _background_of(data)
    unknown = tuple(index for index in range(len(classes)) if index not in order)
    return _Part(data, order, None if background is None else order[data.classes.index(background)], unknown)


def _joined_palette(sets: Sequence[DatasetIndex], union: _Union) -> Palette:
    """Return the color of each class in the first data set that has the class. A color in use is replaced."""
    colors: dict[str, Color] = {}
    for data, own in zip(sets, union.own, strict=True):
        for name, color in zip(own, data.palette, strict=True):
            colors.setdefault(name, color)
    free = (color for color in default_palette(IGNORE_INDEX) if color not in colors.values())
    palette: list[Color] = []
    for name in union.classes:
        own_color = colors.get(name)
        palette.append(next(free) if own_color is None or own_color in palette else own_color)
    return tuple(palette)


def _records(part: _Part, number: int, labels: PartialLabels) -> tuple[tuple[Record, ...], ...]:
    """Return the records of each split with the classes of all data sets. Groups and strata begin with `number`."""
    mask_values = list(part.order)
    if part.possible:
        background = part.order.index(part.possible[0])
        mask_values[background] = labels.classes + labels.possible.index(part.possible)
    spec = part.data.read_spec
    if spec.task is not MULTILABEL:
        spec = replace(spec, label_map=_with_values(spec.label_map, mask_values))
    else:
        spec = replace(spec)  # a new object, because `DatasetIndex.records_by_set` compares identities

    def convert(record: Record) -> Record:
        mask = reorder_classes(record.mask, mask_values, labels.classes)
        if isinstance(mask, MultilabelMask):
            mask = replace(mask, unknown=frozenset(part.unknown))
        return replace(
            record,
            mask=mask,
            stratum=f"{number}" if record.stratum is None else f"{number}: {record.stratum}",
            group=None if record.group is None else f"{number}: {record.group}",
            read_spec=spec,
        )

    train, val, test = (tuple(map(convert, split)) for split in (part.data.train, part.data.val, part.data.test))
    return train, val, test


def _with_values(label_map: LabelMap, mask_values: Sequence[int]) -> LabelMap:
    """Return a label map with a mask value instead of each class index."""

    def convert(index: int) -> int:
        return index if index == IGNORE_INDEX else mask_values[index]

    other = label_map.other_class
    return replace(
        label_map,
        value_to_class={value: convert(index) for value, index in label_map.value_to_class.items()},
        other_class=None if other is None else convert(other),
    )


def _messages(
    sets: Sequence[DatasetIndex], names: Sequence[str], union: _Union, parts: Sequence[_Part]
) -> tuple[str, ...]:
    """Return lines for the user: the classes of each data set, those that it lacks, and its own messages."""
    lines = []
    for data, name, own, part in zip(sets, names, union.own, parts, strict=True):
        lines.append(f"{name}: {data.format}, classes {_listed(data.classes)}")
        renamed = [(old, new) for old, new in zip(data.classes, own, strict=True) if old != new]
        lines += [f"{name}: '{old}' is the class '{new}' of the other data sets" for old, new in renamed]
        lines += _unknown_message(part, name, union.classes)
        lines += [f"{name}: {message}" for message in data.messages]
    for name in union.classes:
        sharing = [each for each, own in zip(names, union.own, strict=True) if name in own]
        if len(sharing) > 1 and _MADE_UP_NAME.fullmatch(name):
            lines.append(
                f"'{name}' of {_listed(sharing)} is one class; if it is not, set `label_map` to give different names"
            )
    if len({data.read_spec.scale for data in sets}) > 1:
        lines.append(
            f"the ranges of the images' pixel values differ; the model reads new images like those of '{names[0]}'"
        )
    return tuple(lines)


def _unknown_message(part: _Part, name: str, classes: Sequence[str]) -> list[str]:
    """Return a line about the classes that a data set lacks. Return an empty list if it has all."""
    if not part.unknown:
        return []
    unknown = _listed([classes[index] for index in part.unknown], "or")
    fault = f"{name}: has no {unknown}"
    if part.data.read_spec.task is MULTILABEL:
        return [f"{fault}, which is ignored in its images"]
    if part.background is None:
        return [
            f"{fault}, and no background: all of its pixels are of its own classes; if one of these is for all other "
            "pixels, name it background by `label_map`"
        ]
    return [f"{fault}: a pixel of its '{classes[part.background]}' may be {unknown}"]


def _listed(names: Collection[str], last: str = "and") -> str:
    """Return names in quotes as a list in a sentence.

    >>> _listed(["cat", "dog", "cow"], "or")
    "'cat', 'dog' or 'cow'"
    """
    quoted = [f"'{name}'" for name in list(names)[:_MAX_NAMES]]
    if len(names) > _MAX_NAMES:
        quoted.append(f"{len(names) - _MAX_NAMES} others")
    return f" {last} ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
