"""Reading and writing of settings in YAML files."""

from pathlib import Path

import yaml

from pixelwise.config.presets import PRESETS
from pixelwise.config.settings import Config
from pixelwise.config.version1 import FORMAT, translate
from pixelwise.errors import ConfigError, first_line, unknown_name
from pixelwise.runtime.parsing import read_yaml

EARLIER_DEFAULTS = {"optimizer": "adamw"}
"""Values of settings that the files of earlier versions lack, if they differ from the present defaults."""


def config_to_yaml(config: Config, preset: str | None = None) -> str:
    """Return all settings as YAML text for `read_config`.

    Args:
        config: the settings.
        preset: name of the preset of the settings, written as the key `preset`. None leaves the key out.

    Returns:
        The YAML text.
    """
    content: dict[str, object] = {"format": FORMAT}
    if preset is not None:
        content["preset"] = preset
    return yaml.safe_dump(content | config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> tuple[Config, str]:
    """Read settings from a YAML file. If the file lacks `format: 2`, names of version 0.1 are translated.

    Returns:
        The settings, and the name of their preset ("default" if the file does not contain one).

    Raises:
        ConfigError: The file cannot be read, or a setting is invalid. The message names the file and the setting.
    """
    try:
        content = dict(read_yaml(path))
        preset, version = str(content.pop("preset", "default")), content.pop("format", None)
        if version not in (None, FORMAT):
            raise ConfigError(f"has format {version!r}, which this version of pixelwise cannot read; update pixelwise")
        settings = content if version == FORMAT else translate(content)
        config = Config(**EARLIER_DEFAULTS | settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {without_backticks(error)}") from None
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as settings ({first_line(error)})") from None
    if preset not in PRESETS:
        raise ConfigError(f"{path}: {unknown_name('preset', preset, PRESETS)}")
    return config, preset


def without_backticks(error: Exception) -> str:
    """Return an error message without backticks, so that the command line does not replace names in files by flags."""
    return str(error).replace("`", "")
