"""Writers of annotations: COCO, YOLO and labelme."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from pixelwise.data.formats._rle import encode_part
from pixelwise.inference.writers.base import WRITERS, Entry, FileSpec, PredictedImage, Writer
from pixelwise.inference.writers.regions import (
    POLYGON_PACKAGES,
    Region,
    annotated_classes,
    find_regions,
    to_base64_png,
)
from pixelwise.runtime.atomic import atomic_write, write_text


@WRITERS.register("coco")
class CocoWriter(Writer):
    """coco.json: polygons of regions without holes, and run lengths of those with holes.

    Categories are the classes without the background, with ids from 1. https://cocodataset.org/#format-data
    """

    shared: ClassVar[tuple[str, ...]] = ("coco.json",)
    packages: ClassVar[Mapping[str, str]] = {**POLYGON_PACKAGES, "pycocotools": "coco"}

    def entry(self, image: PredictedImage) -> Entry:
        numbers = {index: number for number, index in enumerate(annotated_classes(image.config), start=1)}
        size = (image.height, image.width)
        annotations = [
            {"category_id": numbers[region.class_id], **_coco_shape(region, size)} for region in find_regions(image)
        ]
        return {
            "image": {"file_name": image.name, "width": image.width, "height": image.height},
            "annotations": annotations,
        }

    def finish(self, entries: Iterable[Entry], out: Path) -> None:
        names = [self.options.config.classes[index] for index in annotated_classes(self.options.config)]
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        with atomic_write(out / "coco.json") as part, part.open("w", encoding="utf-8") as file:
            file.write('{"info": {"description": "predictions of pixelwise"},\n')
            file.write(f'"categories": {_text(categories)},\n"images": [')
            for number, entry in enumerate(entries, start=1):
                file.write(("," if number > 1 else "") + "\n" + _text({"id": number, **entry["image"]}))
            file.write('\n],\n"annotations": [')
            count = 0
            for number, entry in enumerate(entries, start=1):
                for annotation in entry["annotations"]:
                    count += 1
                    head = {"id": count, "image_id": number, "iscrowd": 0}
                    file.write(("," if count > 1 else "") + "\n" + _text(head | annotation))
            file.write("\n]}\n")


def _coco_shape(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    left, top, right, bottom = region.box
    segmentation: Any = [[int(value) for value in region.rings[0].ravel()]]
    if region.has_holes:
        rle = encode_part(region.pixels(), left, top, size)
        segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
    return {"segmentation": segmentation, "area": region.area, "bbox": [left, top, right - left, bottom - top]}


@WRITERS.register("yolo")
class YoloWriter(Writer):
    """yolo/labels/NAME.txt: a line per region, with the class number and the corners from 0 to 1; and yolo/data.yaml.

    Seams of no width join the holes of a region to its outline. https://docs.ultralytics.com/datasets/segment/
    """

    shared: ClassVar[tuple[str, ...]] = ("yolo/data.yaml",)
    packages: ClassVar[Mapping[str, str]] = POLYGON_PACKAGES

    def files(self) -> dict[str, FileSpec]:
        return {"yolo": FileSpec(".txt", folder="yolo/labels", has_mark=False)}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        numbers = {index: number for number, index in enumerate(annotated_classes(image.config))}
        with atomic_write(files["yolo"]) as part, part.open("w", encoding="ascii") as file:
            for region in find_regions(image):
                corners = (region.keyhole() / (image.width, image.height)).ravel()
                file.write(f"{numbers[region.class_id]} {' '.join(f'{value:.8g}' for value in corners)}\n")

    def finish(self, entries: Iterable[Entry], out: Path) -> None:
        names = [self.options.config.classes[index] for index in annotated_classes(self.options.config)]
        settings = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(names))}
        head = "# Put the images into the folder images beside this file, with the names of their label files.\n"
        write_text(out / "yolo" / "data.yaml", head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


@WRITERS.register("labelme")
class LabelmeWriter(Writer):
    """labelme/NAME.json: a polygon for each region without holes, and a mask for each with holes.

    https://github.com/wkentaro/labelme
    """

    packages: ClassVar[Mapping[str, str]] = POLYGON_PACKAGES

    def files(self) -> dict[str, FileSpec]:
        return {"labelme": FileSpec(".json", folder="labelme", has_mark=False)}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        file = files["labelme"]
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_labelme_shape(region, image.config.classes[region.class_id]) for region in find_regions(image)],
            "imagePath": _relative_path(image.source, file.parent if self.options.is_local else None),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        write_text(file, json.dumps(content, indent=2) + "\n")


def _labelme_shape(region: Region, label: str) -> dict[str, Any]:
    shape: dict[str, Any] = {"label": label, "group_id": None, "description": "", "flags": {}, "mask": None}
    if not region.has_holes:
        return shape | {"shape_type": "polygon", "points": region.rings[0].tolist()}
    left, top, right, bottom = region.box
    points = np.array([[left, top], [right - 1, bottom - 1]], float).tolist()  # the last pixel is inside
    return shape | {"shape_type": "mask", "points": points, "mask": to_base64_png(region.pixels())}


def _relative_path(source: object, folder: Path | None) -> str:
    """Return the path of an image relative to a folder, or its absolute path without one, or the URL of an image."""
    if not isinstance(source, Path):
        return str(source)
    if folder is None:
        return source.absolute().as_posix()
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return str(source)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
