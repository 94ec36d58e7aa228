"""TODO: module."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.config import Config, format_validation_error
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.yaml_text import yaml_line


@dataclass(frozen=True)
class Plan:
    """How to read a data set and train on it.

    Attributes:
        data: how the files are read.
        settings: fields of `Config`, in place of the default preset's.
        reasons: why, by the name of the setting, the class, or the field of `data`.
    """

    data: DatasetSpec
    settings: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write plan.yaml, each line with its reason."""
        with atomic_write(path) as part:
            part.write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """The plan as YAML that `read` reads back, with the reasons as comments."""
        lines = [
            "# Every line is a decision and may be changed. Then: pixelwise train DATA --plan FILE",
            "data:",
            *self.data.to_lines(self.reasons),
            "settings:",
        ]
        for name, value in self.settings.items():
            lines.append(yaml_line(f"  {name}", value, self.reasons.get(name, "")))
        return "\n".join(lines) + "\n"

    @staticmethod
    def read(path: Path) -> "Plan":
        """Read a plan that `write` wrote and a person may have changed; ConfigError names the line that is wrong."""
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            kept = _File(**content)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such plan; pixelwise inspect DATA writes one") from None
        except ValidationError as error:
            raise ConfigError(f"{path}: {format_validation_error(error, _File)}") from None
        except (OSError, UnicodeError, TypeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan ({' '.join(str(error).split())})") from None
        try:
            Config.from_preset(base=kept.settings)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return Plan(kept.data, kept.settings)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DatasetSpec
    settings: dict[str, Any]
