"""One function for each way that data sets lie on disk: a folder → classes and records. FORMATS names them."""

from collections.abc import Callable
from pathlib import Path

from pixelwise.data.dataset import Dataset, Record
from pixelwise.errors import ConfigError, DataError, unknown_name
from pixelwise.visualize import default_palette


def oxford_pets(root: Path) -> Dataset | None:
    """Oxford-IIIT Pet: images/, annotations/trimaps/ and the official lists trainval.txt and test.txt.

    Trimaps hold 1 = pet, 2 = background, 3 = border, as the data set's own README says. A record's group is
    its breed. https://www.robots.ox.ac.uk/~vgg/data/pets/
    """
    annotations = root / "annotations"
    if not ((root / "images").is_dir() and (annotations / "trimaps").is_dir()):
        return None

    def records(split: str) -> tuple[Record, ...]:
        listed = annotations / f"{split}.txt"
        try:
            lines = listed.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(f"{listed}: the official list cannot be read ({reason})") from None
        names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        found = []
        for name in names:
            image, mask = root / "images" / f"{name}.jpg", annotations / "trimaps" / f"{name}.png"
            if not image.is_file():
                raise DataError(f"{image}: no such photo, though {listed.name} lists it; add it or take out the line")
            if not mask.is_file():
                raise DataError(f"{image}: has no mask (no {mask}); add it or take {name} out of {listed.name}")
            found.append(Record(image, mask, group=name.rpartition("_")[0]))
        return tuple(found)

    return Dataset(
        root=root,
        format="oxford-pets",
        classes=("pet", "background", "border"),
        palette=default_palette(3),
        mask_values={1: 0, 2: 1, 3: 2},
        train=records("trainval"),
        test=records("test"),
    )


FORMATS: dict[str, Callable[[Path], Dataset | None]] = {
    "oxford-pets": oxford_pets,
}
"""Name → function of the folder; None where the folder does not look like this format."""


def load_dataset(root: str | Path, format: str | None = None) -> Dataset:
    """Find out what lies in a folder: classes, and the records of the train, val and test splits.

    No pixel is read yet. `format` is a name in FORMATS, or None to tell by the folder.

    Raises DataError for a folder that is not there, is of no known format, or lists photos that it lacks.

    >>> load_dataset("oxford-iiit-pet/").classes  # doctest: +SKIP
    ('pet', 'background', 'border')
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if format is not None and format not in FORMATS:
        raise ConfigError(unknown_name("format", format, FORMATS))
    for name in [format] if format else FORMATS:
        dataset = FORMATS[name](root)
        if dataset is not None:
            return dataset
    raise DataError(f"{root}: is not laid out as any format pixelwise reads ({', '.join(FORMATS)})")
