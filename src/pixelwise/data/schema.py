"""The types that describe a data set before any pixel is read: records, label maps, splits, issues."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import DataError, printable

Split = Literal["train", "val", "test"]


SPLITS: tuple[Split, ...] = ("train", "val", "test")


@runtime_checkable
class BytesSource(Protocol):
    """The bytes of one image file: a `pathlib.Path`, a remote file, a member of a shard, or a cell of a table.

    `str()` of it names it in messages.
    """

    @property
    def name(self) -> str:
        """The file's name, with its suffix."""
        ...

    def read_bytes(self) -> bytes:
        """Return the whole content. Raises OSError or DataError if it cannot be read."""
        ...


@dataclass(frozen=True, eq=False)
class Annotation:
    """The outline of one object.

    Attributes:
        label: class index 0..C-1, or 255 for "ignore".
        polygons: (K, 2) float arrays of x, y from the upper left corner of the image, in pixels, or in fractions of its
            width and height if `relative`. The object is their union.
        rle: used instead of polygons: COCO's compressed run lengths, {"size": [height, width], "counts": bytes}.
        relative: True if polygons are in fractions of the image, in [0, 1].
    """

    label: int
    polygons: tuple[np.ndarray, ...] = ()
    rle: Mapping[str, Any] | None = None
    relative: bool = False


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """A mask to draw: `background` everywhere, then the annotations in order. Later ones cover earlier ones.

    Attributes:
        annotations: the objects.
        name: the origin, for messages: "instances.json, image 17".
        background: class index of pixels outside all annotations.
    """

    annotations: tuple[Annotation, ...]
    name: str
    background: int = 0

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MultilabelMask:
    """A multi-label mask: one mask file per class, in class order. None for a class without a file."""

    channels: tuple[BytesSource | None, ...]

    def __str__(self) -> str:
        return ", ".join(str(channel) for channel in self.channels if channel is not None)


MaskSource = BytesSource | PolygonMask | MultilabelMask


@dataclass(frozen=True)
class Record:
    """One image and its mask.

    Attributes:
        image: the image file.
        mask: the mask, or None if there is none.
        stratum: a kind that each split must have its fraction of, for example a breed.
        group: records of one group stay in one split, for example the frames of one video.
    """

    image: BytesSource
    mask: MaskSource | None
    stratum: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class LabelMap:
    """The mapping from pixel values in mask files to class indices.

    Attributes:
        kind: the type of value: "index", the gray value or palette index (8 or 16 bits; 0 and 255 in 1-bit images);
            "rgb", the color as 0xRRGGBB; "alpha", the opacity 0..255; "polygons", annotations with class indices;
            "multilabel", one file per class whose values are of type "index".
        value_to_class: value → class index 0..C-1, or 255 for "ignore". In "multilabel": value → 0 (absent),
            1 (present) or 255. Empty in "polygons".
        tolerance: a value that is not a key counts as the nearest key at most this far away (for "rgb", in each
            channel). 0 allows exact values only. Masks that were saved as JPEG need it.
    """

    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    value_to_class: Mapping[int, int] = field(default_factory=dict)
    tolerance: int = 0


@dataclass(frozen=True)
class ReadSpec:
    """The parameters of `read_image` and `read_mask` for one data set.

    Attributes:
        label_map: the mapping from mask values to classes.
        channels: 3 reads every image as RGB. Another number is the number of bands of multi-band TIFFs.
        bit_depth: number of bits in use, 8 to 16, in images with 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8.
    """

    label_map: LabelMap
    channels: int = 3
    bit_depth: int = 16

    @property
    def task(self) -> Task:
        """The segmentation task: MULTILABEL masks are (C, H, W) with values 0, 1 and 255, others (H, W)."""
        return MULTILABEL if self.label_map.kind == "multilabel" else MULTICLASS


@dataclass(frozen=True)
class DataIssue:
    """A fault in one file.

    Attributes:
        kind: a short name shared by all issues of this kind: "missing mask".
        file: the file's path, or its place in an annotation file.
        message: the fault and the fix.
        severity: an "error" stops training unless unreadable files are skipped. A file with only warnings is used.
    """

    kind: str
    file: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.message}")


@dataclass(frozen=True)
class FormatResult:
    """The pairs and class names that a format finds in a folder. No pixel has been read.

    Attributes:
        train, val, test: the records of each split. A folder without splits has all its records in `train`.
        classes: class names in index order if the format defines them together with `label_map`, else ().
        label_map: the mapping from values to classes, or None if it has to be inferred from the masks.
        names_by_value: value → name, if a file lists gray values, palette indices or ids.
        names_by_color: 0xRRGGBB → name, if a file lists colors (labelmap.txt, class_dict.csv).
        class_names: names in order without values (classes.txt).
        palette: one (red, green, blue) in [0, 255] per class, or () for the default palette.
        issues: faults, for example images without masks. Files with errors have no record.
    """

    train: tuple[Record, ...] = ()
    val: tuple[Record, ...] = ()
    test: tuple[Record, ...] = ()
    classes: tuple[str, ...] = ()
    label_map: LabelMap | None = None
    names_by_value: Mapping[int, str] = field(default_factory=dict)
    names_by_color: Mapping[int, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    issues: tuple[DataIssue, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all splits: train, then val, then test."""
        return self.train + self.val + self.test


@dataclass(frozen=True)
class DatasetIndex:
    """A data set ready for training: its classes, its records, and the parameters to read them.

    It holds file references and no pixels. `SegmentationDataset` reads them.

    Attributes:
        root: the folder or file that was loaded, or its URL as text.
        format: name of the format, a key of `FORMATS`.
        classes: class names in index order.
        palette: one (red, green, blue) in [0, 255] per class.
        read_spec: the parameters of the image and mask readers.
        train, val, test: the records of each split.
        messages: one line per decision or omission, for the user.
        group_summary: the reason why records have groups. Empty if no groups were found. None if groups have not
            been searched for.
        source_class_ids: for polygons and multi-label masks, class name in the data set's files → class index, or
            255 for "ignore".
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

    def records(self, split: Split) -> tuple[Record, ...]:
        """Return the records of one split. Raises DataError if the split is empty or unknown."""
        records: tuple[Record, ...] = getattr(self, split) if split in SPLITS else ()
        if not records:
            present = ", ".join(name for name in SPLITS if getattr(self, name)) or "none"
            raise DataError(f"{self.root}: no '{split}' split; splits with images: {present}")
        return records
