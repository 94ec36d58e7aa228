"""The location of a model: a run directory, a directory with its files, a file of weights, a group of runs, or a model
on the Hugging Face hub."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import RunError
from pixelwise.models.hub import is_hub_model, is_hub_name
from pixelwise.models.model_files import CONFIG_FILE, WEIGHTS_FILE
from pixelwise.runtime.files import expand_home

if TYPE_CHECKING:
    from pixelwise.models.ensemble import SegmentationEnsemble
    from pixelwise.models.model import SegmentationModel

# Functions import what imports torch, so that an exported file is found without torch.

_MODEL_SUFFIX = ".safetensors"

ONNX_SUFFIX, OPENVINO_SUFFIX, TORCH_SUFFIX = ".onnx", ".xml", ".pt2"

EXPORTED_SUFFIXES = (ONNX_SUFFIX, OPENVINO_SUFFIX, TORCH_SUFFIX)
"""Suffixes of exported files."""

WEIGHTS_SUFFIX = ".bin"
"""Suffix of the weights beside an OpenVINO model."""

_MAX_NAMED = 3
"""Maximum number of runs that a message names."""


def is_exported(path: str | Path) -> bool:
    """Return True if a path has the name of an exported file. It need not exist."""
    return expand_home(path).suffix.lower() in EXPORTED_SUFFIXES


def is_model(path: str | Path) -> bool:
    """Return True if a path is that of a model.

    A model is a run directory, a directory with model.safetensors, a group of runs, a .safetensors file, a model.json,
    an exported file, or the name of a model on the Hugging Face hub, "hf://user/name".
    """
    if isinstance(path, str) and "://" in path:
        return is_hub_model(path)
    place = expand_home(path)
    if place.is_dir():
        from pixelwise.runs.run_dir import Run

        return (place / WEIGHTS_FILE).exists() or Run.exists(place)
    if place.suffix.lower() == OPENVINO_SUFFIX:  # .xml files are often annotations of images
        return place.is_file() and place.with_suffix(WEIGHTS_SUFFIX).is_file()
    suffixes = (_MODEL_SUFFIX, ONNX_SUFFIX, TORCH_SUFFIX)
    return place.is_file() and (place.suffix.lower() in suffixes or place.name == CONFIG_FILE)


def load_model(path: str | Path | None) -> "SegmentationModel | SegmentationEnsemble":
    """Load the model at a path, or all models of a group of runs as an ensemble.

    Args:
        path: see `find_model`, or the name of a model on the Hugging Face hub, "hf://user/name@revision". None for the
            model for pets in the package.

    Returns:
        The model in evaluation mode, or the ensemble.

    Raises:
        RunError: There is no model, a file of it is damaged, or the hub cannot be reached.
    """
    from pixelwise.models.bundled import load_bundled_model
    from pixelwise.models.ensemble import SegmentationEnsemble
    from pixelwise.models.model import SegmentationModel
    from pixelwise.runs.group import RunGroup

    if path is None:
        return load_bundled_model()
    if is_hub_name(path):
        return SegmentationModel.from_pretrained(path)
    place = find_model(path)
    if not RunGroup.exists(place):
        return SegmentationModel.load(place)
    return SegmentationEnsemble([SegmentationModel.load(member) for member in RunGroup.open(place).paths])


def find_model(path: str | Path) -> Path:
    """Return the directory or the .safetensors file of a model, or the directory of a group of runs.

    Args:
        path: a run directory, a directory with model.safetensors, this file under any name, the model.json beside it,
            or the directory of a group of runs.

    Raises:
        RunError: There is no model. The message contains the fix.
    """
    place = expand_home(path)
    if place.name == CONFIG_FILE and place.is_file():
        place = place.parent
    if place.is_file():
        if is_exported(place):
            raise RunError(f"{place}: is an exported file, which has no weights to train or export; name its run here")
        if place.suffix != _MODEL_SUFFIX:
            raise RunError(f"{place}: is not a model; name a run directory or a {_MODEL_SUFFIX} file")
        is_unnamed = place.name == WEIGHTS_FILE and (place.with_name(CONFIG_FILE)).exists()
        return place.parent if is_unnamed else place
    from pixelwise.runs.group import RunGroup
    from pixelwise.runs.run_dir import Run

    if not place.is_dir():
        raise RunError(f"{place}: no such run directory; {_similar(place)}")
    if (place / WEIGHTS_FILE).exists() or RunGroup.exists(place):
        return place
    if Run.exists(place):
        raise RunError(
            f"{place}: this run has no model yet ({WEIGHTS_FILE}); its training writes it after the first epoch"
        )
    runs = runs_in(place)
    if runs:
        more = ", …" if len(runs) > _MAX_NAMED else ""
        raise RunError(
            f"{place}: no model here, but runs in it: {', '.join(map(str, runs[:_MAX_NAMED]))}{more}; name one"
        )
    raise RunError(f"{place / WEIGHTS_FILE}: no model here; name a run directory, or train one first")


def runs_in(folder: Path) -> list[Path]:
    """Return the directories with a model directly in a folder, the newest first. Empty if it cannot be read."""
    try:
        found = [path for path in folder.iterdir() if path.is_dir() and (path / WEIGHTS_FILE).exists()]
        return sorted(found, key=lambda path: (path / WEIGHTS_FILE).stat().st_mtime, reverse=True)
    except OSError:
        return []


def _similar(place: Path) -> str:
    """Return the fix for a missing run: a similar name beside it, or the command to train a model."""
    near = get_close_matches(place.name, [path.name for path in runs_in(place.parent)], n=1)
    return f"did you mean {place.with_name(near[0])}?" if near else "train one with pixelwise train"
