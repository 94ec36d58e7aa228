"""Writers of images and masks as annotation files of COCO, YOLO, labelme and Label Studio.

See `folders`. Annotations are rectangles of whole pixels, or run lengths, so that masks are read back exactly. A class
"background" is not annotated.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco

from pixelwise.palette import IGNORE_INDEX
from tests.data.formats.writers.folders import Sample, Writer, lines, save


def rectangles(inside: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return rectangles (left, top, right, bottom) that cover a mask exactly.

    They are the runs of each row, with equal runs in consecutive rows merged. Right and bottom are exclusive, because
    COCO's tools draw polygons so.
    """
    done, growing = [], dict[tuple[int, int], int]()
    for y, row in enumerate([*inside, np.zeros(inside.shape[1], bool)]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        runs = {(int(left), int(right)) for left, right in edges.reshape(-1, 2)}
        done += [(run[0], growing.pop(run), run[1], y) for run in list(growing) if run not in runs]
        for run in runs:
            growing.setdefault(run, y)
    return sorted(done)


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def objects(sample: Sample, classes: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (class index, (H, W) bool) for each class in the mask and for 255, but not for the background."""
    for index in np.unique(sample.mask):
        if index == IGNORE_INDEX or classes[index] != "background":
            yield int(index), sample.mask == index


def write_json(path: Path, content: Any) -> None:
    lines(path, [json.dumps(content)])


# --- COCO


def runs_of(inside: np.ndarray) -> dict[str, Any]:
    """Return uncompressed run lengths in column order. The first run is outside the object."""
    flat = inside.ravel(order="F").astype(np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=-1))
    return {"size": list(inside.shape), "counts": np.diff(ends, prepend=0).tolist()}


def packed(inside: np.ndarray) -> dict[str, Any]:
    """Return compressed run lengths."""
    rle = coco.encode(np.asfortranarray(inside, np.uint8))
    return {"size": list(inside.shape), "counts": rle["counts"].decode()}


def coco_content(samples: Sequence[Sample], classes: Sequence[str], names: Sequence[str], how: str) -> dict[str, Any]:
    """Return the content of a COCO file. Ids have gaps, as in COCO itself. Ignored pixels are a crowd."""
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, (sample, name) in enumerate(zip(samples, names, strict=True), start=7):
        height, width = sample.mask.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for index, inside in objects(sample, classes):
            crowd = index == IGNORE_INDEX
            segmentation: Any = packed(inside) if how == "packed" else runs_of(inside)
            if how == "polygons" and not crowd:
                segmentation = [[x for corner in corners(box) for x in corner] for box in rectangles(inside)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 3 * (0 if crowd else index) + 1,
                    "iscrowd": int(crowd),
                    "area": int(inside.sum()),
                    "bbox": coco.toBbox(coco.encode(np.asfortranarray(inside, np.uint8))).tolist(),
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 3 * i + 1, "name": name, "supercategory": "things"} for i, name in enumerate(classes)]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def splits(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    for split in dict.fromkeys(sample.split for sample in samples):
        yield split, [sample for sample in samples if sample.split == split]


def write_coco_polygons(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write images/ and annotations/instances_train.json, as CVAT and many others do."""
    for split, of_split in splits(samples):
        names = [f"{sample.name}.png" for sample in of_split]
        for sample, name in zip(of_split, names, strict=True):
            save(folder / "images" / name, sample.image)
        content = coco_content(of_split, classes, names, "polygons")
        write_json(folder / "annotations" / f"instances_{split}.json", content)


def write_coco_runs(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train2017/ and annotations/instances_train2017.json, with files of captions and key points, as in COCO."""
    for split, of_split in splits(samples):
        names = [f"{index:012}.png" for index in range(len(of_split))]  # the same names in each split
        for sample, name in zip(of_split, names, strict=True):
            save(folder / f"{split}2017" / name, sample.image)
        content = coco_content(of_split, classes, names, "runs")
        write_json(folder / "annotations" / f"instances_{split}2017.json", content)
        captions = [{"id": 1, "image_id": 7, "caption": "a scene"}]
        others = {"info": {}, "images": content["images"], "annotations": captions}
        write_json(folder / "annotations" / f"captions_{split}2017.json", others)
        points = [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": [1, 1, 2]}]
        others = {**others, "annotations": points, "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}]}
        write_json(folder / "annotations" / f"person_keypoints_{split}2017.json", others)


def write_coco_roboflow(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train/_annotations.coco.json next to the images, with a heading as category 0, as Roboflow does."""
    for split, of_split in splits(samples):
        names = [f"{sample.name}.png" for sample in of_split]
        split_folder = folder / {"val": "valid"}.get(split, split)
        for sample, name in zip(of_split, names, strict=True):
            save(split_folder / name, sample.image)
        content = coco_content(of_split, classes, names, "packed")
        content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})
        write_json(split_folder / "_annotations.coco.json", content)


def write_coco_one_file(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write data.json in the root, with paths of images in folders."""
    names = [f"day {index % 2}/{index // 2}.png" for index in range(len(samples))]
    for sample, name in zip(samples, names, strict=True):
        save(folder / "photos" / name, sample.image)
    write_json(folder / "data.json", coco_content(samples, classes, names, "polygons"))


# --- YOLO


def yolo_lines(sample: Sample, classes: Sequence[str]) -> list[str]:
    height, width = sample.mask.shape
    return [
        " ".join([str(index), *(f"{x / width:.8f} {y / height:.8f}" for x, y in corners(box))])
        for index, inside in objects(sample, classes)
        for box in rectangles(inside)
    ]


def write_yolo(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write images/train and labels/train as in Ultralytics. An image without objects has no label file."""
    for sample in samples:
        save(folder / "images" / sample.split / f"{sample.name}.png", sample.image)
        if rows := yolo_lines(sample, classes):
            lines(folder / "labels" / sample.split / f"{sample.name}.txt", rows)
    content = {"path": "../datasets/scenes", "names": dict(enumerate(classes))}
    content |= {split: f"images/{split}" for split, _ in splits(samples)}
    lines(folder / "data.yaml", [yaml.safe_dump(content, allow_unicode=True)])


def write_yolo_roboflow(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train/images and train/labels, with paths that start one folder too high, as Roboflow does."""
    for sample in samples:
        split_folder = folder / {"val": "valid"}.get(sample.split, sample.split)
        save(split_folder / "images" / f"{sample.name}.png", sample.image)
        lines(split_folder / "labels" / f"{sample.name}.txt", yolo_lines(sample, classes))
    paths = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    lines(folder / "data.yaml", [yaml.safe_dump({**paths, "nc": len(classes), "names": list(classes)})])


def write_yolo_lists(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write one folder of images, and a list for each split."""
    for sample in samples:
        save(folder / "images" / f"{sample.name}.png", sample.image)
        lines(folder / "labels" / f"{sample.name}.txt", yolo_lines(sample, classes))
    for split, of_split in splits(samples):
        lines(folder / f"{split}.txt", [f"./images/{sample.name}.png" for sample in of_split])
    content: dict[str, Any] = {split: f"{split}.txt" for split, _ in splits(samples)}
    lines(folder / "scenes.yaml", [yaml.safe_dump({**content, "names": list(classes)}, allow_unicode=True)])


# --- labelme


def base64_png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def labelme_content(sample: Sample, classes: Sequence[str], path: str, masks: bool = False) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    for index, inside in objects(sample, classes):
        label = "__ignore__" if index == IGNORE_INDEX else classes[index]
        if masks:
            rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            box = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
            part = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            shapes.append({"label": label, "points": box, "shape_type": "mask", "mask": base64_png(part)})
            continue
        for left, top, right, bottom in rectangles(inside):
            if len(shapes) % 2:
                shapes.append({"label": label, "points": [[right, bottom], [left, top]], "shape_type": "rectangle"})
            else:
                points = corners((left, top, right, bottom))
                shapes.append({"label": label, "points": points, "shape_type": "polygon"})
    height, width = sample.mask.shape
    shapes = [{**shape, "group_id": None, "flags": {}} for shape in shapes]
    size = {"imageHeight": height, "imageWidth": width}
    return {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None, **size}


def write_labelme(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a JSON file next to each image, in a folder for each split."""
    for sample in samples:
        save(folder / sample.split / f"{sample.name}.png", sample.image)
        content = labelme_content(sample, classes, f"{sample.name}.png")
        write_json(folder / sample.split / f"{sample.name}.json", content)


def write_labelme_masks(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write mask shapes to JSON files in their own folder, with paths of Windows."""
    for sample in samples:
        save(folder / "images" / f"{sample.name}.png", sample.image)
        content = labelme_content(sample, classes, f"..\\images\\{sample.name}.png", masks=True)
        write_json(folder / "labels" / f"{sample.name}.json", content)


def write_labelme_embedded(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write JSON files that contain the images."""
    for index, sample in enumerate(samples):
        content = labelme_content(sample, classes, f"{sample.name}.jpg")
        write_json(folder / sample.split / f"{index}.json", {**content, "imageData": base64_png(sample.image)})


# --- Label Studio


def brush_codes(inside: np.ndarray) -> list[int]:
    """Encode a mask as Label Studio does: short runs value by value, others as runs, with four word sizes."""
    lengths = (3, 4, 8, 16)
    values = np.repeat(inside.ravel().astype(np.uint8) * 255, 4)
    bits = [f"{len(values):032b}", f"{8 - 1:05b}", *(f"{length - 1:04b}" for length in lengths)]
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1), len(values)]
    for start, end in pairwise(edges):
        while start < end:
            count = min(end - start, 1 << lengths[-1])
            which = next(index for index, length in enumerate(lengths) if count <= 1 << length)
            as_run = count > 4
            bits.append(f"{int(as_run)}{which:02b}{count - 1:0{lengths[which]}b}")
            bits += [f"{value:08b}" for value in values[start : start + (1 if as_run else count)]]
            start += count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def regions(sample: Sample, classes: Sequence[str], brush: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (type, value) of each region: brushes, or polygons and rectangles alternately, in percent."""
    height, width = sample.mask.shape
    for index, inside in objects(sample, classes):
        if brush:
            yield "brushlabels", {"format": "rle", "rle": brush_codes(inside), "brushlabels": [classes[index]]}
            continue
        for at, box in enumerate(rectangles(inside)):
            (left, top), *_ = points = [[100 * x / width, 100 * y / height] for x, y in corners(box)]
            if at % 2:
                yield "polygonlabels", {"points": points, "polygonlabels": [classes[index]]}
            else:
                corner = {"x": left, "y": top, "width": points[2][0] - left, "height": points[2][1] - top}
                yield "rectanglelabels", {**corner, "rotation": 0, "rectanglelabels": [classes[index]]}


def label_studio_tasks(samples: Sequence[Sample], classes: Sequence[str], brush: bool) -> list[dict[str, Any]]:
    tasks = []
    for number, sample in enumerate(samples, start=1):
        height, width = sample.mask.shape
        outer = {"original_width": width, "original_height": height, "image_rotation": 0, "origin": "manual"}
        results = [
            {**outer, "id": f"r{at}", "from_name": "label", "to_name": "image", "type": kind, "value": value}
            for at, (kind, value) in enumerate(regions(sample, classes, brush))
        ]
        annotation = {"id": 10 * number, "result": results, "was_canceled": False, "ground_truth": False}
        data = {"image": f"/data/upload/1/{number:08x}-{sample.name}.png"}
        tasks.append({"id": number, "annotations": [annotation], "predictions": [], "data": data})
    return tasks


def write_label_studio(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a JSON export, and the images with their names before the upload."""
    for sample in samples:
        save(folder / sample.split / f"{sample.name}.png", sample.image)
    write_json(folder / "project-1.json", label_studio_tasks(samples, classes, brush=False))


def write_label_studio_brush(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write brush masks, with URLs of images in a local folder."""
    tasks = label_studio_tasks(samples, classes, brush=True)
    for sample, task in zip(samples, tasks, strict=True):
        save(folder / "photos" / f"{sample.name}.png", sample.image)
        task["data"]["image"] = f"/data/local-files/?d=photos/{sample.name.replace(' ', '%20')}.png"
    write_json(folder / "export.json", tasks)


def write_label_studio_min(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write JSON-MIN, with URLs of images in a bucket."""
    entries = []
    for sample, task in zip(samples, label_studio_tasks(samples, classes, brush=False), strict=True):
        save(folder / sample.split / f"{sample.name}.png", sample.image)
        (annotation,) = task["annotations"]
        sizes = ("original_width", "original_height")
        values = [{**region["value"], **{key: region[key] for key in sizes}} for region in annotation["result"]]
        metadata = {"annotator": 1, "annotation_id": annotation["id"], "created_at": "2024-01-01T00:00:00Z"}
        image = f"s3://bucket/{sample.split}/{sample.name}.png"
        entries.append({"image": image, "id": task["id"], "label": values, **metadata})
    write_json(folder / "project-1-min.json", entries)


WRITERS: dict[str, tuple[str, Writer]] = {
    "coco polygons": ("coco", write_coco_polygons),
    "coco runs": ("coco", write_coco_runs),
    "coco roboflow": ("coco", write_coco_roboflow),
    "coco one file": ("coco", write_coco_one_file),
    "yolo": ("yolo-seg", write_yolo),
    "yolo roboflow": ("yolo-seg", write_yolo_roboflow),
    "yolo lists": ("yolo-seg", write_yolo_lists),
    "labelme": ("labelme", write_labelme),
    "labelme masks": ("labelme", write_labelme_masks),
    "labelme embedded": ("labelme", write_labelme_embedded),
    "label studio": ("label-studio", write_label_studio),
    "label studio brush": ("label-studio", write_label_studio_brush),
    "label studio min": ("label-studio", write_label_studio_min),
}
"""Name → the format that reads the data, and the writer."""

NO_IGNORE = {name for name, (format, _) in WRITERS.items() if format in ("yolo-seg", "label-studio")}
"""Writers of formats without ignored pixels."""

NO_SPLITS = {"coco one file", "labelme masks", "label studio brush"}
"""Writers without splits. All images are in train."""
