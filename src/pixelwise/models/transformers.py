"""Features of plain transformers, such as ViT, from blocks at several depths.

All blocks of a plain transformer return features of one size. timm's own choice, the last three blocks, has little
detail. Ranftl et al. 2021, "Vision Transformers for Dense Prediction", take four blocks that are evenly spaced.
"""

from collections.abc import Sequence

from torch import nn

from pixelwise.errors import ConfigError

DEPTHS = 4
"""Number of blocks whose outputs are the features."""


def block_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the blocks of a plain transformer from shallow to deep, or () for any other timm model.

    Args:
        model: a timm model.
    """
    features = getattr(model, "feature_info", None)
    if not hasattr(model, "forward_intermediates") or not isinstance(features, list) or len(features) < 2:
        return ()
    if len({feature["reduction"] for feature in features}) > 1:
        return ()
    return tuple(feature["module"] for feature in features)


def spread_blocks(names: Sequence[str]) -> tuple[str, ...]:
    """Return `DEPTHS` evenly spaced blocks, the last one included.

    >>> spread_blocks(list("abcdefgh"))
    ('b', 'd', 'f', 'h')
    """
    depths = min(DEPTHS, len(names))
    return tuple(names[(index + 1) * len(names) // depths - 1] for index in range(depths))


def cut_at_blocks(model: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Return a plain transformer that outputs the features of some blocks as (N, C, H, W). Later blocks are removed.

    Args:
        model: a model that has `block_names`. It is changed in place.
        layers: names of blocks, from shallow to deep.

    Raises:
        ConfigError: The blocks are not in order.
    """
    from timm.models._features import FeatureGetterNet

    names = block_names(model)
    indices = [names.index(layer) for layer in layers]
    if indices != sorted(set(indices)):
        raise ConfigError(f"`encoder_layers` must go from shallow to deep, each once: {', '.join(layers)}")
    return FeatureGetterNet(model, out_indices=tuple(indices))
