"""The flags that `pixelwise train`, `find-lr` and `tune` have in common.

This module imports neither torch nor the library's modules that do, so that the help starts quickly.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter
from pydantic import BaseModel

from pixelwise.cli.data_flags import DataFlags
from pixelwise.cli.setting_flags import given_settings, settings_model
from pixelwise.errors import ConfigError

if TYPE_CHECKING:
    from pixelwise.data.label_map.options import LabelOptions

Preset: TypeAlias = Literal["default", "fast", "tutorial"]
"""Type of the flag --preset."""

if TYPE_CHECKING:
    SettingFlags: TypeAlias = BaseModel
else:
    SettingFlags = Annotated[settings_model(), Parameter(name="*")]
"""Type of the flags for all settings of a training, see `settings_model`."""


def require_data(data: Sequence[str | Path]) -> tuple[str, ...]:
    """Return the data sets as text.

    Raises:
        ConfigError: There is none.
    """
    if not data:
        raise ConfigError("DATA is missing: the directory of the data set, a table, or a URL")
    return tuple(map(str, data))


def parse_flags(masks: DataFlags | None, settings: SettingFlags | None) -> "tuple[LabelOptions, dict[str, Any]]":
    """Convert the flags about masks and settings to arguments of the library.

    Returns:
        The options, which include the setting `skip_unreadable`, and the settings that were given as flags.

    Raises:
        ConfigError: A flag does not have the form that its help states.
    """
    given = given_settings(settings)
    return (masks or DataFlags()).label_options(given.get("skip_unreadable", False)), given
