"""The types that describe a data set before any pixel is read: records, label maps, splits, issues."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import printable

Split = Literal["train", "val", "test"]


SPLITS: tuple[Split, ...] = ("train", "val", "test")

MAX_CLASS_NAME = 1000
"""Maximum number of characters of a class name."""


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
class PixelRuns:
    """The pixels of an object as runs, for a file that does not state the size of the image.

    Attributes:
        runs: (N, 2) integers: the index of the first pixel of each run, from 0, and its number of pixels, 1 or more.
        by_row: True if pixels are counted along rows from left to right, False if along columns from top to bottom.
    """

    runs: np.ndarray
    by_row: bool = False


@dataclass(frozen=True, eq=False)
class Annotation:
    """The outline of one object.

    Attributes:
        label: class index 0..C-1, or 255 for "ignore".
        polygons: (K, 2) float arrays of x, y from the upper left corner of the image, in pixels, or in fractions of its
            width and height if `relative`. The object is their union.
        rle: used instead of polygons: COCO's compressed run lengths, {"size": [height, width], "counts": bytes}.
        relative: True if polygons are in fractions of the image, in [0, 1].
        runs: used instead of polygons and rle.
    """

    label: int
    polygons: tuple[np.ndarray, ...] = ()
    rle: Mapping[str, Any] | None = None
    relative: bool = False
    runs: PixelRuns | None = None


@dataclass(frozen=True)
class ValueImage:
    """A mask file whose values mean other classes than the same values in other files.

    Attributes:
        file: the mask file.
        kind: the type of its values, see `LabelMap`.
        class_ids: (value, class index or 255) for each value that the file may have.
    """

    file: BytesSource
    kind: Literal["index", "rgb"]
    class_ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """A mask to draw: `background` everywhere, then the annotations in order. Later ones cover earlier ones.

    Attributes:
        annotations: the objects.
        name: the origin, for messages: "instances.json, image 17".
        background: class index of pixels outside all annotations.
        base: a file with the class of each pixel, which is used instead of `background`.
    """

    annotations: tuple[Annotation, ...]
    name: str
    background: int = 0
    base: ValueImage | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MergedMask:
    """The mask of one image in several files, for example one file per object.

    A pixel has the greatest value that any file gives it. The files have the same size.
    """

    files: tuple[BytesSource, ...]

    def __str__(self) -> str:
        more = len(self.files) - 1
        return f"{self.files[0]} (and {more} more file{'s' * (more > 1)})" if more else str(self.files[0])


@dataclass(frozen=True)
class MultilabelMask:
    """A multi-label mask: one mask per class, in class order. None for a class without a file."""

    channels: tuple[BytesSource | MergedMask | None, ...]

    def __str__(self) -> str:
        return ", ".join(str(channel) for channel in self.channels if channel is not None)


MaskSource = BytesSource | PolygonMask | MergedMask | MultilabelMask


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
        other_class: the class index of every value that is not a key, for example if values are the numbers of
            objects. None if all values must be keys.
    """

    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    value_to_class: Mapping[int, int] = field(default_factory=dict)
    tolerance: int = 0
    other_class: int | None = None


@dataclass(frozen=True)
class ReadSpec:
    """The parameters of `read_image` and `read_mask` for one data set.

    Attributes:
        label_map: the mapping from mask values to classes.
        channels: 3 reads every image as RGB. Another number is the number of bands of multi-band TIFFs.
        bit_depth: number of bits in use, 8 to 16, in images with 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8.
        masks_as_stored: True if masks have the orientation of the stored pixels of their images. They are then rotated
            by the EXIF orientation of the image.
        pixel_range: the values that become 0 and 255 in TIFFs of floats, of signed integers or of 32 bits. None if the
            data set has none of these.
    """

    label_map: LabelMap
    channels: int = 3
    bit_depth: int = 16
    masks_as_stored: bool = False
    pixel_range: tuple[float, float] | None = None

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
        line_width: width in pixels of the lines that were drawn. `detect_format` sets it.
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
    line_width: float | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all splits: train, then val, then test."""
        return self.train + self.val + self.test
