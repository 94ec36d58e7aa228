"""The files of a model: model.safetensors and model.json.

model.safetensors   the weights, and the configuration as metadata (enough to build the model)
model.json          the same configuration as JSON, for users and other programs
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from pixelwise.errors import RunError, first_finding, first_line
from pixelwise.models.config import ModelConfig
from pixelwise.models.version1 import translate_tensor_names
from pixelwise.runtime.atomic import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "model.safetensors"

CONFIG_FILE = "model.json"

METADATA_KEY = "pixelwise"
"""Key of the configuration in the metadata of model.safetensors."""

_FIX = "copy its files again, or train it again"


def write_model_files(path: Path, config: ModelConfig, tensors: "Mapping[str, Tensor]") -> None:
    """Write model.safetensors and model.json into a directory.

    Each file replaces an earlier file of the same name atomically. model.json is written last. If the process is killed
    before that, model.json still has the metrics of the earlier weights.

    Args:
        path: an existing directory.
        config: the configuration.
        tensors: the weights by name.
    """
    with atomic_write(path / WEIGHTS_FILE) as temporary:
        write_weights(temporary, config, tensors)
    with atomic_write(path / CONFIG_FILE) as temporary:
        write_config(temporary, config)


def write_weights(path: Path, config: ModelConfig, tensors: "Mapping[str, Tensor]") -> None:
    """Write model.safetensors to a path in a temporary directory, see `write_tensors`."""
    from pixelwise.models.tensor_files import write_tensors  # imports torch, which is_model does not need

    write_tensors(dict(tensors), path, {METADATA_KEY: config.model_dump_json()})


def write_config(path: Path, config: ModelConfig) -> None:
    """Write model.json."""
    path.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_model_files(path: Path) -> "tuple[ModelConfig, dict[str, Tensor]]":
    """Return the configuration and the weights of a model.

    Args:
        path: the directory of the files, or a .safetensors file, see `SegmentationModel.load`.

    Returns:
        The configuration, and the weights by name.

    Raises:
        RunError: A file is missing or damaged, or the two files differ.
    """
    is_file = path.is_file()
    weights = path if is_file else path / WEIGHTS_FILE
    try:
        weights.open("rb").close()  # safetensors reports a file without read permission as missing
        with safe_open(weights, framework="pt") as file:
            metadata = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        stored = None if metadata is None else ModelConfig.model_validate_json(metadata)
        if stored is not None and (is_file or not (path / CONFIG_FILE).exists()):
            return stored, tensors
        if is_file:
            raise RunError(f"{path}: has no configuration of a model; name a directory that has {CONFIG_FILE} as well")
        config = ModelConfig.model_validate_json((path / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        missing = error.filename or path / WEIGHTS_FILE
        raise RunError(f"{missing}: no model here; train one first") from None
    except ValidationError as error:
        raise RunError(f"{path}: the model cannot be read ({first_finding(error)}); {_FIX}") from None
    except (OSError, UnicodeDecodeError, RecursionError, SafetensorError) as error:
        raise RunError(f"{path}: the model cannot be read ({first_line(error)}); {_FIX}") from None
    if stored is None:  # format 1
        return config, translate_tensor_names(tensors)
    # The two files are replaced one after the other. These fields can differ if the process was killed in between.
    if config.model_copy(update={"metrics": stored.metrics, "temperature": stored.temperature}) != stored:
        raise RunError(
            f"{path / CONFIG_FILE}: differs from the configuration in {WEIGHTS_FILE}, which decides; remove this file"
        )
    return stored, tensors
