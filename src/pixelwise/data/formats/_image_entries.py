"""Records of annotation files that list images with labeled shapes: CVAT, VIA, Supervisely."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.data.formats._annotations import LeftOut, assign_class_ids, polygon_result
from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import DEFAULT_LINE_WIDTH
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._rle import empty_rle
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AmbiguousDataError
from pixelwise.palette import IGNORE_INDEX, Color

Shape = tuple[str | None, Annotation]
"""(label, annotation) of a shape. The label is None if the pixels of the shape are ignored.

`EntryCollector.result` replaces the class index in the annotation by that of the label.
"""


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """The entry for one image in an annotation file.

    Attributes:
        name: the file name or path of the image as the annotation file states it.
        location: the annotation file and the entry, for messages.
        shapes: the shapes in drawing order.
        size: (height, width) of the image in pixels, or None if the file does not state it.
        folder: the folder that is preferred if several images match the name, see `Listing`.
        split: the split that the annotation file states, or None.
    """

    name: str
    location: str
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    folder: str = ""
    split: Split | None = None


class EntryCollector:
    """Matches entries to images and builds the result of the format.

    Attributes:
        images: the images of the data set.
        issues: the issues found so far. The reader of a format can add issues.
        left_out: counts of the regions that are not drawn. The reader of a format adds points and lines.
    """

    def __init__(self, images: ImageIndex) -> None:
        self.images = images
        self.issues: list[DataIssue] = []
        self.left_out = LeftOut()
        self._entries: dict[ImageFile, ImageEntry] = {}
        self._same: dict[str, int] = {}
        self._ignored: dict[str, list[str]] = {}
        self._not_drawn: dict[str, list[tuple[str, str]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def leave_out(self, what: str, reason: str, location: str) -> None:
        """Count a region that has an area but cannot be drawn. Call this before `add` for the same entry.

        `add` reports an error if an image has only such regions.

        Args:
            what: the kind of region, for example "cuboid".
            reason: the reason why the region cannot be drawn.
            location: see `ImageEntry`.
        """
        self._not_drawn.setdefault(location, []).append((what, reason))

    def add_ignored(self, what: str, location: str) -> None:
        """Count a region whose pixels are ignored. `result` adds one warning for all regions of a kind.

        Args:
            what: the kind of region.
            location: see `ImageEntry`.
        """
        self._ignored.setdefault(what, []).append(location)

    def find(self, name: str, location: str, folder: str = "", split: Split | None = None) -> ImageFile | None:
        """Find the image of an entry. Add an error if it is missing.

        Args:
            name: the file name or path of the image.
            location: see `ImageEntry`.
            folder: see `ImageEntry`.
            split: see `ImageEntry`.

        Returns:
            The image, or None if it is missing.

        Raises:
            DataError: Two images match equally well.
        """
        image = self.images.find(name, folder, split, source=location)
        if image is None:
            message = f"no such image here: {name}; add it, or remove its entry"
            self.issues.append(DataIssue("missing image", location, message))
        return image

    def add(self, image: ImageFile, entry: ImageEntry) -> None:
        """Add the entry of an image.

        A second entry of an image is an error if its shapes or its split differ, otherwise a warning. An entry whose
        regions all cannot be drawn is an error.

        Args:
            image: the image that `find` returned.
            entry: the entry.
        """
        not_drawn = self._not_drawn.pop(entry.location, [])
        if not_drawn and not entry.shapes:
            what, reason = not_drawn[0]
            message = f"{entry.name}: none of its regions can be drawn ({what}: {reason}); draw polygons or masks"
            self.issues.append(DataIssue("bad outline", entry.location, message))
            return
        for what, reason in not_drawn:
            self.left_out.add(what, reason, entry.location)
        other = self._entries.setdefault(image, entry)
        if other is entry:
            for _, shape in entry.shapes if entry.size else ():
                self.left_out.add_outside(shape.polygons, entry.size or (0, 0), entry.location)
            return
        if _is_equal(entry, other):
            file = entry.location.partition(", ")[0]
            self._same[file] = self._same.get(file, 0) + 1
            return
        message = f"{entry.name} is listed twice, also as {other.location}, with other shapes; keep one entry"
        self.issues.append(DataIssue("image listed twice", entry.location, message))

    def result(
        self,
        labels: Iterable[str],
        source: Path,
        colors: Mapping[str, Color] | None = None,
        *,
        warn_unlisted: bool = True,
    ) -> FormatResult:
        """Return the records, classes and issues of all entries.

        Args:
            labels: the labels that the data set defines, in order. Other labels of shapes follow in alphabetical order.
            source: the annotation file that the warning about unlisted images names.
            colors: label → color. The colors become the palette if every class has one and no two are equal.
            warn_unlisted: True to add a warning about unlisted images in the folders of listed images.
        """
        used = {label for entry in self._entries.values() for label, _ in entry.shapes if label is not None}
        labels = list(dict.fromkeys(labels))
        classes, index_of = assign_class_ids([*labels, *sorted(used - set(labels))])
        records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
        for image, entry in self._entries.items():
            first = (empty_rle(*entry.size),) if entry.size else ()
            annotations = tuple(
                replace(shape, label=IGNORE_INDEX if label is None else index_of[label])
                for label, shape in entry.shapes
            )
            split = entry.split or split_of(image.folder) or "train"
            records[split].append(Record(self.images.path(image), PolygonMask(first + annotations, entry.location)))
        self.issues += self.left_out.issues()
        for what, locations in self._ignored.items():
            others = f", and {len(locations) - 1} more" if len(locations) > 1 else ""
            message = f"{what}{others}; pixels there are ignored"
            self.issues.append(DataIssue("region without class", locations[0], message, severity="warning"))
        for file, count in self._same.items():
            message = f"{count} image{'s' * (count > 1)} with equal shapes in an earlier file; used once"
            self.issues.append(DataIssue("image listed twice", file, message, severity="warning"))
        if warn_unlisted:
            self.issues += unlisted_images_issue(self.images, set(self._entries), source)
        result = polygon_result(records, classes, self.issues)
        palette = _palette(classes, colors or {})
        return replace(result, palette=palette) if palette else result

    def check_has_area(self, source: Path) -> None:
        """Raise DataError if regions were left out and no entry has a shape that can be drawn.

        Args:
            source: the annotation file that the message names.
        """
        left_out = self.left_out.issues()
        if left_out and not any(entry.shapes for entry in self._entries.values()):
            can_draw = any("`line_width`" in issue.message for issue in left_out)
            raise AmbiguousDataError(
                f"{source}: no region has an area: {left_out[0].message}; draw polygons or masks",
                [{"line_width": DEFAULT_LINE_WIDTH}] if can_draw else [],
            )


def _is_equal(entry: ImageEntry, other: ImageEntry) -> bool:
    """Return True if two entries of one image have the same split, the same labels and equal shapes."""

    def content(shapes: Iterable[Shape]) -> list[object]:
        return [
            (label, [polygon.tolist() for polygon in shape.polygons], shape.rle, shape.relative)
            for label, shape in shapes
        ]

    return entry.split == other.split and content(entry.shapes) == content(other.shapes)


def _palette(classes: list[str], colors: Mapping[str, Color]) -> tuple[Color, ...]:
    """Return one color per class, or () if a class has no color or two classes have the same color.

    Class 0, the background, is black if `colors` does not contain it.
    """
    palette = [colors.get(name, (0, 0, 0) if index == 0 else None) for index, name in enumerate(classes)]
    known = tuple(color for color in palette if color is not None)
    return known if len(set(known)) == len(classes) else ()
