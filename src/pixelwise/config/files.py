"""Settings in YAML files."""

from pathlib import Path

import yaml

from pixelwise.config.presets import PRESETS
from pixelwise.config.settings import Config
from pixelwise.config.version1 import FORMAT, translate
from pixelwise.errors import ConfigError, first_line, unknown_name


def config_to_yaml(config: Config, preset: str | None = None) -> str:
    """Return all settings as YAML that `read_config` reads.

    Args:
        config: the settings.
        preset: the preset that they came from. It is written beside them.
    """
    content: dict[str, object] = {"format": FORMAT}
    if preset is not None:
        content["preset"] = preset
    return yaml.safe_dump(content | config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> tuple[Config, str]:
    """Read settings from a YAML file. Without `format: 2`, names of version 0.1 are translated.

    Returns:
        The settings, and the name of the preset that they came from ("default" if the file has none).

    Raises:
        ConfigError: The file cannot be read, or a setting cannot work. The message names the file and the setting.
    """
    try:
        content = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        preset, version = str(content.pop("preset", "default")), content.pop("format", None)
        if version not in (None, FORMAT):
            raise ConfigError(f"has format {version!r}, which this version of pixelwise cannot read; update pixelwise")
        config = Config(**(content if version == FORMAT else translate(content)))
    except ConfigError as error:
        raise ConfigError(f"{path}: {without_backticks(error)}") from None
    except (OSError, UnicodeError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as settings ({first_line(error)})") from None
    if preset not in PRESETS:
        raise ConfigError(f"{path}: {unknown_name('preset', preset, PRESETS)}")
    return config, preset


def without_backticks(error: Exception) -> str:
    """Return a message about settings in a file: they have plain names there, and no flags."""
    return str(error).replace("`", "")
