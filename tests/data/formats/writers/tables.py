"""Writers of images and masks in tables, and as Hugging Face's `datasets` saves them. See `folders`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.formats.writers.folders import Sample, Writer, lines, save

WORDS = {"train": "train", "val": "validation", "test": "test"}


def png(pixels: np.ndarray) -> bytes:
    """Return the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_images(folder: Path, samples: Sequence[Sample]) -> list[tuple[Path, Path]]:
    """Write images and masks to folders whose names have no role. Return their paths."""
    paths = []
    for sample in samples:
        image, mask = folder / "a" / f"{sample.name}.png", folder / "b c" / f"{sample.name}_x.png"
        save(image, sample.image)
        save(mask, sample.mask)
        paths.append((image, mask))
    return paths


def write_csv(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write relative paths, and classes.txt."""
    rows = [
        f'"{image.relative_to(folder)}",{mask.relative_to(folder)},{sample.split}'
        for (image, mask), sample in zip(make_images(folder, samples), samples, strict=True)
    ]
    lines(folder / "data.csv", ["image,mask,split", *rows])
    lines(folder / "classes.txt", classes)


def write_excel(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write a table as a German Excel does: byte order mark, semicolons, CRLF, and paths of Windows."""
    rows = [
        f"{str(mask.relative_to(folder)).replace('/', chr(92))};x;{WORDS[sample.split].upper()};{image}"
        for (image, mask), sample in zip(make_images(folder, samples), samples, strict=True)
    ]
    text = "\r\n".join(["Mask Path;note;Split; Filename", *rows, ";;;", ""])
    (folder / "Übersicht.CSV").write_bytes(text.encode("utf-8-sig"))
    lines(folder / "classes.txt", classes)


def write_urls(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write one table per split, with tabs and file:// URLs."""
    paths = make_images(folder / "elsewhere", samples)
    for split in {sample.split for sample in samples}:
        rows = [
            f"{image.as_uri()}\tfile://{mask}"
            for (image, mask), sample in zip(paths, samples, strict=True)
            if sample.split == split
        ]
        lines(folder / f"{WORDS[split]}.tsv", ["image\tannotation", *rows])
    lines(folder / "classes.txt", classes)


def write_parquet(folder: Path, columns: dict[str, Any], row_group_size: int = 2) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "data.parquet", row_group_size=row_group_size)


def write_parquet_paths(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    paths = make_images(folder, samples)
    columns = {
        "number": list(range(len(samples))),
        "image": [str(image.relative_to(folder)) for image, _ in paths],
        "mask": [str(mask) for _, mask in paths],
        "split": [sample.split for sample in samples],
    }
    write_parquet(folder, columns)
    lines(folder / "classes.txt", classes)


def write_parquet_bytes(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "image": [png(sample.image) for sample in samples],
        "mask": [{"bytes": png(sample.mask), "path": f"{sample.name}.png"} for sample in samples],
        "split": [sample.split for sample in samples],
    }
    write_parquet(folder, columns)
    lines(folder / "classes.txt", classes)


def write_layers_csv(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write multi-label masks: one column per class, with an empty cell if the class is not in the image."""
    rows = []
    for sample in samples:
        save(folder / "a" / f"{sample.name}.png", sample.image)
        cells = [f"a/{sample.name}.png"]
        for index, _ in enumerate(classes):
            present = sample.mask == index
            cells.append(f"b/{sample.name}_{index}.png" if present.any() else "")
            if present.any():
                save(folder / cells[-1], present.astype(np.uint8) * 255)
        rows.append(",".join([*cells, sample.split]))
    lines(folder / "data.csv", [",".join(["image", *(f"mask:{name}" for name in classes), "split"]), *rows])


def hf_dataset(samples: Sequence[Sample], classes: Sequence[str], columns: tuple[str, str] = ("image", "label")) -> Any:
    """Return the samples as a datasets.Dataset."""
    import datasets

    features = {column: datasets.Image() for column in columns}
    features["classes"] = datasets.Sequence(datasets.ClassLabel(names=list(classes)))
    rows = {
        columns[0]: [{"bytes": png(sample.image), "path": None} for sample in samples],
        columns[1]: [{"bytes": png(sample.mask), "path": f"{sample.name}.png"} for sample in samples],
        "classes": [[label for label in np.unique(sample.mask).tolist() if label != 255] for sample in samples],
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def by_split(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    return {WORDS[split]: [s for s in samples if s.split == split] for split in {s.split: None for s in samples}}


def write_saved(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write DatasetDict.save_to_disk, with two files per split."""
    import datasets

    saved = datasets.DatasetDict({word: hf_dataset(part, classes) for word, part in by_split(samples).items()})
    saved.save_to_disk(str(folder), num_shards={word: min(2, len(part)) for word, part in by_split(samples).items()})


def write_saved_alone(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write Dataset.save_to_disk of some rows, without splits."""
    hf_dataset([samples[0], *samples], classes, ("pixel_values", "some name")).select(
        range(1, len(samples) + 1)
    ).save_to_disk(str(folder))


def write_hub(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write data/train-00000-of-00002.parquet, …, as the hub serves data sets."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for word, part in by_split(samples).items():
        halves = [half for half in (part[::2], part[1::2]) if half]
        for index, half in enumerate(halves):
            name = f"{word}-{index:05}-of-{len(halves):05}.parquet"
            hf_dataset(half, classes).to_parquet(str(folder / "data" / name), batch_size=2)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")


def write_converted(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write default/train/0000.parquet, …, as the hub converts data sets."""
    for word, part in by_split(samples).items():
        (folder / "default" / word).mkdir(parents=True, exist_ok=True)
        hf_dataset(part, classes, ("img", "segmentation_mask")).to_parquet(
            str(folder / "default" / word / "0000.parquet")
        )


WRITERS: dict[str, tuple[str, Writer]] = {
    "csv": ("table", write_csv),
    "excel": ("table", write_excel),
    "urls": ("table", write_urls),
    "parquet paths": ("table", write_parquet_paths),
    "parquet bytes": ("table", write_parquet_bytes),
    "layers csv": ("table", write_layers_csv),
    "saved": ("huggingface", write_saved),
    "saved alone": ("huggingface", write_saved_alone),
    "hub": ("huggingface", write_hub),
    "converted": ("huggingface", write_converted),
}
"""Name → the format that reads the data, and the writer."""

NO_SPLITS = {"saved alone"}
