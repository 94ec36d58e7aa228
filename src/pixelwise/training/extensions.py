"""Create the callbacks and loggers of a training from its settings and from Python objects."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pixelwise.config import Config
from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec, name_of
from pixelwise.runs.metrics_file import Row
from pixelwise.training import callbacks as callback_registry
from pixelwise.training.callbacks import CALLBACKS, Callback, EarlyStopping
from pixelwise.training.loggers import LOGGERS, default_loggers
from pixelwise.training.state import TrainState

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger


def add_specs(
    config: Config, callbacks: Sequence[Callback | ComponentSpec], loggers: "Sequence[Logger | ComponentSpec]"
) -> Config:
    """Return the settings with the callbacks and loggers that are given by name added.

    Args:
        config: the settings.
        callbacks: objects and component settings (see `ComponentSpec`). Objects are not added.
        loggers: as `callbacks`.
    """
    new_callbacks = [spec for spec in _specs(callbacks) if spec not in config.callbacks]
    new_loggers = [spec for spec in _specs(loggers) if spec not in (config.loggers or default_loggers())]
    if not (new_callbacks or new_loggers):
        return config
    base = default_loggers() if config.loggers is None else config.loggers
    return config.replace(
        callbacks=(*config.callbacks, *new_callbacks),
        loggers=(*base, *new_loggers) if new_loggers else config.loggers,
    )


def check_specs(config: Config) -> None:
    """Check the callbacks and loggers of the settings.

    Raises:
        ConfigError: A callback or a logger is unknown or has an invalid parameter, or the package of a logger is not
            installed.
    """
    for spec in config.callbacks:
        with _naming("callbacks"):
            CALLBACKS.parse(spec)
    for spec in config.loggers or ():
        with _naming("loggers"):
            entry, _ = LOGGERS.parse(spec)
            module = entry.traits.get("requires")
            if module is not None and find_spec(module) is None:
                extra = entry.traits.get("extra")
                package = module if extra is None else f"'pixelwise[{extra}]'"
                raise ConfigError(f"'{entry.name}' needs {module}; run pip install {package}")


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Put the name of a setting before the message of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"`{setting}`: {error}") from None


def build_callbacks(config: Config, callbacks: Sequence[Callback | ComponentSpec], defaults: bool) -> list[Callback]:
    """Return the callbacks in the order of their calls: default ones, those of the settings, then objects.

    The setting `patience` adds the callback "early_stopping".

    Args:
        config: the settings, as returned by `add_specs`.
        callbacks: objects and component settings. Only the objects are used, because `add_specs` has added the others
            to `config`.
        defaults: include the default callbacks.
    """
    names = callback_registry.DEFAULT_CALLBACKS if defaults else ()
    specs = [*names, *(spec for spec in config.callbacks if spec not in names)]
    stopping = [] if config.patience is None else [EarlyStopping(config.patience)]
    return [*(CALLBACKS.build(spec)() for spec in specs), *stopping, *_objects(callbacks)]


def stops_early(config: Config, callbacks: Sequence[Callback | ComponentSpec], history: list[Row]) -> bool:
    """Return True if the patience of the settings, or of an `EarlyStopping` callback, is over after these epochs.

    Args:
        config: the settings.
        callbacks: objects and component settings in addition to those of `config`.
        history: one row per completed epoch.
    """
    active = build_callbacks(add_specs(config, callbacks, ()), callbacks, defaults=False)
    return any(isinstance(callback, EarlyStopping) and callback.is_over(history) for callback in active)


def build_loggers(state: TrainState, loggers: "Sequence[Logger | ComponentSpec]", defaults: bool) -> "list[Logger]":
    """Return the loggers. The logger "csv" is always included, because a resumed training reads its metrics.csv.

    Args:
        state: the state of the training. The settings are those of its run.
        loggers: objects and component settings. Only the objects are used, because `add_specs` has added the others to
            the settings.
        defaults: use the default loggers if the setting `loggers` is None.
    """
    specs = state.run.config.loggers
    if specs is None:
        specs = default_loggers() if defaults else ()
    if "csv" not in map(name_of, specs):
        specs = ("csv", *specs)
    return [*(LOGGERS.build(spec)(state) for spec in specs), *_objects(loggers)]


def _specs(items: Sequence[object]) -> list[ComponentSpec]:
    return [item for item in items if isinstance(item, str | dict)]


def _objects(items: Sequence[object]) -> list:  # type: ignore[type-arg]
    return [item for item in items if not isinstance(item, str | dict)]
