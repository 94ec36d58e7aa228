"""Open a run or an exported file for predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.data.input_size import View
from pixelwise.errors import ConfigError
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.model_location import EXPORTED_SUFFIXES
from pixelwise.runtime.files import expand_home


def is_exported(path: str | Path) -> bool:
    """Return True if a path has the name of an exported file."""
    return expand_home(path).suffix.lower() in EXPORTED_SUFFIXES


def load_predictor(
    run: str | Path | None,
    device: str = "auto",
    view: View | None = None,
    scale: float | None = None,
    tta: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> ImagePredictor[Any]:
    """Return the predictor of a run or of an exported file. torch is imported for a run or a .pt2 file only.

    Args:
        run: a run, see `Predictor.load`, or an exported file. None for the model for pets in the package.
        device: see `Predictor`. An exported file accepts "auto" and "cpu".
        view: see `Predictor`. None for an exported file.
        scale: see `Predictor`. None for an exported file.
        tta: see `Predictor`. False for an exported file.
        thresholds: see `Predictor`. None for an exported file.

    Raises:
        RunError: There is no model, or it is damaged.
        ConfigError: An argument is invalid, or an exported file has no such option.
    """
    if run is None or not is_exported(run):
        from pixelwise.inference.predictor import Predictor

        return Predictor.load(run, device, view=view, scale=scale, tta=tta, thresholds=thresholds)
    from pixelwise.inference.exported.predictor import ExportedPredictor

    if device not in ("auto", "cpu"):
        raise ConfigError(f"{run}: an exported file predicts on the CPU; leave out `device`, or predict with the run")
    given = {"view": view not in (None, "whole"), "scale": scale is not None, "tta": tta}
    given["thresholds"] = bool(thresholds)
    for name in (name for name, is_given in given.items() if is_given):
        raise ConfigError(f"{run}: an exported file has no `{name}`; leave it out, or predict with the run")
    return ExportedPredictor.load(run)
