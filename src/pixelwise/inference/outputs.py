"""Output files of predictions, and the mark in them that identifies the model and the image of a file.

The mark is a text in the image files. It allows a killed prediction to be resumed. It also prevents the outputs of two
models or of two folders of images from being mixed without an error.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pixelwise.inference.inputs import UrlImage
from pixelwise.inference.large_tiff import read_tiff_mark
from pixelwise.inference.output_options import MaskStyle
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.video_file import is_video, read_comment
from pixelwise.visualization import save_image

PNG_KEY = "pixelwise"
"""Keyword of the mark in PNG files."""


@dataclass(frozen=True)
class Mark:
    """The metadata in the output files of an image.

    Attributes:
        model: the `fingerprint` of the model.
        image: the `digest` of the image file.
        width: width of the image in pixels.
        height: height of the image in pixels.
        shares: class name → fraction of the image's pixels with data, in [0, 1]. Empty in overlays, because the comment
            of a JPEG file is limited to 64 kB, and in the masks of the frames of a video.
        masks: the values of the masks, see `Prediction.mask_images`.
    """

    model: str
    image: str
    width: int
    height: int
    shares: dict[str, float]
    masks: MaskStyle = "index"

    @staticmethod
    def of(prediction: Prediction, model: str, image: str, masks: MaskStyle = "index") -> "Mark":
        """Return the mark of a prediction.

        Args:
            prediction: the prediction.
            model: the `fingerprint` of the model.
            image: the `digest` of the image file.
            masks: the values of the masks.
        """
        height, width = prediction.mask.shape[-2:]
        shares = {name: round(fraction, 6) for name, fraction in prediction.class_fractions.items()}
        return Mark(model, image, width, height, shares, masks)

    def to_text(self) -> str:
        """Return the text that the files contain."""
        return json.dumps(vars(self))


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


def version_of(path: Path | UrlImage) -> str:
    """Return the version of an image at a URL, see `UrlImage`. Empty for a file, and if it is unknown."""
    return path.version if isinstance(path, UrlImage) else ""


def write_outputs(prediction: Prediction, mark: Mark, files: Mapping[str, Path]) -> None:
    """Write the overlay and the masks of a prediction, each atomically.

    Args:
        prediction: the prediction.
        mark: the mark to write into each file.
        files: kind → output file. The kinds are those of `mask_kinds` in their order, and optionally "overlay".

    Raises:
        OutputError: A file cannot be written.
        ConfigError: The values of the masks are not known, see `Prediction.mask_images`.
    """
    # A resumed prediction skips an image only if all these files exist and have its mark.
    if "overlay" in files:
        write_overlay(prediction, mark, files["overlay"])
    write_masks(prediction, mark, [file for kind, file in files.items() if kind != "overlay"])


def write_masks(prediction: Prediction, mark: Mark, files: Sequence[Path]) -> None:
    """Write the masks of a prediction, each atomically.

    Args:
        prediction: the prediction.
        mark: the mark to write into each file.
        files: one file for each kind of `mask_kinds` in their order.

    Raises:
        OutputError: A file cannot be written.
        ConfigError: The values of the masks are not known, see `Prediction.mask_images`.
    """
    text = {PNG_KEY: mark.to_text()}
    for file, (_, mask) in zip(files, prediction.iter_mask_images(mark.masks), strict=True):
        save_image(mask, file, text)


def write_overlay(prediction: Prediction, mark: Mark, file: Path) -> None:
    """Write the overlay of a prediction atomically.

    Args:
        prediction: the prediction.
        mark: the mark to write into the file, without its fractions.
        file: the file.

    Raises:
        OutputError: The file cannot be written.
    """
    save_image(prediction.overlay(), file, {PNG_KEY: replace(mark, shares={}).to_text()})


def read_mark(path: Path) -> Mark | None:
    """Return the mark of an output file, or None if the file is missing, cannot be read or has no valid mark."""
    try:
        if path.is_dir():  # the masks of the frames of a video
            return read_mark(next(iter(sorted(path.glob("*.png"))), path / "none"))
        if not path.is_file():
            return None
        if is_video(path):
            text = read_comment(path) or "null"
        elif path.suffix.lower() == ".tif":
            text = read_tiff_mark(path) or "null"
        else:
            with Image.open(path, formats=("PNG", "JPEG", "GIF")) as image:
                text = image.info.get(PNG_KEY if image.format == "PNG" else "comment", "null")
        mark = Mark(**json.loads(text))
        is_valid = isinstance(mark.shares, dict) and isinstance(mark.width, int) and isinstance(mark.height, int)
        return mark if is_valid else None
    except (OSError, SyntaxError, ValueError, TypeError, RecursionError):
        return None
