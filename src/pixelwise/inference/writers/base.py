"""The interface of writers, what they write from, and their registry."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.data.task import Task
from pixelwise.errors import ConfigError
from pixelwise.inference.image_rows import ImageRows
from pixelwise.inference.output_options import MaskStyle, OverlayFormat
from pixelwise.inference.outputs import Mark
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.sources import ImageSource
from pixelwise.models.config import ModelConfig
from pixelwise.registry import Registry

if TYPE_CHECKING:
    from tifffile import TiffPage

    from pixelwise.inference.large_mask import MaskFile  # imports torch

Bytes = npt.NDArray[np.uint8]

Entry = dict[str, Any]
"""What a writer of a file for all images keeps of one image: a JSON object."""


@dataclass(frozen=True)
class WriteOptions:
    """The options of `predict_folder` that writers use.

    Attributes:
        config: the configuration of the model.
        masks: the values of the masks, see `Prediction.mask_images`.
        overlays: the format of the overlays.
        is_local: False if the files are moved to a URL. Then they cannot name an image by its path relative to them.
    """

    config: ModelConfig
    masks: MaskStyle = "index"
    overlays: OverlayFormat = "jpg"
    is_local: bool = True

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.config.task


@dataclass(frozen=True)
class FileSpec:
    """The name of one output file of each image.

    Attributes:
        suffix: its suffix, such as ".png".
        large_suffix: its suffix if the image is read in parts, see `is_large_file`. Empty for `suffix`.
        folder: the folder below the output directory in which the file is NAME.SUFFIX. None for a file
            NAME_KIND.SUFFIX in the output directory itself.
        has_mark: True if the file contains its `Mark`, as PNG, JPEG and TIFF files do.
    """

    suffix: str
    large_suffix: str = ""
    folder: str | None = None
    has_mark: bool = True


@dataclass(frozen=True, repr=False)
class PredictedImage:
    """An image and its predicted mask, for writers.

    Attributes:
        source: the image file.
        name: path of the image relative to the source that was searched, with its suffix and "/".
        config: the configuration of the model.
        mark: the mark of its files. It has the size of the image.
        prediction: a function that returns the image and the mask. For an image that is read in parts, both are
            reduced to `MAX_OVERLAY_SIDE`.
        channels: the channels of the mask at the size of the image, (H, W) uint8 each: one with class indices, or one
            with zeros and ones for each class of a multi-label model. Nodata pixels are 255.
        rows: the pixels of the image.
        mask_file: the file of the mask of an image that is read in parts, else None.
        page: the tags of such an image, else None.
        confidence: (H, W) float32 in [0, 1], or None if no writer needs it.
        probabilities: (C, H, W) float32 in [0, 1], or None if no writer needs them.
        cache: what a writer has computed for the others, by name.
    """

    source: ImageSource
    name: str
    config: ModelConfig
    mark: Mark
    prediction: Callable[[], Prediction]
    channels: Sequence[Bytes]
    rows: ImageRows
    mask_file: "MaskFile | None" = None
    page: "TiffPage | None" = None
    confidence: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.mark.height

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.mark.width


class Writer:
    """One kind of output of `predict_folder`. Subclasses are registered in `WRITERS`.

    A writer has files for each image (`files` and `write`), files for all images (`shared`, `entry` and `finish`), or
    both. The entries are kept in a file until all images are predicted, see `Journal`.

    Args:
        options: the options of the call.

    Attributes:
        needs: the arrays of `PredictedImage` that it needs: "confidence", "probabilities".
        shared: the files for all images, below the output directory.
        packages: module → the extra that installs it.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    shared: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[Mapping[str, str]] = {}

    def __init__(self, options: WriteOptions) -> None:
        self.options = options

    @property
    def has_entries(self) -> bool:
        """True if the writer keeps an entry of each image."""
        return type(self).entry is not Writer.entry

    def files(self) -> dict[str, FileSpec]:
        """Return the files of each image: kind → name. The kinds are the keys in predictions.json."""
        return {}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        """Write the files of an image, each atomically.

        Args:
            image: the image and its mask.
            files: kind → file, for the kinds of `files`.

        Raises:
            OutputError: A file cannot be written.
        """

    def entry(self, image: PredictedImage) -> Entry:
        """Return what the files for all images contain of one image."""
        raise NotImplementedError

    def finish(self, entries: Iterable[Entry], out: Path) -> None:
        """Write the files for all images, each atomically.

        Args:
            entries: the results of `entry`, in the order of the images. It can be iterated several times, and reads one
                entry at a time.
            out: the output directory.

        Raises:
            OutputError: A file cannot be written.
        """


WRITERS: Registry[type[Writer]] = Registry("output")
"""Name of an output in `predict_folder(write=…)` → its writer. The order is that of the keys in predictions.json."""


def make_writers(write: Iterable[str], options: WriteOptions) -> dict[str, Writer]:
    """Return the writers with some names, in the order of the registry.

    Args:
        write: names in `WRITERS`.
        options: the options of the call.

    Raises:
        ConfigError: A name is unknown, or a package that a writer needs is not installed.
    """
    names = {name: WRITERS[name].component for name in write}
    if not names:
        raise ConfigError(f"`write` is empty; name at least one of {', '.join(WRITERS)}")
    for name, writer in names.items():
        for module, extra in writer.packages.items():
            if find_spec(module) is None:
                raise ConfigError(f"the output '{name}' needs {module}; pip install 'pixelwise[{extra}]'")
    order = list(WRITERS)
    return {name: names[name](options) for name in sorted(names, key=order.index)}
