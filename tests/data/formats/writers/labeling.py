"""Writers of images and masks as files of CVAT, VIA and Supervisely, and as tables of run lengths.

See `annotations`.
"""

import base64
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from pixelwise.palette import to_hex, voc_palette
from tests.data.formats.writers.annotations import corners, objects, rectangles, splits, write_json
from tests.data.formats.writers.folders import Sample, Writer, lines, save

# --- CVAT


def cvat_root(classes: Sequence[str]) -> ET.Element:
    """Return the start of annotations.xml: the labels with their colors."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    for name, color in zip(classes, voc_palette(len(classes)), strict=True):
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "color").text = to_hex(color)
        ET.SubElement(label, "type").text = "any"
    return root


def cvat_image(root: ET.Element, sample: Sample, name: str, **attributes: str) -> ET.Element:
    height, width = sample.mask.shape
    return ET.SubElement(
        root, "image", {"id": str(len(root)), "name": name, **attributes, "width": str(width), "height": str(height)}
    )


def write_xml(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    lines(path, ['<?xml version="1.0" encoding="utf-8"?>', ET.tostring(root, encoding="unicode")])


def box_runs(part: np.ndarray) -> str:
    """Return the runs of a mask row by row. The first run is outside the object."""
    flat = part.ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=-1))
    return ", ".join(map(str, np.diff(ends, prepend=0)))


def write_cvat(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a project: polygons and boxes alternately, and images in a folder for each subset."""
    root = cvat_root(classes)
    for sample in samples:
        save(folder / "images" / sample.split / f"{sample.name}.png", sample.image)
        image = cvat_image(root, sample, f"{sample.name}.png", subset=sample.split.capitalize())
        for index, inside in objects(sample, classes):
            for left, top, right, bottom in rectangles(inside):
                attributes = {"label": classes[index], "occluded": "1", "z_order": "0"}
                if len(image) % 2:
                    points = ";".join(f"{x}.00,{y}.00" for x, y in corners((left, top, right, bottom)))
                    ET.SubElement(image, "polygon", {**attributes, "points": points})
                else:
                    box = {"xtl": f"{left}.0", "ytl": f"{top}.0", "xbr": f"{right}.0", "ybr": f"{bottom}.0"}
                    ET.SubElement(image, "box", {**attributes, **box})
    write_xml(folder / "annotations.xml", root)


def write_cvat_masks(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a task of brush masks, without subsets."""
    root = cvat_root(classes)
    for sample in samples:
        save(folder / "images" / f"{sample.name}.png", sample.image)
        image = cvat_image(root, sample, f"{sample.name}.png")
        for index, inside in objects(sample, classes):
            rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            part = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            place = {"left": columns[0], "top": rows[0], "width": part.shape[1], "height": part.shape[0]}
            attributes = {"label": classes[index], "rle": box_runs(part)}
            ET.SubElement(image, "mask", attributes | {key: str(value) for key, value in place.items()})
    write_xml(folder / "annotations.xml", root)


# --- VIA


def via_regions(sample: Sample, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield polygons and rectangles alternately, with the class as the attribute "kind"."""
    for index, inside in objects(sample, classes):
        for at, (left, top, right, bottom) in enumerate(rectangles(inside)):
            xs, ys = zip(*corners((left, top, right, bottom)), strict=True)
            shape: dict[str, Any] = {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}
            if at % 2:
                shape = {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top}
            yield {"shape_attributes": shape, "region_attributes": {"kind": classes[index]}}


def via_entries(samples: Sequence[Sample], classes: Sequence[str], version: int = 2) -> dict[str, Any]:
    """Return the entries of an annotation file. Version 1 numbers the regions."""
    entries = {}
    for sample in samples:
        regions = list(via_regions(sample, classes))
        entries[f"{sample.name}.png{sample.image.size}"] = {
            "filename": f"{sample.name}.png",
            "size": sample.image.size,
            "regions": {str(at): region for at, region in enumerate(regions)} if version == 1 else regions,
            "file_attributes": {},
        }
    return entries


def write_via(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write via_region_data.json of version 1 next to the images of each split, as in Matterport's balloons."""
    for split, of_split in splits(samples):
        for sample in of_split:
            save(folder / split / f"{sample.name}.png", sample.image)
        write_json(folder / split / "via_region_data.json", via_entries(of_split, classes, version=1))


def write_via_project(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a project of version 2, whose attribute "kind" has the classes as options."""
    for sample in samples:
        save(folder / "photos" / f"{sample.name}.png", sample.image)
    kind = {"type": "dropdown", "description": "", "options": dict.fromkeys(classes, ""), "default_options": {}}
    content = {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "scenes"}},
        "_via_img_metadata": via_entries(samples, classes),
        "_via_attributes": {"region": {"kind": kind}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [],
    }
    write_json(folder / "via_project.json", content)


def write_via_3(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a project of version 3. Classes are the numbers of options."""
    files, views, metadata = {}, {}, {}
    for number, sample in enumerate(samples, start=1):
        save(folder / sample.split / f"{sample.name}.png", sample.image)
        files[str(number)] = {"fid": str(number), "fname": f"{sample.name}.png", "type": 2, "loc": 1, "src": ""}
        views[str(number)] = {"fid_list": [str(number)]}
        for at, region in enumerate(via_regions(sample, classes)):
            shape = region["shape_attributes"]
            xy = [2, *(shape[key] for key in ("x", "y", "width", "height") if key in shape)]
            if shape["name"] == "polygon":
                pairs = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
                xy = [7, *(value for pair in pairs for value in pair)]
            av = {"1": str(classes.index(region["region_attributes"]["kind"]))}
            metadata[f"{number}_{at}"] = {"vid": str(number), "flg": 0, "z": [], "xy": xy, "av": av}
    options = {str(index): name for index, name in enumerate(classes)}
    attribute = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": options, "default_option_id": ""}
    content = {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "data_format_version": "3.1.1", "pname": "scenes"},
        "config": {},
        "attribute": {"1": attribute},
        "file": files,
        "metadata": metadata,
        "view": views,
    }
    write_json(folder / "via3.json", content)


# --- Supervisely


def bitmap(part: np.ndarray) -> str:
    """Encode a mask as Supervisely's library does: a palette PNG whose index 0 is transparent, zlib, base64."""
    image = Image.fromarray(part.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def supervisely_objects(sample: Sample, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield bitmaps of the first class; polygons and rectangles of the others, alternately."""
    for index, inside in objects(sample, classes):
        common = {"classTitle": classes[index], "tags": [], "description": ""}
        if index == 1:
            rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            part = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            data = {"data": bitmap(part), "origin": [int(columns[0]), int(rows[0])]}
            yield {**common, "geometryType": "bitmap", "bitmap": data}
            continue
        for at, box in enumerate(rectangles(inside)):
            points = [corners(box)[0], corners(box)[2]] if at % 2 else corners(box)
            kind = "rectangle" if at % 2 else "polygon"
            yield {**common, "geometryType": kind, "points": {"exterior": points, "interior": []}}


def write_supervisely(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a project with a dataset for each split."""
    colors = map(to_hex, voc_palette(len(classes)))
    titles = [
        {"title": name, "shape": "any", "color": color, "id": index}
        for index, (name, color) in enumerate(zip(classes, colors, strict=True))
    ]
    write_json(folder / "meta.json", {"classes": titles, "tags": [], "projectType": "images"})
    for sample in samples:
        height, width = sample.mask.shape
        save(folder / sample.split / "img" / f"{sample.name}.png", sample.image)
        size = {"height": height, "width": width}
        content = {"description": "", "tags": [], "size": size, "objects": list(supervisely_objects(sample, classes))}
        write_json(folder / sample.split / "ann" / f"{sample.name}.png.json", content)


# --- run lengths


def encoded_pixels(inside: np.ndarray, by_row: bool = False) -> str:
    """Return "start length …" with pixels counted from 1, along columns or rows."""
    flat = inside.ravel(order="C" if by_row else "F").astype(np.int8)
    edges = np.diff(flat, prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))


def rle_rows(sample: Sample, classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (class, run lengths) for each class but the background. They are empty if the class is not in the image."""
    masks = dict(objects(sample, classes))
    for index, name in enumerate(classes):
        if name != "background":
            yield name, encoded_pixels(masks[index]) if index in masks else ""


def write_severstal(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train.csv and train_images/ for each split, as Severstal."""
    for split, of_split in splits(samples):
        rows = ["ImageId,ClassId,EncodedPixels"]
        for sample in of_split:
            save(folder / f"{split}_images" / f"{sample.name}.png", sample.image)
            rows += [f'{sample.name}.png,"{name}",{runs}' for name, runs in rle_rows(sample, classes)]
        lines(folder / f"{split}.csv", rows)


def write_image_label(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write the image and the class in one column, as the first version of Severstal, and names without suffix."""
    rows = ["ImageId_ClassId,EncodedPixels"]
    for sample in samples:
        save(folder / "photos" / f"{sample.name}.png", sample.image)
        rows += [f"{sample.name}_{name},{runs}" for name, runs in rle_rows(sample, classes)]
    lines(folder / "runs.csv", rows)


WRITERS: dict[str, tuple[str, Writer]] = {
    "cvat": ("cvat", write_cvat),
    "cvat masks": ("cvat", write_cvat_masks),
    "via": ("via", write_via),
    "via project": ("via", write_via_project),
    "via 3": ("via", write_via_3),
    "supervisely": ("supervisely", write_supervisely),
    "severstal": ("run-lengths", write_severstal),
    "image and class": ("run-lengths", write_image_label),
}
"""Name → the format that reads the data, and the writer."""

NO_IGNORE = set(WRITERS)
"""Writers of formats without ignored pixels."""

NO_SPLITS = {"cvat masks", "via project", "image and class"}
"""Writers without splits. All images are in train."""
