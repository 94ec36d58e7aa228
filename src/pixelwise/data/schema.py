"""The types that describe a data set without its pixels: records, label maps, splits and issues."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pixelwise.data.partial_labels import FULL_LABELS, PartialLabels
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import printable

Split = Literal["train", "val", "test"]


SPLITS: tuple[Split, ...] = ("train", "val", "test")

MAX_CLASS_NAME = 1000
"""Maximum number of characters of a class name."""


@runtime_checkable
class BytesSource(Protocol):
    """The bytes of one image file: a `pathlib.Path`, a remote file, a member of a shard, or a cell of a table.

    `str()` returns the name for messages.
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
        polygons: (K, 2) float arrays of x, y from the upper left corner of the image. The unit is pixels, or the width
            and height of the image if `relative`. The object is the union of the polygons.
        rle: used instead of polygons: COCO's compressed run lengths, {"size": [height, width], "counts": bytes}.
        relative: True if the coordinates of polygons are fractions of the image's width and height.
        runs: used instead of polygons and rle.
    """

    label: int
    polygons: tuple[np.ndarray, ...] = ()
    rle: Mapping[str, Any] | None = None
    relative: bool = False
    runs: PixelRuns | None = None


@dataclass(frozen=True)
class ValueImage:
    """A mask file with its own mapping from values to classes.

    Attributes:
        file: the mask file.
        kind: the type of its values, see `LabelMap`.
        class_ids: a pair (value, class index or 255) for each value that is allowed in the file.
    """

    file: BytesSource
    kind: Literal["index", "rgb"]
    class_ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """A mask that is drawn from annotations.

    The annotations are drawn over `background` in order, so that later ones cover earlier ones.

    Attributes:
        annotations: the objects.
        name: the origin for messages, such as "instances.json, image 17".
        background: class index of pixels outside all annotations.
        base: a file with the class of each pixel outside all annotations. Used instead of `background`.
    """

    annotations: tuple[Annotation, ...] = field(repr=False)
    name: str
    background: int = 0
    base: ValueImage | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MergedMask:
    """The mask of one image in several files, for example one file per object.

    A pixel has its greatest value in all files. Color files are merged in another way, see `open_mask`. All files must
    have the same size.
    """

    files: tuple[BytesSource, ...]

    def __str__(self) -> str:
        more = len(self.files) - 1
        return f"{self.files[0]} (and {more} more file{'s' * (more > 1)})" if more else str(self.files[0])


@dataclass(frozen=True)
class MultilabelMask:
    """A multi-label mask.

    Attributes:
        channels: one mask per class in class order. None for a class without a file.
        unknown: indices of the classes without labels in a joined data set. All their pixels are ignored.
    """

    channels: tuple[BytesSource | MergedMask | None, ...]
    unknown: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return ", ".join(str(channel) for channel in self.channels if channel is not None)


MaskSource = BytesSource | PolygonMask | MergedMask | MultilabelMask


@dataclass(frozen=True)
class Record:
    """One image and its mask.

    Attributes:
        image: the image file.
        mask: the mask, or None if there is none.
        stratum: a category, for example a breed. The validation split gets the same fraction of each stratum.
        group: records of one group stay in the same split, for example the frames of one video.
        read_spec: the parameters to read the files, if data sets are joined. None for `DatasetIndex.read_spec`.
    """

    image: BytesSource
    mask: MaskSource | None
    stratum: str | None = None
    group: str | None = None
    read_spec: "ReadSpec | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LabelMap:
    """The mapping from pixel values in mask files to class indices.

    Attributes:
        kind: the type of value.
            "index": the gray value or palette index, with 8 or 16 bits. 1-bit images have the values 0 and 255.
            "rgb": the color as 0xRRGGBB.
            "alpha": the opacity, 0..255.
            "polygons": annotations with class indices.
            "multilabel": one file per class, whose values are of type "index".
        value_to_class: value → class index 0..C-1, or 255 for "ignore". In "multilabel": value → 0 (absent),
            1 (present) or 255. Empty in "polygons".
        tolerance: maximum difference between a value and the nearest key, which it then counts as. For "rgb", the
            maximum per channel. 0 allows exact values only. Masks that were saved as JPEG need a tolerance.
        other_class: the class index of every value that is not a key, for example if values are the numbers of
            objects. None if every value must match a key.
    """

    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    value_to_class: Mapping[int, int] = field(default_factory=dict)
    tolerance: int = 0
    other_class: int | None = None

    def class_values(self, count: int) -> tuple[int, ...]:
        """Return the first value of each class.

        If `other_class` has no value of its own, it gets the lowest value from 1 on that is not in `value_to_class`.

        Args:
            count: number of classes. 2 for "multilabel": the values of absent and present pixels.

        Returns:
            `count` values, or () if a class has no value. Polygons have no values.

        >>> LabelMap("index", {0: 0, 3: 1, 4: 1}).class_values(2)
        (0, 3)
        """
        values: dict[int, int] = {}
        for value, index in self.value_to_class.items():
            values.setdefault(index, value)
        if self.other_class is not None and self.other_class not in values:
            values[self.other_class] = next(value for value in range(1, 1 << 16) if value not in self.value_to_class)
        return tuple(values[index] for index in range(count)) if values.keys() >= set(range(count)) else ()


@dataclass(frozen=True)
class ReadSpec:
    """The parameters of `read_image` and `read_mask` for one data set.

    Attributes:
        label_map: the mapping from mask values to classes.
        channels: 3 reads every image as RGB. Any other value is the number of bands that every image,
            a multi-band TIFF, must have.
        bit_depth: number of bits in use, 8 to 16, in images with 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8.
        masks_as_stored: True if masks have the orientation of the stored pixels of their images. They are then rotated
            by the EXIF orientation of the image.
        pixel_range: the values that become 0 and 255 in TIFFs of floats, of signed integers or of 32 bits. Only
            data sets that were read by an earlier version have it. Else None.
        band_ranges, nodata: see `PixelScale`. Nodata pixels of an image are ignored in its mask.
        partial_labels: the mask values of pixels with several possible classes, if data sets are joined.
    """

    label_map: LabelMap
    channels: int = 3
    bit_depth: int = 16
    masks_as_stored: bool = False
    pixel_range: tuple[float, float] | None = None
    partial_labels: PartialLabels = FULL_LABELS
    band_ranges: tuple[tuple[float, float], ...] = ()
    nodata: float | None = None

    def with_scale(self, scale: PixelScale) -> "ReadSpec":
        """Return the parameters with another conversion of the images' pixels."""
        return replace(self, **asdict(scale))

    @property
    def scale(self) -> PixelScale:
        """The conversion of the images' pixels to 8 bits."""
        return PixelScale(self.bit_depth, self.pixel_range, self.band_ranges, self.nodata)

    @property
    def task(self) -> Task:
        """The segmentation task: MULTILABEL masks are (C, H, W) with values 0, 1 and 255, others (H, W)."""
        return MULTILABEL if self.label_map.kind == "multilabel" else MULTICLASS


@dataclass(frozen=True)
class DataIssue:
    """A fault in one file.

    Attributes:
        kind: a short name that all issues of this kind share, such as "missing mask".
        file: the path of the file, or its entry in an annotation file.
        message: the fault and the fix.
        severity: "error" if the file cannot be used, "warning" if it is used. Errors stop a training unless it skips
            unreadable files.
    """

    kind: str
    file: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.message}")


@dataclass(frozen=True)
class FormatResult:
    """The records and class names that a format finds in a folder, before pixels are read.

    Attributes:
        train, val, test: the records of each split. A folder without splits has all its records in `train`.
        classes: class names in index order if the format defines them and `label_map`, else ().
        label_map: the mapping from values to classes, or None if it has to be inferred from the masks.
        names_by_value: value → class name, if a file lists gray values, palette indices or ids.
        names_by_color: 0xRRGGBB → class name, if a file lists colors (labelmap.txt, class_dict.csv).
        class_names: class names in order, if a file lists names without values (classes.txt).
        palette: one (red, green, blue) in [0, 255] per class, or () for the default palette.
        issues: faults, for example images without masks. Files with errors have no record.
        line_width: width in pixels at which lines in annotation files are drawn, or None. `detect_format` sets it.
        mask_files: the pattern by which the user chose the mask files, or None. `detect_format` sets it.
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
    mask_files: str | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all splits: train, then val, then test."""
        return self.train + self.val + self.test
