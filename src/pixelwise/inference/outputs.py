"""Output files of predictions: their names, and the mark that identifies the model and the image of a file.

The mark is a text in the PNG files. It allows a killed prediction to be resumed. It also prevents the outputs of two
models or of two folders of images from being mixed without an error.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.inference.inputs import UrlImage
from pixelwise.inference.predictor import Prediction, Predictor
from pixelwise.models.model import SegmentationModel
from pixelwise.visualization import save_image

_MAX_NAME_BYTES = 255
"""Maximum length of a file name in bytes, in most file systems."""

_MAX_CLASS_BYTES = 100
"""Maximum length of a class name in a file name, in bytes."""

_KEY = "pixelwise"
"""Keyword of the mark in the PNG files."""


@dataclass(frozen=True)
class Mark:
    """The metadata in the output files of an image.

    Attributes:
        model: the `fingerprint` of the model.
        image: the `digest` of the image file.
        width: width of the image in pixels.
        height: height of the image in pixels.
        shares: class name → fraction of the image's pixels, in [0, 1].
    """

    model: str
    image: str
    width: int
    height: int
    shares: dict[str, float]

    @staticmethod
    def of(prediction: Prediction, model: str, image: str) -> "Mark":
        """Return the mark of a prediction.

        Args:
            prediction: the prediction.
            model: the `fingerprint` of the model.
            image: the `digest` of the image file.
        """
        height, width = prediction.mask.shape[-2:]
        shares = {name: round(fraction, 6) for name, fraction in prediction.class_fractions.items()}
        return Mark(model, image, width, height, shares)


def fingerprint(model: SegmentationModel) -> str:
    """Return a hash of a model's weights and configuration, without its metrics. Masks depend on no other data."""
    hashed = hashlib.blake2b(model.config.model_dump_json(exclude={"metrics"}).encode(), digest_size=16)
    for name, tensor in model.state_dict().items():
        hashed.update(name.encode())
        hashed.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy())
    return hashed.hexdigest()


def digest(path: Path | UrlImage) -> str:
    """Return the `content_digest` of a file, or an empty string if the file cannot be read."""
    if isinstance(path, UrlImage):
        return path.digest()
    try:
        if not path.is_file():  # reading a named pipe would block
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError:
        return ""


def mask_kinds(predictor: Predictor) -> tuple[str, ...]:
    """Return the kinds of mask files that a model's predictions have: "mask", or "mask_CLASS" for each class.

    Characters of a class name other than letters, digits, "-" and "." are replaced by "_", and long names are cut.
    Class names that are then equal get a number. Case is ignored in this comparison, because some file systems ignore
    it.
    """
    kinds: dict[str, str] = {}
    for name in predictor.task.mask_names(predictor.classes):
        part = _cut("".join(c if c.isalnum() or c in "-." else "_" for c in name), _MAX_CLASS_BYTES)
        stem = "_".join(filter(None, ("mask", part)))
        kind, number = stem, 1
        while kind.casefold() in kinds:
            number += 1
            kind = f"{stem}-{number}"
        kinds[kind.casefold()] = kind
    return tuple(kinds.values())


def output_files(names: Sequence[Path], kinds: Sequence[str], out: Path) -> list[dict[str, Path]]:
    """Return the output files of each image by kind. No file appears twice.

    Args:
        names: relative path of each image without suffix, see `find_images`.
        kinds: the kinds of output files of each image, for example ("mask", "overlay").
        out: the directory of the output files.

    Returns:
        {kind: out/NAME_KIND.png} for each name. If an earlier image has one of these files (cat.jpg and cat.png), NAME
        gets a number (cat-2). A NAME that is too long for file systems is cut.
    """
    taken: set[str] = set()
    targets = []
    longest = max(len(os.fsencode(f"_{kind}.png")) for kind in kinds)
    for name in names:
        number = 1
        while True:
            ending = "" if number == 1 else f"-{number}"
            stem = _cut(name.name, _MAX_NAME_BYTES - longest - len(ending)) + ending
            files = {kind: out / name.with_name(f"{stem}_{kind}.png") for kind in kinds}
            keys = {str(file).casefold() for file in files.values()}
            if taken.isdisjoint(keys):
                break
            number += 1
        taken |= keys
        targets.append(files)
    return targets


def _cut(name: str, max_bytes: int) -> str:
    encoded = os.fsencode(name)
    return name if len(encoded) <= max_bytes else encoded[:max_bytes].decode(errors="ignore")


def write_outputs(prediction: Prediction, mark: Mark, kinds: Sequence[str], files: Mapping[str, Path]) -> None:
    """Write the overlay and the masks of a prediction, each atomically.

    Args:
        prediction: the prediction.
        mark: the mark to write into each file.
        kinds: the kinds of mask files, see `mask_kinds`.
        files: kind → output file, also for the kind "overlay".

    Raises:
        OutputError: A file cannot be written.
    """
    info = PngInfo()
    info.add_text(_KEY, json.dumps(asdict(mark)))
    # A resumed prediction skips an image only if all these files exist and have its mark.
    save_image(prediction.overlay(), files["overlay"], info)
    for kind, mask in zip(kinds, prediction.to_indexed_pngs().values(), strict=True):
        save_image(mask, files[kind], info)


def read_mark(path: Path) -> Mark | None:
    """Return the mark of an output file, or None if the file is missing, cannot be read or has no valid mark."""
    try:
        if not path.is_file():
            return None
        with Image.open(path, formats=("PNG",)) as image:
            content = json.loads(image.info.get(_KEY, "null"))
        mark = Mark(**content)
        is_valid = isinstance(mark.shares, dict) and isinstance(mark.width, int) and isinstance(mark.height, int)
        return mark if is_valid else None
    except (OSError, SyntaxError, ValueError, TypeError, RecursionError):
        return None
