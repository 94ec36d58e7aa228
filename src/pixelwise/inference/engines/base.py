"""The interface of engines, which compute the predictions of `predict_folder`, and their registry."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.registry import Registry
from pixelwise.runtime.progress import Progress


class Engine(Protocol):
    """A function that predicts images and videos, and writes the files of each.

    `predict_folder` finds the images, and writes the tables and the files for all images from the results. So these
    are the same with each engine.
    """

    def __call__(
        self,
        predictor: ImagePredictor[Any],
        items: Sequence[OutputItem],
        outputs: OutputSet,
        part_progress: tuple[Progress, Progress],
    ) -> Iterator[ItemResult | PixelwiseError]:
        """Yield the result of each item in order, or an error that concerns this item only.

        Args:
            predictor: the model.
            items: the images and videos.
            outputs: writes the files of an item.
            part_progress: counts steps of rows of large images, and frames of videos.

        Raises:
            OutputError: The disk is full, or another error concerns all files.
        """
        ...


ENGINES: Registry[Engine] = Registry("engine")
"""Name of an engine in `predict_folder(engine=…)` → the engine.

Trait `packages`: the modules that the extra of the same name installs.
"""


def get_engine(name: str) -> Engine:
    """Return an engine.

    Args:
        name: a name in `ENGINES`.

    Raises:
        ConfigError: The name is unknown, or a package that the engine needs is not installed.
    """
    entry = ENGINES[name]
    missing = [module for module in entry.traits.get("packages", ()) if find_spec(module) is None]
    if missing:
        raise ConfigError(f"the engine '{name}' needs {' and '.join(missing)}; pip install 'pixelwise[{name}]'")
    return entry.component
