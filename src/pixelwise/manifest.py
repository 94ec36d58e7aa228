"""How a data set was read, kept with the plan and with the run: what each level in the masks means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pixelwise.data.masks import level_text
from pixelwise.data.records import IGNORE_INDEX, Dataset
from pixelwise.errors import RunError


class ManifestClass(BaseModel):
    """A class: the levels in masks that stand for it, as written ("7", "#ff0000"), and the colour it is drawn in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[str, ...] = ()
    colour: str

    @field_validator("levels", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return [str(each) for each in value] if isinstance(value, list | tuple) else value


class Manifest(BaseModel):
    """How a data set's files become arrays and classes: what is needed to read more photos of its kind the same way.

    Attributes:
        format: a name in FORMATS.
        kind, tolerance: see `MaskEncoding`.
        channels, bits: see `Reading`.
        groups: the rule by which names are put in groups (see `pixelwise.data.groups`); "none" for no groups.
        classes: by name, in index order.
        ignore: levels to ignore.
        absent, present: of multi-label masks, the levels that say that a class is not there, and that it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    kind: Literal["values", "colours", "alpha", "shapes", "layers"]
    tolerance: int = 0
    channels: int = 3
    bits: int = 16
    groups: str = "none"
    classes: dict[str, ManifestClass]
    ignore: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    @field_validator("ignore", "absent", "present", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return [str(each) for each in value] if isinstance(value, list | tuple) else value

    @staticmethod
    def of(data: Dataset, groups: str = "none") -> "Manifest":
        """How that data set was read."""
        masks, reading = data.reading.masks, data.reading

        def levels(index: int) -> tuple[str, ...]:
            return tuple(level_text(level, masks.kind) for level, each in masks.mapping.items() if each == index)

        def kept(index: int, colour: tuple[int, int, int]) -> ManifestClass:
            return ManifestClass(levels=() if layered else levels(index), colour="#{:02x}{:02x}{:02x}".format(*colour))

        layered = reading.multilabel
        return Manifest(
            format=data.format,
            kind=masks.kind,
            tolerance=masks.tolerance,
            channels=reading.channels,
            bits=reading.bits,
            groups=groups,
            classes={
                name: ManifestClass(
                    levels=() if layered else levels(index), colour="#{:02x}{:02x}{:02x}".format(*colour)
                )
                for index, (name, colour) in enumerate(zip(data.classes, data.palette, strict=True))
            },
            ignore=levels(IGNORE_INDEX),
            absent=levels(0) if layered else (),
            present=levels(1) if layered else (),
        )

    def to_yaml(self) -> str:
        """The manifest as YAML that `read` reads back."""
        return "\n".join(self.to_lines({}, indent="")) + "\n"

    def to_lines(self, reasons: Mapping[str, str], indent: str = "  ") -> list[str]:
        """Lines of YAML, each with its reason as a comment; a class's reason stands under "class NAME"."""
        kept = self.model_dump(mode="json", exclude_defaults=True) | {"classes": None}
        lines = []
        for name in Manifest.model_fields:
            if name == "classes":
                lines.append(f"{indent}classes:")
                for each, about in self.classes.items():
                    key = yaml_text(each)
                    reason = reasons.get(f"class {each}", "")
                    lines.append(yaml_line(f"{indent}  {key}", about.model_dump(mode="json"), reason))
            elif name in kept:
                lines.append(yaml_line(f"{indent}{name}", kept[name], reasons.get(name, "")))
        return lines

    @staticmethod
    def read(path: Path) -> "Manifest":
        """Read what `to_yaml` wrote; RunError names the file."""
        try:
            return Manifest(**yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RunError(f"{path}: missing; it says how the run's data was read") from None
        except (OSError, UnicodeError, TypeError, ValidationError, yaml.YAMLError) as error:
            raise RunError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def yaml_text(value: object) -> str:
    """A value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )


def yaml_line(name: str, value: object, reason: str) -> str:
    """A line of YAML with its reason as a comment."""
    text = f"{name}: {yaml_text(value)}"
    return f"{text:<34}  # {reason}" if reason else text
