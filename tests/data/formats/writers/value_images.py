"""Writers of masks with their own meaning of values: folders that labelme exports, and COCO panoptic. See `folders`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise.palette import IGNORE_INDEX
from tests.data.formats.writers.annotations import splits, write_json
from tests.data.formats.writers.folders import Sample, Writer, lines, save


def write_labelme_export(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write SPLIT/NAME_json/ with img.png, label.png, and label_names.txt in another order in every second folder."""
    for index, sample in enumerate(samples):
        inside = folder / sample.split / f"{sample.name}_json"
        order = [0, *range(len(classes) - 1, 0, -1)] if index % 2 else list(range(len(classes)))
        values = np.full(256, IGNORE_INDEX, np.uint8)
        values[order] = range(len(order))
        save(inside / "img.png", sample.image)
        save(inside / "label.png", values[sample.mask])
        save(inside / "label_viz.png", sample.image // 2)
        lines(inside / "label_names.txt", ["_background_", *(classes[number] for number in order[1:])])


def write_panoptic(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write SPLIT2017/ and annotations/panoptic_SPLIT2017/. Each image has its own segment ids. 0 is ignored."""
    for split, of_split in splits(samples):
        images, annotations = [], []
        for number, sample in enumerate(of_split, start=1):
            present = [int(value) for value in np.unique(sample.mask) if value != IGNORE_INDEX]
            id_of = {value: 1000 * number + 77 * value + 1 for value in present}
            ids = np.zeros(sample.mask.shape, np.int64)
            for value, segment in id_of.items():
                ids[sample.mask == value] = segment
            colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
            save(folder / f"{split}2017" / f"{sample.name}.png", sample.image)
            save(folder / "annotations" / f"panoptic_{split}2017" / f"{sample.name}.png", colors)
            images.append({"id": number, "file_name": f"{sample.name}.png"})
            segments = [{"id": segment, "category_id": value + 1} for value, segment in id_of.items()]
            annotations.append({"image_id": number, "file_name": f"{sample.name}.png", "segments_info": segments})
        categories = [{"id": index + 1, "name": name, "isthing": int(index > 0)} for index, name in enumerate(classes)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / "annotations" / f"panoptic_{split}2017.json", content)


WRITERS: dict[str, tuple[str, Writer]] = {
    "labelme export": ("labelme-export", write_labelme_export),
    "coco panoptic": ("coco-panoptic", write_panoptic),
}
"""Name → the format that reads the data, and the writer."""
