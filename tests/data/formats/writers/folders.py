"""Writers of images and masks in folders, one for each folder format.

Each is a function of (folder, samples, classes). Masks have the values 0..C-1, and 255 for "ignore". Images are stored
without loss, also under the suffix .jpg, so that pixels can be compared.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.palette import IGNORE_INDEX, voc_palette


@dataclass(frozen=True)
class Sample:
    """An image (HWC uint8) and its mask (HW uint8 class indices, 255 = ignore) of a split: train, val or test."""

    name: str
    split: str
    image: np.ndarray
    mask: np.ndarray


def draw_scenes(names: Sequence[str], values: Sequence[int]) -> list[Sample]:
    """Return six tiny random scenes: three in train, one in val, two in test.

    Args:
        names: the six names.
        values: the mask values, each equally likely.
    """
    random = np.random.default_rng(0)
    scenes = []
    for index, (name, split) in enumerate(zip(names, ("train", "train", "train", "val", "test", "test"), strict=True)):
        image = random.integers(0, 256, (9, 12 + index, 3), np.uint8)
        scenes.append(Sample(name, split, image, random.choice(np.array(values, np.uint8), image.shape[:2])))
    return scenes


Writer = Callable[[Path, Sequence[Sample], Sequence[str]], None]

COLORS = (
    (10, 20, 30),
    (200, 0, 0),
    (0, 200, 0),
    (0, 0, 200),
    (200, 200, 0),
    (0, 200, 200),
    (200, 0, 200),
    (90, 9, 99),
)
"""Colors of classes in RGB masks. Data with more classes uses the palette of VOC."""
VOID_COLOR = (224, 224, 192)


def save(path: Path, pixels: np.ndarray, palette: Sequence[Sequence[int]] = ()) -> None:
    """Write an image and create its folder. With a palette, the pixels are its indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([value for color in palette for value in color])
    if path.suffix == ".webp":
        image.save(path, lossless=True)
    else:
        image.save(path)


def lines(path: Path, texts: Sequence[str]) -> None:
    """Write lines of text and create the folder of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def colors(count: int) -> Sequence[tuple[int, int, int]]:
    return COLORS[:count] if count <= len(COLORS) else voc_palette(count)


def in_colors(mask: np.ndarray, count: int) -> np.ndarray:
    """Return a mask as (H, W, 3) RGB."""
    table = np.full((256, 3), VOID_COLOR, np.uint8)
    table[:count] = colors(count)
    return table[mask]


def mapped(mask: np.ndarray, values: dict[int, int]) -> np.ndarray:
    """Return a mask with other values."""
    table = np.zeros(256, np.uint8)
    for index, value in values.items():
        table[index] = value
    return table[mask]


def write_camvid(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    for index, sample in enumerate(samples):
        name = f"0001TP_{index:06}"
        save(folder / sample.split / f"{name}.png", sample.image)
        save(
            folder / f"{sample.split}annot" / f"{name}.png", mapped(sample.mask, {i: i for i in range(11)} | {255: 11})
        )


def write_carvana(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write PNG content with the suffix .jpg. Images are decoded by content, so the pixels are exact."""
    for sample in samples:
        image = folder / "train" / f"{sample.name}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.image).save(image, "PNG")
        mask = folder / "train_masks" / f"{sample.name}_mask.gif"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.mask).save(mask, optimize=False)  # optimizing would renumber the values


def write_voc(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write VOC as CVAT exports it: labelmap.txt and palette PNG masks."""
    palette = [*colors(len(classes))] + [(0, 0, 0)] * (255 - len(classes)) + [VOID_COLOR]
    for sample in samples:
        save(folder / "JPEGImages" / f"{sample.name}.png", sample.image)
        save(folder / "SegmentationClass" / f"{sample.name}.png", sample.mask, palette)
    for split in {sample.split for sample in samples}:
        lines(folder / "ImageSets" / "Segmentation" / f"{split}.txt", [s.name for s in samples if s.split == split])
    rows = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(classes, colors(len(classes)), strict=True)]
    lines(folder / "labelmap.txt", ["# label:color_rgb:parts:actions", *rows])


def write_voc_official(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write VOC as in the official archive, with numbers as names. The classes are its first classes."""
    root = folder / "VOCdevkit" / "VOC2012"
    palette = [*voc_palette(255), VOID_COLOR]
    for index, sample in enumerate(samples):
        save(root / "JPEGImages" / f"2007_{index:06}.png", sample.image)
        save(root / "SegmentationClass" / f"2007_{index:06}.png", sample.mask, palette)
    for split in {sample.split for sample in samples}:
        names = [f"2007_{index:06}" for index, sample in enumerate(samples) if sample.split == split]
        lines(root / "ImageSets" / "Segmentation" / f"{split}.txt", names)


LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def write_cityscapes(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    values = dict(enumerate(LABEL_IDS)) | {IGNORE_INDEX: 3}
    for index, sample in enumerate(samples):
        place, name = f"{sample.split}/aachen", f"aachen_{index:06}_000019"
        save(folder / "leftImg8bit" / place / f"{name}_leftImg8bit.png", sample.image)
        save(folder / "gtFine" / place / f"{name}_gtFine_labelIds.png", mapped(sample.mask, values))
        save(folder / "gtFine" / place / f"{name}_gtFine_color.png", in_colors(sample.mask, len(classes)))
        save(folder / "gtFine" / place / f"{name}_gtFine_instanceIds.png", sample.mask.astype(np.uint16))
        lines(folder / "gtFine" / place / f"{name}_gtFine_polygons.json", ["{}"])


def write_cityscapes_train_ids(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    for index, sample in enumerate(samples):
        place, name = f"{sample.split}/aachen", f"aachen_{index:06}_000019"
        save(folder / "leftImg8bit" / place / f"{name}_leftImg8bit.png", sample.image)
        save(folder / "gtFine" / place / f"{name}_gtFine_labelTrainIds.png", sample.mask)


def write_ade20k(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write ADE20K. Its splits are training and validation, so samples for testing are in validation."""
    values = {index: index + 1 for index in range(len(classes))} | {IGNORE_INDEX: 0}
    for sample in samples:
        split = "training" if sample.split == "train" else "validation"
        save(folder / "images" / split / f"{sample.name}.png", sample.image)
        save(folder / "annotations" / split / f"{sample.name}.png", mapped(sample.mask, values))
    rows = [f"{index + 1}\t0.1\t10\t10\t0\t{name}, thing" for index, name in enumerate(classes)]
    lines(folder / "objectInfo150.txt", ["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows])


def write_two_folders(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write images/ and masks/ without splits, and classes.txt."""
    for sample in samples:
        save(folder / "images" / f"{sample.name}.png", sample.image)
        save(folder / "masks" / f"{sample.name}.png", sample.mask)
    lines(folder / "classes.txt", classes)


def write_split_first(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train/Images and train/Labels with suffixes in upper case, RGB masks, and class_dict.csv."""
    for sample in samples:
        save(folder / sample.split / "Images" / f"{sample.name}.PNG", sample.image)
        save(folder / sample.split / "Labels" / f"{sample.name}_L.PNG", in_colors(sample.mask, len(classes)))
    rows = [f"{name},{r},{g},{b}" for name, (r, g, b) in zip(classes, colors(len(classes)), strict=True)]
    lines(folder / "class_dict.csv", ["name,r,g,b", *rows])


def write_role_first(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write color/training and label/training, and the names of values in JSON."""
    words = {"train": "training", "val": "validation", "test": "testing"}
    for sample in samples:
        save(folder / "color" / words[sample.split] / f"{sample.name}.webp", sample.image)
        save(folder / "label" / words[sample.split] / f"{sample.name}.bmp", sample.mask)
    (folder / "_classes.json").write_text(json.dumps({name: index for index, name in enumerate(classes)}))


def write_split_and_role(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train/ and train_labels/. The stems of masks end with _gt."""
    for sample in samples:
        save(folder / sample.split / f"{sample.name}.png", sample.image)
        save(folder / f"{sample.split}_labels" / f"{sample.name}_gt.tif", sample.mask)


def write_side_by_side(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write train/, valid/ and test/ as Roboflow does: masks next to the images, and _classes.csv in each folder."""
    words = {"train": "train", "val": "valid", "test": "test"}
    rows = [f"{index}, {name}" for index, name in enumerate(classes)]
    for sample in samples:
        inside = folder / words[sample.split]
        save(inside / f"{sample.name}_jpg.rf.0a1b.png", sample.image)
        save(inside / f"{sample.name}_jpg.rf.0a1b_mask.png", sample.mask)
        lines(inside / "_classes.csv", ["Pixel Value, Class", *rows])


def write_prefixed(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write everything to one folder, mask_… next to image_…"""
    for sample in samples:
        save(folder / f"image_{sample.name}.png", sample.image)
        save(folder / f"mask_{sample.name}.png", sample.mask)


def write_nested(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write subfolders of images/ and masks/ with equal file names, and lists of paths for the splits."""
    for index, sample in enumerate(samples):
        place = f"day {index % 2}/{index // 2}.png"
        save(folder / "images" / place, sample.image)
        save(folder / "masks" / place, sample.mask)
    for split in {sample.split for sample in samples}:
        rows = [f"images/day {i % 2}/{i // 2}.png" for i, sample in enumerate(samples) if sample.split == split]
        lines(folder / f"{split}.txt", rows)


def write_layers(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write multi-label masks: masks/CLASS/NAME.png of 0 and 255, without a file if the class is not in the image."""
    for sample in samples:
        save(folder / "images" / f"{sample.name}.png", sample.image)
        for index, name in enumerate(classes):
            if (sample.mask == index).any():
                save(folder / "masks" / name / f"{sample.name}.png", (sample.mask == index).astype(np.uint8) * 255)


WRITERS: dict[str, tuple[str, Writer]] = {
    "camvid": ("camvid", write_camvid),
    "carvana": ("carvana", write_carvana),
    "voc": ("voc", write_voc),
    "voc official": ("voc", write_voc_official),
    "cityscapes": ("cityscapes", write_cityscapes),
    "cityscapes train ids": ("cityscapes", write_cityscapes_train_ids),
    "ade20k": ("ade20k", write_ade20k),
    "two folders": ("folders", write_two_folders),
    "split first": ("folders", write_split_first),
    "role first": ("folders", write_role_first),
    "split and role": ("folders", write_split_and_role),
    "side by side": ("folders", write_side_by_side),
    "prefixed": ("folders", write_prefixed),
    "nested": ("folders", write_nested),
    "layers": ("folders", write_layers),
}
"""Name → the format that reads the data, and the writer."""

IN_COLORS = {"voc", "split first"}
"""Writers of RGB masks, or of palette masks with a file that names their colors."""

NO_SPLITS = {"carvana", "two folders", "prefixed", "layers"}
"""Writers without splits. All images are in train."""
