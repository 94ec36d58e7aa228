"""`Plan`: the settings to read a data set and train on it, and their file plan.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.config import (
    FORMAT,
    Config,
    expand_shorthands,
    format_validation_error,
    translate,
    without_backticks,
)
from pixelwise.data.joined_spec import AnySpec, JoinedSpec
from pixelwise.data.spec import DatasetSpec, Spec
from pixelwise.errors import ConfigError
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.durations import format_duration
from pixelwise.runtime.parsing import read_yaml
from pixelwise.runtime.yaml_text import yaml_line, yaml_text

_SHOWN_CLASSES = 60
"""Maximum number of classes in the table for a notebook."""


@dataclass(frozen=True)
class Plan:
    """The settings to read a data set and train on it.

    Attributes:
        data: the format and the label map of the data set, or of each of the data sets that are joined.
        settings: field of `Config` → value. They replace the values of the default preset.
        reasons: the reason for each setting, for each class (key "class NAME") and for each field of `data`.
        seconds: the estimated duration of the training on this machine, or None. The file does not contain it.
    """

    data: AnySpec
    settings: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = field(default=None, compare=False)

    def write(self, path: Path) -> None:
        """Write the plan to a YAML file."""
        with atomic_write(path) as part:
            part.write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """Return the plan as YAML text for `read`, with the reasons as comments."""
        lines = [
            "# Every line is a decision and can be changed. Then: pixelwise train DATA --plan FILE",
            f"format: {FORMAT}",
            "data:",
            *self.data.to_lines(self.reasons),
            "settings:",
        ]
        for name, value in self.settings.items():
            lines.append(yaml_line(f"  {name}", value, self.reasons.get(name, "")))
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        """Return the settings, and the estimated duration of the training."""
        texts = [f"{name}={yaml_text(value)}" for name, value in self.settings.items()]
        duration = [] if self.seconds is None else [f"about {format_duration(self.seconds)}"]
        return f"Plan({', '.join(texts + duration)})"

    def _repr_html_(self) -> str:
        """Return the settings, the classes and their reasons as an HTML table, for a notebook."""
        from pixelwise.visualization import html

        def row(name: str, value: str, key: str) -> list[str]:
            reason = html.text(self.reasons.get(key, ""), max_length=300)
            return [html.text(name), html.text(value), f'<div style="text-align:left">{reason}</div>']

        rows = [row(name, yaml_text(value), name) for name, value in self.settings.items()]
        classes = [key for key in self.reasons if key.startswith("class ")]
        rows += [row(key, "", key) for key in classes[:_SHOWN_CLASSES]]
        more = len(classes) - _SHOWN_CLASSES
        duration = "" if self.seconds is None else f"estimated time of the training: {format_duration(self.seconds)}"
        return html.block(
            html.paragraph(duration) if duration else "",
            html.table(("setting", "value", "reason"), rows),
            html.paragraph(f"and {more} more classes") if more > 0 else "",
        )

    @staticmethod
    def read(path: str | Path) -> "Plan":
        """Read a plan from a YAML file, which the user may have edited. The plan has no reasons.

        If the file lacks `format: 2`, it is of version 0.1, and the names of its settings are translated.

        Raises:
            ConfigError: The file cannot be read, or a setting is unknown or not valid. The message names the file and
                the setting.
        """
        path = Path(path)
        try:
            file = _parse(read_yaml(path))
            settings = file.settings if file.format == FORMAT else expand_shorthands(translate(file.settings))
            Config.from_preset(base=settings)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such plan; pixelwise inspect DATA writes one") from None
        except ValidationError as error:
            message = format_validation_error(error, _PlanFile).replace("`", "")
            raise ConfigError(f"{path}: {message}") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {without_backticks(error)}") from None
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan ({' '.join(str(error).split())})") from None
        return Plan(file.data, settings)


def _parse(fields: Any) -> "_PlanFile[Any]":
    """Return the content of a plan. Raises TypeError or ValidationError if it is not valid."""
    data = fields.get("data") if isinstance(fields, dict) else None
    is_joined = isinstance(data, dict) and "sets" in data
    return _PlanFile[JoinedSpec](**fields) if is_joined else _PlanFile[DatasetSpec](**fields)


class _PlanFile(BaseModel, Generic[Spec]):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] | None = None
    data: Spec
    settings: dict[str, Any]
