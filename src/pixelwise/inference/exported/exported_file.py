"""The common part of all kinds of exported files: the names of inputs and outputs, and the checks of the masks."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import RunError, first_finding, first_line
from pixelwise.inference.exported.metadata import MAX_METADATA_BYTES, Bytes, ExportMetadata
from pixelwise.runtime.threads import available_cpus, parallel_map

IMAGE, MASK, PROBABILITIES, CONFIDENCE = "image", "mask", "probabilities", "class_confidence"
"""Names of the input and of the outputs."""

PLANES, NETWORK_INPUT = "planes", "resized"
"""Names of the image as (1, channels, H, W) uint8, and of the same at the model's size. In an image of this size, they
are equal."""

LABELS, IMAGE_LABELS = "labels", "image_labels"
"""Names of the classes at the size of the logits, and at that of the image. If the image has the model's size, they are
equal."""

_NO_MEMORY = re.compile("allocate memory|bad_alloc|bad allocation|not enough memory")


@dataclass(frozen=True)
class ExportedOutput:
    """The outputs of an exported file for one image.

    Attributes:
        mask: (H, W) uint8, or (C, H, W) for a multi-label model, with 255 at pixels without data.
        confidences: (C,) float32, the mean probability of each class over its pixels. NaN for a class without pixels.
        probabilities: (C, H, W) float32 in [0, 1], or None if they were not requested.
    """

    mask: Bytes
    confidences: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32] | None = None

    @property
    def nbytes(self) -> int:
        """The size of the arrays in bytes."""
        return self.mask.nbytes + (0 if self.probabilities is None else self.probabilities.nbytes)


class ExportedFile(ABC):
    """A file that computes masks. A subclass opens it with the package that can compute it, and sets the attributes.

    Attributes:
        path: the file.
        metadata: its metadata.
        package: name of the package that computes it.
    """

    path: Path
    metadata: ExportMetadata
    package: ClassVar[str]

    @property
    @abstractmethod
    def has_probabilities(self) -> bool:
        """True if the file has the output of probabilities."""

    @abstractmethod
    def compute(self, image: Bytes, names: Sequence[str], one_thread: bool) -> list[np.ndarray]:
        """Return the outputs of these names.

        Args:
            image: (1, H, W, channels) of any size.
            names: the outputs.
            one_thread: True to compute with one thread, because other threads compute other images.
        """

    @property
    def parts(self) -> tuple[Path, ...]:
        """All files that belong to it. The first one is `path`."""
        return (self.path,)

    def digest(self) -> str:
        """Return a hash of the content of all its files."""
        digest = hashlib.blake2b()
        for part in self.parts:
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()[:32]

    def run_all(self, images: Sequence[Bytes], probabilities: bool = False) -> list[ExportedOutput]:
        """Compute the masks of several images, as many at a time as there are CPUs.

        A small network does not keep several cores busy with one image.

        Args:
            images: (H, W, channels) each, of any sizes.
            probabilities: see `run`.

        Raises:
            MemoryError: See `run`.
            RunError: See `run`.
        """
        if min(available_cpus(), len(images)) <= 1:
            return [self.run(image, probabilities) for image in images]
        return parallel_map(lambda image: self.run(image, probabilities, one_thread=True), images)

    def run(self, image: Bytes, probabilities: bool = False, one_thread: bool = False) -> ExportedOutput:
        """Compute the mask of an image.

        Args:
            image: (H, W, channels) of any size.
            probabilities: True for the probabilities too. The file must have them.
            one_thread: see `compute`.

        Raises:
            MemoryError: The memory does not suffice.
            RunError: The file computes something else than a mask.
        """
        names = [MASK, CONFIDENCE, *[PROBABILITIES] * probabilities]
        try:
            mask, confidences, *others = self.compute(image[None], names, one_thread)
        except Exception as error:  # the classes of the errors of ONNX Runtime have no common base class
            if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                raise MemoryError(self.plain(error)) from None
            raise RunError(f"{self.path}: cannot compute a mask ({self.plain(error)}); export it again") from None
        self._check_mask(mask, confidences, image)
        return ExportedOutput(mask[0], confidences, others[0][0] if others else None)

    def check_image(self, shape: Sequence[Any], is_uint8: bool) -> None:
        """Raise RunError if the input is not an image.

        Args:
            shape: the shape of the input.
            is_uint8: True if its values are uint8.
        """
        channels = len(self.metadata.model.mean)
        if not is_uint8 or len(shape) != 4 or shape[0] != 1 or shape[3] != channels:
            raise RunError(f"{self.path}: does not take an image (1, H, W, {channels}) of uint8; export it again")

    @staticmethod
    def plain(error: Exception) -> str:
        """Return the first line of an error of the package."""
        return first_line(error)[:300]

    def _check_mask(self, mask: np.ndarray, confidences: np.ndarray, image: Bytes) -> None:
        config = self.metadata.model
        shape = config.task.mask_shape(len(config.classes), image.shape[0], image.shape[1])
        values = 2 if config.task is MULTILABEL else len(config.classes)
        if mask.shape != (1, *shape) or confidences.shape != (len(config.classes),):
            raise RunError(f"{self.path}: gives a mask of shape {mask.shape} for an image of {image.shape[:2]} pixels")
        highest = int(mask.max()) if not config.band_ranges else int(np.where(mask == 255, 0, mask).max())
        if highest >= values:
            raise RunError(f"{self.path}: gives the class {highest}, but has {len(config.classes)} classes")


def check_readable(path: Path) -> None:
    """Raise RunError if a file cannot be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror or error}); copy it here, or name another file"
        ) from None


def parse_metadata(path: Path, text: str | None) -> ExportMetadata:
    """Return the metadata of a file.

    Args:
        path: the file.
        text: its metadata as JSON, or None if it has none.

    Raises:
        RunError: It has none, or they are invalid.
    """
    if text is None:
        raise RunError(f"{path}: is a file of another program; name one of pixelwise")
    if len(text) > MAX_METADATA_BYTES:
        raise RunError(f"{path}: its metadata have {len(text)} bytes; at most {MAX_METADATA_BYTES} are allowed")
    try:
        return ExportMetadata.model_validate_json(text)
    except ValidationError as error:
        raise RunError(f"{path}: its metadata cannot be read ({first_finding(error)}); export it again") from None
