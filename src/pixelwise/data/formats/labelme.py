"""labelme and X-AnyLabeling: one JSON file per image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats._annotations import (
    LeftOut,
    assign_class_ids,
    check_image_size,
    polygon_result,
    require_pycocotools,
)
from pixelwise.data.formats._embedded_image import EmbeddedImage
from pixelwise.data.formats._filesystem import file_starts_with, is_folder, list_files
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import DEFAULT_LINE_WIDTH, check_line_width
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_name, quote, read_json
from pixelwise.data.formats._labelme_shapes import (
    LINE_TYPES,
    POINT_TYPES,
    read_label,
    reason_to_leave_out,
    to_annotation,
)
from pixelwise.data.formats._rle import empty_rle
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import SPLITS, Annotation, BytesSource, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AmbiguousDataError, AnnotationError, DataError, without_name
from pixelwise.palette import IGNORE_INDEX

IGNORE_LABEL = "__ignore__"
"""Label of pixels to ignore. labelme's own converters use the same label."""

_HEAD = r'\s*\{\s*"(version|flags|shapes|imagePath|imageData|imageHeight|imageWidth|lineColor|fillColor)"\s*:'

_SAMPLED_FILES = 20
"""Number of JSON files that are read to detect the format."""


def read_labelme(root: Path, options: LabelOptions = LabelOptions()) -> FormatResult | None:  # noqa: B008, frozen
    """Read labelme: one JSON file of shapes per image, next to the image or in another folder.

    Classes are "background" and the labels in alphabetical order. The label `__ignore__` marks pixels to ignore. Later
    shapes cover earlier ones. The split of an image comes from a folder name. If there is no image file, the image is
    read from the JSON file (imageData). Lines are drawn if `options.line_width` is set.
    https://github.com/wkentaro/labelme

    Args:
        root: the folder of the data set.
        options: the user's options.

    Returns:
        The records, classes and issues. None if none of the first 20 JSON files is from labelme.

    Raises:
        DataError: All shapes are lines or points, or pycocotools is not installed.
        ConfigError: `line_width` is out of range.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    paths = [
        (folder, root / folder / name)
        for folder, names in listing.items()
        for name in names
        if name.lower().endswith(".json")
    ]
    if not any(_is_labelme(path) for _, path in paths[:_SAMPLED_FILES]):
        return None
    require_pycocotools(root)
    check_line_width(options.line_width)
    reader = _Reader(ImageIndex(root, listing), options.line_width)
    for folder, path in paths:
        if file_starts_with(path, _HEAD):
            reader.read(path, folder)
    reader.check_areas(root)
    classes, index_of = assign_class_ids(sorted(reader.labels() - {IGNORE_LABEL}))
    labels = index_of | {IGNORE_LABEL: IGNORE_INDEX}
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for file in reader.files:
        shapes = tuple(Annotation(labels[label], shape.polygons, shape.rle) for label, shape in file.shapes)
        records[file.split or "train"].append(Record(file.image, PolygonMask(file.first + shapes, str(file.path))))
    return polygon_result(records, classes, [*reader.issues, *reader.left_out.issues(), *reader.missing_files()])


def _is_labelme(path: Path) -> bool:
    if not file_starts_with(path, _HEAD):
        return False
    try:
        content = read_json(path)
    except DataError:
        return False
    return isinstance(content, dict) and "shapes" in content and bool({"imagePath", "imageData"} & set(content))


@dataclass(frozen=True)
class _File:
    """The content of one JSON file.

    Attributes:
        path: the file.
        image: the image.
        split: the split, or None if no folder names one.
        first: an empty annotation with the image's size, see `empty_rle`. () if the file does not state the size.
        shapes: (label, annotation whose label is replaced) in the order of the file.
    """

    path: Path
    image: BytesSource
    split: Split | None
    first: tuple[Annotation, ...]
    shapes: tuple[tuple[str, Annotation], ...]


@dataclass
class _Reader:
    """Reads JSON files one by one.

    Attributes:
        images: the images of the data set.
        line_width: width of lines in pixels, or None.
        files: the content of the valid files.
        issues: faults of files.
        left_out: counts of the shapes that are left out.
        line_labels: labels of the lines that are left out.
        line_count: number of lines that are drawn.
        point_count: number of points that are left out.
        path_of: image → its JSON file.
        renamed: (JSON file, its imagePath) of each file whose image was found by the stem of the JSON file instead.
    """

    images: ImageIndex
    line_width: float | None
    files: list[_File] = field(default_factory=list)
    issues: list[DataIssue] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    line_labels: list[str] = field(default_factory=list)
    line_count: int = 0
    point_count: int = 0
    path_of: dict[object, Path] = field(default_factory=dict)
    renamed: list[tuple[Path, str]] = field(default_factory=list)

    def read(self, path: Path, folder: str) -> None:
        """Read one JSON file. Faults become issues."""
        try:
            file = self._read_file(path, folder)
            if file is None:
                return
            other = self.path_of.setdefault(file.image, path)
            if other != path:
                raise AnnotationError(f"is of the same image as {other}; keep one of them")
            self.files.append(file)
        except DataError as error:
            self.issues.append(DataIssue("bad outline", str(path), without_name(error, path)))

    def labels(self) -> set[str]:
        """Return the labels of all shapes that are drawn."""
        return {label for file in self.files for label, _ in file.shapes}

    def check_areas(self, root: Path) -> None:
        """Raise DataError if all shapes are points, or lines that are not drawn.

        Add a warning if some labels have only such lines, and if `line_width` is set but there are no lines.
        """
        labels = self.labels()
        if not labels and self.line_labels:
            count = len(self.line_labels)
            raise AmbiguousDataError(
                f"{root}: has no shape with an area, but {count} line{'s' * (count > 1)} "
                f"({', '.join(sorted(set(self.line_labels))[:5])}); set `line_width` to their width in pixels to draw "
                f"them, for example {DEFAULT_LINE_WIDTH}, or draw polygons",
                [{"line_width": DEFAULT_LINE_WIDTH}],
            )
        if not labels and self.point_count:
            raise DataError(f"{root}: all shapes are points, which enclose nothing; masks need outlines: draw polygons")
        if self.line_width is not None and not self.line_count:
            message = "`line_width` is set, but no file has lines"
            self.issues.append(DataIssue("no lines", str(root), message, severity="warning"))
        lost = sorted(set(self.line_labels) - labels)
        if lost:
            message = f"{', '.join(lost)}: only lines have this label; it is left out; set `line_width` to draw lines"
            self.issues.append(DataIssue("class left out", str(root), message, severity="warning"))

    def missing_files(self) -> list[DataIssue]:
        """Return an issue for each image without a JSON file, in the folders of images that have one.

        Also return a warning if an imagePath does not exist and the image was found by the stem of the JSON file.
        """
        by_path = {self.images.path(image): image for image in self.images}
        folders = {by_path[image].folder for image in self.path_of if isinstance(image, Path)}
        message = "has no JSON file; annotate it (save it without shapes if it shows no object), or move it away"
        issues = [
            DataIssue("missing mask", str(path), message)
            for path, image in by_path.items()
            if image.folder in folders and path not in self.path_of
        ]
        if self.renamed:
            path, name = self.renamed[0]
            more = f" (also in {len(self.renamed) - 1} more)" if len(self.renamed) > 1 else ""
            message = f"its imagePath {quote(name)} does not exist{more}; the image named like the JSON file is used"
            issues.append(DataIssue("image renamed", str(path), message, severity="warning"))
        return issues

    def _read_file(self, path: Path, folder: str) -> _File | None:
        """Read a JSON file. Add an issue and return None if its image is missing."""
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise AnnotationError('must be an object with a list of "shapes"; save it again in labelme')
        split = split_of(folder)
        image = self._find_image(content, path, folder, split)
        if image is None:
            name = content.get("imagePath") or "its imagePath is empty"
            message = f"no such image here: {quote(name)}; add it, or move this file away"
            self.issues.append(DataIssue("missing image", str(path), message))
            return None
        size = _image_size(content)
        shapes = self._read_shapes(content["shapes"], size, path)
        return _File(path, image, split, (empty_rle(*size),) if size else (), shapes)

    def _find_image(
        self, content: Mapping[str, Any], path: Path, folder: str, split: Split | None
    ) -> BytesSource | None:
        """Return the image at imagePath, else the one in imageData, else the one with the stem of the JSON file."""
        name = content.get("imagePath")
        if name not in (None, "") and not is_name(name):
            raise AnnotationError("its imagePath must be the name of an image; fix it")
        file = self.images.find(name, folder, split, source=path) if name else None
        if file is not None:
            return self.images.path(file)
        if isinstance(content.get("imageData"), str) and content["imageData"]:
            return EmbeddedImage(path)
        file = self.images.find_stem(path.stem, folder, split)
        if file is None:
            return None
        self.renamed.append((path, name or "(no imagePath)"))
        return self.images.path(file)

    def _read_shapes(
        self, items: list[Any], size: tuple[int, int] | None, path: Path
    ) -> tuple[tuple[str, Annotation], ...]:
        """Return (label, annotation) of each shape that is drawn. Count the others in `left_out`."""
        shapes: list[tuple[str, Annotation]] = []
        omitted: list[tuple[int, str, str, str]] = []
        for index, item in enumerate(items):
            try:
                label, shape_type = read_label(item), str(item.get("shape_type") or "polygon")
                reason = reason_to_leave_out(item, shape_type, self.line_width)
                if reason is None:
                    shapes.append((label, to_annotation(item, shape_type, size, self.line_width)))
                    if size is not None:
                        self.left_out.add_outside(shapes[-1][1].polygons, size, str(path))
                    self.line_count += shape_type in LINE_TYPES
                    continue
            except AnnotationError as error:
                raise AnnotationError(f"shape {index} (from 0): {error}; fix or remove it") from None
            omitted.append((index, quote(shape_type), label, reason))
        for index, shape_type, _, reason in omitted:
            if not shapes and shape_type not in (*LINE_TYPES, *POINT_TYPES):
                raise AnnotationError(f"shape {index} (from 0, {shape_type}): {reason}; fix or remove it")
        for _, shape_type, label, reason in omitted:
            self.left_out.add(shape_type, reason, str(path))
            self.point_count += shape_type in POINT_TYPES
            self.line_labels += [label] * (shape_type in LINE_TYPES)
        return tuple(shapes)


def _image_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None and width is None:
        return None
    try:
        return check_image_size(height, width, ("imageHeight", "imageWidth"))
    except AnnotationError as error:
        raise AnnotationError(f"{error}; fix them") from None
