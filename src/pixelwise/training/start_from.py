"""Start a training from the best model of another run, also with more classes."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.config.build_model import freeze_encoder, window_factor
from pixelwise.data.index import DatasetIndex
from pixelwise.data.join import background_class, join_datasets
from pixelwise.errors import ConfigError
from pixelwise.models.config import ModelConfig
from pixelwise.models.model import SegmentationModel
from pixelwise.models.timm_models import check_sizes
from pixelwise.palette import IGNORE_INDEX, Palette, default_palette
from pixelwise.runs.run_dir import Run

FIXED_SETTINGS = ("encoder", "encoder_weights", "encoder_layers", "encoder_padding", "normalization", "decoder")
"""Settings of the model that a training with `start_from` takes from the other run. They cannot be changed."""

_KEPT_FIELDS = (
    "mean", "std", "bit_depth", "pixel_range", "band_ranges", "nodata", "task", "encoder", "encoder_layers",
    "encoder_padding", "decoder", "licenses",
)  # fmt: skip
"""Fields of `ModelConfig` that are those of the run that the training starts from."""

SIZE_SETTINGS = ("view", "scale", "image_size", "eval_scale")
"""Settings of the view and its size that a training with `start_from` takes from the other run by default."""


def inherited_settings(source: str | Path, view: str | None = None) -> dict[str, Any]:
    """Return the settings that a training takes from the run that it starts from.

    Args:
        source: the run directory.
        view: the view that was given, or None. If it is not that of the run, only the settings of the model are taken.

    Returns:
        Field of `Config` → value.

    Raises:
        RunError: The directory contains no run.
    """
    config = Run.open(source).config
    names = FIXED_SETTINGS if view not in (None, config.view) else (*FIXED_SETTINGS, *SIZE_SETTINGS)
    return {name: getattr(config, name) for name in names}


def inherit_settings(config: Config, given: Collection[str]) -> Config:
    """Replace settings by those of the run `config.start_from`. If it is None, return the settings unchanged.

    `encoder_training` "auto" becomes "all": the encoder trains from the first step, because the decoder is trained
    already.

    Args:
        config: the settings.
        given: the names of the settings that were given. The others have default values.

    Raises:
        RunError: `start_from` contains no run.
        ConfigError: A setting of `FIXED_SETTINGS` was given, and differs from that of the run.
    """
    if config.start_from is None:
        return config
    inherited = inherited_settings(config.start_from, config.view if "view" in given else None)
    for name in FIXED_SETTINGS:
        if name in given and getattr(config, name) != inherited[name]:
            raise ConfigError(
                f"`{name}` cannot change: the model of {config.start_from} has {inherited[name]!r}; leave it out"
            )
    settings = {name: value for name, value in inherited.items() if name not in given}
    if config.encoder_training == "auto":
        settings["encoder_training"] = "all"
    return config.replace(**settings, start_from=str(Path(config.start_from).absolute()))


def match_classes(data: DatasetIndex, config: Config) -> DatasetIndex:
    """Return a data set with the classes of the run `config.start_from`, then its own new ones.

    A class of the run that the data set does not have is unknown in its images, see `join_datasets`.

    Args:
        data: the data set. It is returned unchanged if `start_from` is None.
        config: the settings.

    Returns:
        The data set. The colors of the run's classes are those of the run.

    Raises:
        RunError: The run has no model.
        ConfigError: The run has no class of the data set.
    """
    if config.start_from is None:
        return data
    model = SegmentationModel.load(Path(config.start_from)).config
    classes = merge_classes(model.classes, data.classes)
    if len(classes) == len(model.classes) + len(data.classes):
        raise ConfigError(
            f"{data.root}: has the classes {', '.join(data.classes)}, and the model of {config.start_from} has "
            f"{', '.join(model.classes)}; name equal classes alike by `label_map`, or train a new model"
        )
    palette = _merge_palettes(model, data, classes)
    sets = [_read_like(part, model) for part in (data.sets or (data,))]
    if classes == data.classes and (not data.sets or tuple(sets) == data.sets):
        return replace(data if data.sets else sets[0], palette=palette)
    return join_datasets(sets, classes, palette)


def _read_like(data: DatasetIndex, model: ModelConfig) -> DatasetIndex:
    """Return a data set whose pixel values are scaled to 0..255 as those of a model's training images."""
    spec = data.read_spec.with_scale(model.pixel_scale)
    return data if spec == data.read_spec else replace(data, read_spec=spec)


def merge_classes(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Return the old classes in their order, then the new ones. The backgrounds of both are one class.

    >>> merge_classes(("background", "cat"), ("other", "cat", "dog"))
    ('background', 'cat', 'dog')
    """
    background = background_class(new) if background_class(old) is not None else None
    return (*old, *(name for name in new if name not in old and name != background))


def _merge_palettes(model: ModelConfig, data: DatasetIndex, classes: tuple[str, ...]) -> Palette:
    """Return the colors of the model's classes, then those of the new classes. A color that is taken is replaced."""
    colors = list(model.palette)
    own = dict(zip(data.classes, data.palette, strict=True))
    free = (color for color in default_palette(IGNORE_INDEX) if color not in colors)
    for name in classes[len(colors) :]:
        colors.append(next(free) if own[name] in colors else own[name])
    return tuple(colors)


def start_model(data: DatasetIndex, config: Config) -> SegmentationModel:
    """Return the model at the start of a training: a new one, or that of the run `config.start_from`.

    Args:
        data: the data set, as `match_classes` returns it.
        config: the settings, as `inherit_settings` returns them.

    Returns:
        The model. In a layer with one row per class, the rows of the run's classes are those of its best model, and the
        rows of new classes are random.

    Raises:
        ConfigError: The settings, or the images and masks, do not fit the model.
        RunError: The run has no model.
        WeightsError: The encoder weights of a new model are missing.
    """
    if config.start_from is None:
        return config.create_model(data.classes, data.palette, data.read_spec)
    check_sizes(config.encoder, config.image_size, config.eval_size, config.start_size)
    source = SegmentationModel.load(Path(config.start_from))
    if data.read_spec.task is not source.config.task:
        raise ConfigError(
            f"{data.root}: the masks are {data.read_spec.task.name}, and the model of {config.start_from} is "
            f"{source.config.task.name}; train a new model"
        )
    if data.read_spec.channels != len(source.config.mean):
        raise ConfigError(
            f"{data.root}: images have {data.read_spec.channels} channels, and the model of {config.start_from} takes "
            f"{len(source.config.mean)}; train a new model"
        )
    # A new ModelConfig has the defaults of the fields that describe the other training's data.
    fields = {name: getattr(source.config, name) for name in _KEPT_FIELDS}
    model = SegmentationModel(
        ModelConfig(
            classes=data.classes,
            palette=data.palette,
            size=config.eval_size,
            view=config.view,
            scale=config.scale,
            window_factor=window_factor(config),
            **fields,
        )
    ).train()
    model.load_state_dict(transfer_weights(source.state_dict(), model.state_dict(), len(source.config.classes)))
    freeze_encoder(model, config)
    return model


def transfer_weights(old: Mapping[str, Tensor], new: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """Return the weights of a model that starts from another model, which can have fewer classes.

    Args:
        old: the state_dict() of the other model.
        new: the state_dict() of the model. Its first classes are those of the other model.
        classes: number of classes of the other model.

    Returns:
        The weights of `old`. A tensor with one row per class has the rows of `new` for its further classes.

    >>> import torch
    >>> transfer_weights({"bias": torch.tensor([1.0, 2.0])}, {"bias": torch.zeros(3)}, 2)
    {'bias': tensor([1., 2., 0.])}
    """
    weights = {}
    for name, tensor in new.items():
        before = old[name]
        # The axis of the classes depends on the layer: it is the first of a convolution, and the second of a transposed
        # convolution.
        for axis, (size, old_size) in enumerate(zip(tensor.shape, before.shape, strict=True)):
            if size != old_size:
                before = torch.cat([before, tensor.narrow(axis, classes, size - classes)], axis)
        weights[name] = before
    return weights
