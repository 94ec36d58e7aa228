"""Read the Oxford-IIIT Pet data set in its official folder structure."""

from pathlib import Path

from pixelwise.data.formats._filesystem import is_folder, list_files
from pixelwise.data.io.image import is_special_file
from pixelwise.data.schema import DataIssue, FormatResult, LabelMap, Record
from pixelwise.errors import DataError


def read_oxford_pets(root: Path) -> FormatResult | None:
    """Read Oxford-IIIT Pet: images/, annotations/trimaps/ and the official lists trainval.txt and test.txt.

    Mask values are 1 = pet, 2 = background, 3 = border, as in the README of the data set. The stratum of a record is
    its breed. Returns None if images/, annotations/trimaps/ or both lists are missing.
    https://www.robots.ox.ac.uk/~vgg/data/pets/

    Raises:
        DataError: An official list cannot be read.
    """
    annotations = root / "annotations"
    if not (is_folder(root / "images") and is_folder(annotations / "trimaps")):
        return None
    if not any((annotations / f"{split}.txt").exists() for split in ("trainval", "test")):
        return None  # another data set
    issues: list[DataIssue] = []
    images, masks = (set(list_files(folder, depth=0)[""]) for folder in (root / "images", annotations / "trimaps"))

    def records(split: str) -> tuple[Record, ...]:
        path = annotations / f"{split}.txt"
        if is_special_file(path):  # a named pipe would block forever
            raise DataError(f"{path}: the official list cannot be read (not a file)")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(f"{path}: the official list cannot be read ({reason})") from None
        names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        pairs = []
        for name in names:
            image, mask = root / "images" / f"{name}.jpg", annotations / "trimaps" / f"{name}.png"
            if f"{name}.jpg" not in images:  # this also refuses a name with "/", which could leave the folder
                message = f"no such image, though {path.name} lists it; add it or remove the line"
                issues.append(DataIssue("missing image", str(image), message))
            elif f"{name}.png" not in masks:
                message = f"has no mask (no {mask}); add it or remove {name} from {path.name}"
                issues.append(DataIssue("missing mask", str(image), message))
            else:
                pairs.append(Record(image, mask, stratum=name.rpartition("_")[0]))
        return tuple(pairs)

    return FormatResult(
        train=records("trainval"),
        test=records("test"),
        classes=("pet", "background", "border"),
        label_map=LabelMap("index", {1: 0, 2: 1, 3: 2}),
        issues=tuple(issues),
    )
