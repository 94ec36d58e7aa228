"""Train on data sets with different classes: unknown classes as unknown, or as background, and complete labels.

The training images are divided among as many data sets as there are classes beside the background. Each data set keeps
the labels of one class, and all of its other pixels are background. Three trainings on the same images have the same
settings: joined (`join_datasets`), with unknown classes as background, and with the complete labels. All are evaluated
on the complete labels of the test split, at the size of the model.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import describe, existing, finish, make_parser, parse, say

if TYPE_CHECKING:
    import pixelwise as pw


def keep_class(data: "pw.DatasetIndex", name: str, background: str, number: int, count: int) -> "pw.DatasetIndex":
    """Return every `count`-th training image, with the labels of one class. The data set knows no other class."""
    names = (background, name)
    label_map = data.read_spec.label_map
    value_to_class = {
        value: index if index == 255 else int(data.classes[index] == name)
        for value, index in label_map.value_to_class.items()
    }
    return replace(
        data,
        root=f"{data.root}-{name}",
        classes=names,
        palette=tuple(data.palette[data.classes.index(each)] for each in names),
        read_spec=replace(data.read_spec, label_map=replace(label_map, value_to_class=value_to_class)),
        train=data.train[number::count],
        val=(),
        test=(),
    )


def without_unknown(data: "pw.DatasetIndex") -> "pw.DatasetIndex":
    """Return joined data sets in which pixels with several possible classes are background."""
    from pixelwise.data.partial_labels import FULL_LABELS

    labels, specs = data.read_spec.partial_labels, {}
    for record in data.train:
        label_map = record.read_spec.label_map
        values = {value: int(labels.backgrounds[index]) for value, index in label_map.value_to_class.items()}
        specs.setdefault(
            id(record.read_spec), replace(record.read_spec, label_map=replace(label_map, value_to_class=values))
        )
    train = tuple(replace(record, read_spec=specs[id(record.read_spec)]) for record in data.train)
    return replace(data, train=train, read_spec=replace(data.read_spec, partial_labels=FULL_LABELS))


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "pixelwise"))

    import pixelwise as pw
    from pixelwise.data.join import background_class, join_datasets

    full = pw.load_dataset(arguments.data)
    background = background_class(full.classes)
    kept = [name for name in full.classes if name != background]
    parts = [keep_class(full, name, background, number, len(kept)) for number, name in enumerate(kept)]
    joined = join_datasets(parts, full.classes, full.palette)
    sides = {
        "the class that a data set lacks is unknown there": joined,
        "the class that a data set lacks is background there": without_unknown(joined),
        "complete labels": full,
    }
    # With a frozen encoder and flips only, features are cached, and an epoch takes seconds.
    settings: dict[str, Any] = {"image_size": arguments.size, "epochs": arguments.epochs}
    settings |= {"encoder_training": "none", "augmentation": "flip"}
    if arguments.quick:
        settings = {"image_size": 32, "epochs": 1, "encoder_weights": "none", "encoder_training": "none"}
    runs: dict[str, Any] = {}
    for name, data in sides.items():
        say(f"{name}: {len(data.train)} training images")
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = pw.train(data, Path(folder) / "run", defaults=False, **settings)
            metrics = pw.evaluate(run, full, "test", resolution="model").metrics
        ious = {each: values.iou or 0.0 for each, values in metrics.classes.items()}
        runs[name] = {"miou": metrics.mean_iou, "iou": ious, "seconds": time.perf_counter() - started}
    headings = ("labels", "mIoU", *(f"IoU of {name}" for name in full.classes))
    rows = [
        (name, *(f"{value:.3f}" for value in (figures["miou"], *figures["iou"].values())))
        for name, figures in runs.items()
    ]
    finish(arguments.out, content | {"runs": runs, "table": [headings, *rows]})


if __name__ == "__main__":
    main()
