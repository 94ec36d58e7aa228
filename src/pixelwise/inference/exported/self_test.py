"""The self-test of an exported file: the images inside it must give the masks inside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import RunError
from pixelwise.inference.exported.metadata import MIN_EQUAL
from pixelwise.inference.exported.open_file import open_exported
from pixelwise.runtime.files import expand_home


@dataclass(frozen=True)
class SelfTestResult:
    """Result of `verify`.

    Attributes:
        path: the file.
        equal: for each image, the fraction of equal pixels in [0, 1].
        sizes: height and width of each image.
        precision: "float32", "int8" or "bfloat16".
        package: name of the package that computed the masks.
    """

    path: Path
    equal: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]
    precision: str
    package: str

    @property
    def is_passed(self) -> bool:
        """True if at least 99.9 % of the pixels of each image are equal."""
        return min(self.equal) >= MIN_EQUAL


def verify(path: str | Path) -> SelfTestResult:
    """Compute the masks of the images inside an exported file on this machine, and compare them.

    Args:
        path: the file.

    Returns:
        The fraction of equal pixels of each image.

    Raises:
        RunError: The file is missing, damaged, or not an exported file of pixelwise.
        ConfigError: The package that computes it is not installed.

    >>> verify("pets.onnx").is_passed  # doctest: +SKIP
    True
    """
    file = open_exported(expand_home(path))
    config = file.metadata.model
    classes = len(config.classes) if config.task is MULTILABEL else None
    equal, sizes = [], []
    for test in file.metadata.tests:
        try:
            image, expected = test.decode(len(config.mean), classes)
        except RunError as error:
            raise RunError(f"{path}: {error}; export it again") from None
        equal.append(float(np.mean(file.run(image).mask == expected)))
        sizes.append((image.shape[0], image.shape[1]))
    return SelfTestResult(file.path, tuple(equal), tuple(sizes), file.metadata.precision, file.package)
