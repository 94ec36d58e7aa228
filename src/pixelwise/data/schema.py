"""What lies in a data set, before any pixel is read: records, how masks are encoded, splits, problems."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pixelwise.errors import DataError, printable

Split = Literal["train", "val", "test"]


SPLITS: tuple[Split, ...] = ("train", "val", "test")


@runtime_checkable
class BytesSource(Protocol):
    """Where the bytes of an image are: a pathlib.Path, a UPath (any fsspec URL), a member of a shard, a table's cell.

    `str()` of it names it in messages.
    """

    @property
    def name(self) -> str:
        """The file's name, with its suffix."""
        ...

    def read_bytes(self) -> bytes:
        """The whole content; OSError where it cannot be read."""
        ...


@dataclass(frozen=True, eq=False)
class Annotation:
    """One outlined thing of a class.

    Attributes:
        label: the class index 0..C-1, or 255 for "ignore".
        polygons: each (K, 2) float x, y in pixels from the upper left corner of the image, or shares of its width
            and height where `relative`; their union is the thing.
        rle: instead of polygons, COCO's compressed run lengths: {"size": [height, width], "counts": bytes}.
        relative: whether polygons are in shares, in [0, 1].
    """

    label: int
    polygons: tuple[np.ndarray, ...] = ()
    rle: Mapping[str, Any] | None = None
    relative: bool = False


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """A mask that is drawn: `background` everywhere, then the shapes in order, later ones over earlier ones.

    `name` says where they come from, for messages: "instances.json, image 17".
    """

    shapes: tuple[Annotation, ...]
    name: str
    background: int = 0

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MultilabelMask:
    """A multi-label mask: one image a class, in class order; None where the class has none on this image."""

    images: tuple[BytesSource | None, ...]

    def __str__(self) -> str:
        return ", ".join(str(each) for each in self.images if each is not None)


MaskSource = BytesSource | PolygonMask | MultilabelMask


@dataclass(frozen=True)
class Record:
    """One image and its mask.

    `stratum` names a kind that splits are drawn evenly over (a breed); `group` names what must stay together in one
    split (the frames of one video, the tiles of one slide).
    """

    image: BytesSource
    mask: MaskSource | None
    stratum: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class LabelMap:
    """How the pixels of mask files become class indices.

    Attributes:
        kind: what a pixel's value is: "index", the gray value or palette index (8 or 16 bits; two-tone images hold 0
            and 255); "rgb", 0xRRGGBB; "alpha", the opacity 0..255; "polygons", drawn and so encoded already;
            "multilabel", multi-label, the values of each layer being "index".
        value_to_class: value → class index 0..C-1, or 255 for "ignore". In "multilabel": value → 0 (absent), 1 (present)
            or 255.
        tolerance: a value that is no key stands for the nearest key at most this far away (in "rgb", in each of the
            three channels); 0 allows none. For masks that were saved as JPEG.
    """

    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    value_to_class: Mapping[int, int] = field(default_factory=dict)
    tolerance: int = 0


@dataclass(frozen=True)
class ReadSpec:
    """How the files of a data set become arrays: see `read_image` and `read_mask`.

    `channels` is 3 for images of every kind, which are read as RGB, or the number of bands of TIFFs with other bands.
    `bit_depth` is how many of 16 bits a channel images with 16 bits make use of: pixels are shifted right by bits − 8.
    """

    label_map: LabelMap
    channels: int = 3
    bit_depth: int = 16

    @property
    def multilabel(self) -> bool:
        """Whether a pixel can be of several classes: masks are then (C, H, W) of 0, 1 and 255 instead of (H, W)."""
        return self.label_map.kind == "multilabel"


@dataclass(frozen=True)
class DataIssue:
    """Something that is wrong with one file.

    Attributes:
        kind: a short name, the same for all of its kind: "missing mask".
        file: which file.
        message: what is wrong, and what to do about it.
        usable: whether the file can be trained on nevertheless; what is not usable stops a training, or is left out.
    """

    kind: str
    file: str
    message: str
    usable: bool = False

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.message}")


@dataclass(frozen=True)
class FormatResult:
    """What a format finds in a folder: pairs and what is known of the classes, no pixel read yet.

    Attributes:
        train, val, test: the records of each split; a folder without splits has all of its records in `train`.
        classes: the names in index order where the format settles them, with `label_map`; else ().
        label_map: how masks are read where the format settles it; None: to be worked out from the masks.
        names_by_value: value → name, where a file beside the masks lists gray values, palette indices or ids.
        names_by_color: 0xRRGGBB → name, where a file lists colors (labelmap.txt, class_dict.csv).
        class_names: names in order without values (classes.txt).
        palette: one (red, green, blue) in 0..255 a class, or () for our own.
        issues: images without masks and the like; none of them has a record.
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
        """All records, split after split."""
        return self.train + self.val + self.test


@dataclass(frozen=True)
class DatasetIndex:
    """A data set that can be trained on: classes, how to read it, and its records.

    `root` names where it was found. `palette` has one (red, green, blue) in 0..255 a class. `messages` has a line for
    each thing that was worked out or left out, to be told to a person. `group_summary` says in words why records have groups,
    "" where they were looked at and have none, None where nobody looked yet. `source_class_ids` is of shapes and layers: the name
    of a class in the data set's files → its index here, or 255 for "ignore".
    """

    root: Path
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
        """The records of one split; a split that is empty or unknown is an error that names those that are not."""
        records: tuple[Record, ...] = getattr(self, split) if split in SPLITS else ()
        if not records:
            present = ", ".join(name for name in SPLITS if getattr(self, name)) or "none"
            raise DataError(f"{self.root}: no '{split}' split; splits with images: {present}")
        return records
