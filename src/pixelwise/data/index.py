"""The index of a data set: its classes, its records, and how to read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import MAX_CLASS_NAME, SPLITS, ReadSpec, Record, Split
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import background_classes

if TYPE_CHECKING:
    from PIL import Image

_TEXT_CLASSES = 12
"""Maximum number of classes in the text of a data set."""

_SHOWN_CLASSES = 40
"""Maximum number of classes that a notebook lists."""


@dataclass(frozen=True)
class DatasetIndex:
    """A data set ready for training: its classes, its records, and the parameters to read them.

    It holds references to files, not pixels. `SegmentationDataset` reads the files.

    Attributes:
        root: the folder or file that was loaded, or its URL as text.
        format: name of the format, a key of `FORMATS`.
        classes: class names in index order.
        palette: one (red, green, blue) in [0, 255] per class.
        read_spec: the parameters of the image and mask readers.
        train, val, test: the records of each split.
        messages: lines for the user: decisions made while loading, and files that were left out.
        group_summary: the reason why records have groups. Empty if no groups were found. None if groups have not
            been searched for.
        source_class_ids: for polygons and multi-label masks, class name in the data set's files → class index, or
            255 for "ignore".
        line_width: width in pixels of the lines in annotation files, or None.
        mask_files: the pattern by which the user chose the mask files, see `LabelOptions`, or None.
        undecided: the error message about ambiguous masks. Empty if the classes are known. `inspect` sets it: each raw
            value of the masks is then a class, and no model can be trained.
        sets: the data sets from which `join_datasets` made this one. Empty for a single data set.
    """

    root: Path | str
    format: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    read_spec: ReadSpec
    train: tuple[Record, ...] = ()
    val: tuple[Record, ...] = ()
    test: tuple[Record, ...] = ()
    messages: tuple[str, ...] = ()
    group_summary: str | None = None
    source_class_ids: Mapping[str, int] = field(default_factory=dict)
    line_width: float | None = None
    mask_files: str | None = None
    undecided: str = ""
    sets: tuple["DatasetIndex", ...] = ()

    @property
    def lacks_val(self) -> bool:
        """True if the data set, or one of those from which it was joined, has training images and no val split."""
        return any(not val for train, val in self.records_by_set("train", "val") if train)

    def records_by_set(self, *splits: Split) -> list[tuple[tuple[Record, ...], ...]]:
        """Return the records of some splits for each data set of which this one was joined.

        Args:
            splits: the names of the splits. A split can have no records.

        Returns:
            For each data set that has such records, its records of each of the splits. The order is that of the first
            records. If there are none at all, one item with empty splits.
        """
        members: dict[int, list[list[Record]]] = {}
        for number, split in enumerate(splits):
            for record in getattr(self, split):
                of_set = members.setdefault(id(record.read_spec), [[] for _ in splits])
                of_set[number].append(record)
        empty: list[list[Record]] = [[] for _ in splits]
        return [tuple(map(tuple, of_set)) for of_set in members.values()] or [tuple(map(tuple, empty))]

    @property
    def background(self) -> tuple[int, ...]:
        """Indices of the classes that are background, see `background_classes`. Empty for multi-label masks."""
        if self.read_spec.task is MULTILABEL:
            return ()
        return background_classes(self.classes, self.read_spec.label_map.class_values(len(self.classes)))

    def records(self, split: Split) -> tuple[Record, ...]:
        """Return the records of one split.

        Raises:
            DataError: The split is empty or unknown, or the classes are undecided.
        """
        if self.undecided:
            raise DataError(self.undecided)
        records: tuple[Record, ...] = getattr(self, split) if split in SPLITS else ()
        if not records:
            present = ", ".join(name for name in SPLITS if getattr(self, name)) or "none"
            raise DataError(f"{self.root}: no '{split}' split; splits with images: {present}")
        return records

    def read(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Read the image and the mask of a record, without resizing.

        Args:
            record: a record with a mask, of this data set.

        Returns:
            (image, mask). The image is (H, W, channels) uint8. The mask is (H, W) uint8 class indices, with 255 for
            "ignore". A multi-label mask is (C, H, W) uint8: 0 absent, 1 present, 255 for "ignore". If data sets are
            joined, `read_spec.partial_labels` defines further values, of pixels with several possible classes.

        Raises:
            DataError: A file cannot be read, or image and mask differ in size. The message names the file.

        >>> image, mask = data.read(data.train[0])  # doctest: +SKIP
        """
        return read_image_and_mask(record, self.read_spec)

    def __repr__(self) -> str:
        """Return the root, the classes and the number of images of each split, without the records."""
        counts = ", ".join(f"{split}={len(getattr(self, split))}" for split in SPLITS)
        more = len(self.classes) - _TEXT_CLASSES
        classes = repr(self.classes) if more <= 0 else f"{repr(self.classes[:_TEXT_CLASSES])[:-1]}, … {more} more)"
        return f"DatasetIndex(root={str(self.root)!r}, format={self.format!r}, classes={classes}, {counts})"

    def _repr_html_(self) -> str:
        """Return the classes, the number of images of each split and a few images with their masks, for a notebook."""
        from pixelwise.visualization import html

        counts = ", ".join(f"{len(getattr(self, split)):,} {split}" for split in SPLITS if getattr(self, split))
        names = zip(self.classes[:_SHOWN_CLASSES], self.palette, strict=False)
        classes = ", ".join(html.class_name(name, color) for name, color in names)
        more = f" and {len(self.classes) - _SHOWN_CLASSES} more" if len(self.classes) > _SHOWN_CLASSES else ""
        try:
            sheet = "" if isinstance(self.root, str) else html.image_tag(draw_sheet(self), "images with their masks")
        except DataError as error:  # the data set is undecided, or an image was removed
            sheet = html.paragraph(html.text(error, max_length=300))
        title = f"<b>{html.text(self.root)}</b> ({html.text(self.format)}): {counts or 'no'} images"
        return html.block(html.paragraph(title), html.paragraph(f"classes: {classes}{more}"), sheet)


def draw_sheet(
    data: DatasetIndex, split: Split | None = None, count: int = 4, columns: int = 2, width: int = 900
) -> "Image.Image":
    """Draw images of a split, each beside its overlay with the mask.

    Args:
        data: the data set.
        split: the split. None for the first one that has images.
        count: number of images, at least 1. They are spread evenly over the split.
        columns: maximum number of pairs in a row.
        width: width of the sheet in pixels.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        DataError: The split is empty, the classes are undecided, or an image or mask cannot be read.
    """
    from pixelwise.visualization import overlay_grid, to_display_image

    present: list[Split] = [name for name in SPLITS if getattr(data, name)]
    part = split or (present or ["train"])[0]
    records = data.records(part)
    count = min(count, len(records))
    chosen = [records[index * len(records) // count] for index in range(count)]
    images, masks = zip(*(data.read(record) for record in chosen), strict=True)
    task = data.read_spec.task
    classes, palette = task.display_classes(data.classes, data.palette)
    name = " + ".join(Path(each.root).resolve().name for each in data.sets or (data,))
    return overlay_grid(
        [to_display_image(image) for image in images],
        [task.to_display(data.read_spec.partial_labels.to_background(mask)) for mask in masks],
        [record.image.name for record in chosen],
        classes,
        palette,
        title=f"{name} · {part} · {count} of {len(records)} images",
        columns=columns,
        width=width,
        uncolored=task.display_background(len(data.classes), data.background),
    )


def check_class_names(root: object, classes: Sequence[str]) -> None:
    """Check the lengths of class names. Models accept 1 to `MAX_CLASS_NAME` characters.

    Args:
        root: the folder, file or URL of the data set, for the message.
        classes: the names.

    Raises:
        DataError: A name is empty or too long.
    """
    for index, name in enumerate(classes):
        if not 0 < len(name) <= MAX_CLASS_NAME:
            raise DataError(
                f"{root}: the name of class {index} ('{name[:20]}') has {len(name):,} characters, but a name has 1 to "
                f"{MAX_CLASS_NAME:,}; correct the file that names the classes"
            )


def check_index(data: object) -> None:
    """Raise ConfigError if an argument is not a data set that was loaded, but for example its path."""
    if not isinstance(data, DatasetIndex):
        path = repr(str(data)) if isinstance(data, (str, Path)) else "FOLDER"
        what = "a path" if isinstance(data, (str, Path)) else type(data).__name__
        raise ConfigError(f"`data` is {what}, not a loaded data set; pass pixelwise.load_dataset({path})")


def learning_fault(data: DatasetIndex, present: Sequence[bool]) -> str:
    """Return the reason why a model cannot learn from the training masks.

    Args:
        data: the data set.
        present: for each class, True if a training mask has a pixel of it.

    Returns:
        The reason without the name of the data set. Empty if a model can learn.
    """
    names = [name for name, is_present in zip(data.classes, present, strict=True) if is_present]
    if not names:
        return "the training masks have no pixel of any class; check the values to ignore"
    if len(names) == 1 and data.read_spec.task is not MULTILABEL:
        return f"the training masks have only the class '{names[0]}'; add masks with another class"
    return ""
