"""The search space: the settings that a search can change, and their values."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.config import Config
from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.data.input_size import map_sides, mean_side, to_plain
from pixelwise.data.task import Task
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.losses import LOSSES
from pixelwise.models.timm_models import has_fixed_input_size
from pixelwise.registry import name_of

Value = float | int | str
"""A value of a setting in a search."""


@dataclass(frozen=True)
class Range:
    """Numbers in an interval.

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: True if the logarithm is drawn uniformly, False if the value is.
    """

    low: float
    high: float
    log: bool = False

    def including(self, value: float) -> "Range":
        """Return the smallest interval with these numbers and `value`. It is logarithmic only if `value` is above 0.

        >>> Range(0.001, 0.1, log=True).including(0.0)
        Range(low=0.0, high=0.1, log=False)
        """
        return Range(min(self.low, value), max(self.high, value), self.log and value > 0)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Values without an order.

    Attributes:
        values: the values, at least one.
    """

    values: tuple[Value, ...]

    def including(self, value: Value) -> "Choice":
        """Return these values, with `value` before them if it is not one of them."""
        return self if value in self.values else Choice((value, *self.values))

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Dimension = Range | Choice

DimensionRule = Callable[[Config, Task], Dimension | None]
"""A function (settings before the search, task) → the values. It returns None if the setting has no effect."""


def _lr(config: Config, task: Task) -> Dimension:
    return Range(config.lr / 10, config.lr * 5, log=True)


def _encoder_lr_factor(config: Config, task: Task) -> Dimension | None:
    return None if config.encoder_training == "none" else Range(0.02, 1.0, log=True)


def _image_size(config: Config, task: Task) -> Dimension | None:
    """Return the size before the search, and about a quarter less and more, as multiples of 32 pixels."""
    if has_fixed_input_size(config.encoder):
        return None
    smaller = map_sides(lambda side: max(32, round(side * 0.75 / 32) * 32), config.image_size)
    larger = map_sides(lambda side: round(side * 1.25 / 32) * 32, config.image_size)
    sizes = sorted({smaller, config.image_size, larger}, key=mean_side)
    return Choice(tuple(map(to_plain, sizes)))


def _loss(config: Config, task: Task) -> Dimension | None:
    """Return the loss before the search and common ones. A loss that is a mapping with parameters is not searched."""
    if not isinstance(config.loss, str):
        return None
    known = LOSSES.names(tasks=task.name)
    common = [name for name in ("cross_entropy", "cross_entropy_dice", "focal", "bce", "bce_dice") if name in known]
    return Choice(tuple(dict.fromkeys([config.loss, *common])))


def _class_weights(config: Config, task: Task) -> Dimension | None:
    return Choice(("none", "inverse_sqrt", "balanced")) if isinstance(config.class_weights, str) else None


def _augmentation(parameter: str, dimension: Dimension) -> DimensionRule:
    """Return the rule of a parameter, for augmentations that have it."""

    def rule(config: Config, task: Task) -> Dimension | None:
        fields = AUGMENTATIONS[name_of(config.augmentation)].params.model_fields
        return dimension if parameter in fields else None

    return rule


SPACE: dict[str, DimensionRule] = {
    "lr": _lr,
    "encoder_lr_factor": _encoder_lr_factor,
    "weight_decay": lambda config, task: Range(1e-4, 0.3, log=True),
    "image_size": _image_size,
    "loss": _loss,
    "class_weights": _class_weights,
    "augmentation.min_scale": _augmentation("min_scale", Range(0.2, 1.0)),
    "augmentation.color": _augmentation("color", Range(0.0, 0.6)),
}
"""Setting, or setting.parameter of a component → the rule for its values."""


def search_space(
    config: Config, task: Task, names: Sequence[str] | None = None, fixed: Collection[str] = ()
) -> dict[str, Dimension]:
    """Return the settings to search, with their values. The values include those before the search.

    Args:
        config: the settings before the search.
        task: the task of the data.
        names: keys of `SPACE`. None for all that have an effect and are not in `fixed`.
        fixed: settings that the user gave. They are not searched unless `names` has them.

    Raises:
        ConfigError: A name is unknown or has no effect with these settings, or nothing is left to search.

    >>> from pixelwise.data.task import MULTICLASS
    >>> print(search_space(Config(lr=0.01), MULTICLASS, ["lr"])["lr"])
    0.001 to 0.05
    """
    check_names(names or ())
    chosen = [name for name in SPACE if name.partition(".")[0] not in fixed] if names is None else names
    space: dict[str, Dimension] = {}
    for name in chosen:
        if (dimension := SPACE[name](config, task)) is not None:
            space[name] = dimension.including(_value_of(config, name))
    useless = [name for name in names or () if name not in space]
    if useless:
        raise ConfigError(f"`search`: '{useless[0]}' has no effect with these settings; remove it")
    if not space:
        raise ConfigError(f"nothing to search: all of {', '.join(SPACE)} are given; remove some of these settings")
    return space


def check_names(names: Sequence[str]) -> None:
    """Raise ConfigError if a setting is not a key of `SPACE`.

    Args:
        names: the settings to search.
    """
    for name in names:
        if name not in SPACE:
            raise ConfigError(f"`search`: {unknown_name('setting', name, SPACE)}")


def values_of(config: Config, space: Mapping[str, Dimension]) -> dict[str, Value]:
    """Return the values that settings have in a search space.

    Args:
        config: the settings.
        space: the search space.

    Returns:
        Setting, or setting.parameter → value.
    """
    return {name: _value_of(config, name) for name in space}


def _value_of(config: Config, name: str) -> Any:
    setting, _, parameter = name.partition(".")
    value: Any = to_plain(config.image_size) if name == "image_size" else getattr(config, setting)
    return getattr(AUGMENTATIONS.parse(value)[1], parameter) if parameter else value


def with_values(config: Config, values: Mapping[str, Value]) -> Config:
    """Return settings with the values of a trial.

    Args:
        config: the settings before the search.
        values: setting, or setting.parameter → value.

    >>> with_values(Config(), {"lr": 0.1, "augmentation.color": 0.5}).augmentation
    {'name': 'crop', 'color': 0.5}
    """
    changes: dict[str, Any] = {}
    for name, value in values.items():
        setting, _, parameter = name.partition(".")
        if not parameter:
            changes[setting] = value
            continue
        spec = changes.get(setting, getattr(config, setting))
        changes[setting] = {**({"name": spec} if isinstance(spec, str) else spec), parameter: value}
    return config.replace(**changes)
