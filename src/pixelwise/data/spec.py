"""How a data set was read, kept with the plan and with the run: what each value in the masks means."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.io.mask import format_value
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import MAX_CLASSES, LabelOptions, ResolvedLabels, apply_options, parse_value
from pixelwise.data.load import build_index, needs_resolution, raise_on_fatal, resolve_root
from pixelwise.data.schema import DatasetIndex, FormatResult, LabelMap
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError, RunError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.yaml_text import yaml_line, yaml_text


class ClassSpec(BaseModel):
    """A class: the values in masks that stand for it, as written ("7", "#ff0000"), and the color it is drawn in.

    Where the data set's own files name classes, the values are those names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, ...] = ()
    color: str

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, fields: object) -> object:
        return {_OLD_KEYS.get(key, key): value for key, value in fields.items()} if isinstance(fields, dict) else fields

    @field_validator("values", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return [str(each) for each in value] if isinstance(value, list | tuple) else value


_OLD_KINDS = {"values": "index", "colours": "rgb", "shapes": "polygons", "layers": "multilabel"}
_OLD_KEYS = {"colour": "color", "levels": "values"}
"""Names of version 0.1 → names of today."""


class DatasetSpec(BaseModel):
    """How a data set's files become arrays and classes: what is needed to read more images of its kind the same way.

    Attributes:
        format: a name in FORMATS.
        kind, tolerance: see `LabelMap`.
        channels, bits: see `ReadSpec`.
        classes: by name, in index order.
        ignore: values to ignore.
        absent, present: of multi-label masks, the values that say that a class is not there, and that it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    tolerance: int = 0
    channels: int = 3
    bits: int = 16
    classes: dict[str, ClassSpec]
    ignore: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    @field_validator("kind", mode="before")
    @classmethod
    def _rename_kind(cls, kind: object) -> object:
        return _OLD_KINDS.get(kind, kind) if isinstance(kind, str) else kind

    @field_validator("ignore", "absent", "present", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return [str(each) for each in value] if isinstance(value, list | tuple) else value

    @staticmethod
    def of(data: DatasetIndex) -> "DatasetSpec":
        """How that data set was read."""
        masks, reading = data.read_spec.label_map, data.read_spec

        layered = reading.task is MULTILABEL

        def values(index: int) -> tuple[str, ...]:
            return tuple(
                format_value(value, masks.kind) for value, each in masks.value_to_class.items() if each == index
            )

        def written(index: int) -> tuple[str, ...]:
            named = tuple(name for name, each in data.source_class_ids.items() if each == index)
            return named if masks.kind in ("polygons", "multilabel") else values(index)

        return DatasetSpec(
            format=data.format,
            kind=masks.kind,
            tolerance=masks.tolerance,
            channels=reading.channels,
            bits=reading.bit_depth,
            classes={
                name: ClassSpec(values=written(index), color="#{:02x}{:02x}{:02x}".format(*color))
                for index, (name, color) in enumerate(zip(data.classes, data.palette, strict=True))
            },
            ignore=values(IGNORE_INDEX) if layered else written(IGNORE_INDEX),
            absent=values(0) if layered else (),
            present=values(1) if layered else (),
        )

    def meaning(self, format: str, layout: FormatResult) -> ResolvedLabels:
        """What the masks of a layout mean, read by this manifest; ConfigError where it cannot be so.

        Where another format settles the meaning itself (the same images in shards), classes are found by name.
        """
        palette = tuple(_parse_color(each.color) for each in self.classes.values())
        names = tuple(self.classes)
        if not 1 <= len(names) <= MAX_CLASSES:
            raise ConfigError(f"classes: there are {len(names)}; there must be 2 to {MAX_CLASSES}")
        if format != self.format and not needs_resolution(layout):
            return replace(apply_options(layout, LabelOptions(classes=names)), palette=palette)
        settled = layout.label_map.kind if layout.label_map is not None else None
        if self.kind in ("polygons", "multilabel"):
            if settled != self.kind:
                raise ConfigError(f"kind: {self.kind}, but the masks here are {settled or 'images of values'}")
            by_name = dict.fromkeys(self.ignore, IGNORE_INDEX) if self.kind == "polygons" else {}
            by_name |= {source: index for index, each in enumerate(self.classes.values()) for source in each.values}
            # Classes of the files that the manifest does not speak of are background, where there is one.
            rest = names.index("background") if "background" in names and self.kind == "polygons" else IGNORE_INDEX
            sources = tuple(by_name.get(name, rest) for name in layout.classes)
            mapping = self._mapping([self.absent, self.present]) if self.kind == "multilabel" else {}
            return ResolvedLabels(LabelMap(self.kind, mapping, self.tolerance), names, palette, (), sources)
        if settled in ("polygons", "multilabel"):
            raise ConfigError(f"kind: {self.kind}, but the masks here are {settled}")
        mapping = self._mapping([each.values for each in self.classes.values()])
        return ResolvedLabels(LabelMap(self.kind, mapping, self.tolerance), names, palette)

    def _mapping(self, values: Sequence[Sequence[str]]) -> dict[int, int]:
        """Value → class index, from the values of each class as written."""
        mapping: dict[int, int] = {}
        for index, texts in (*enumerate(values), (IGNORE_INDEX, self.ignore)):
            for text in texts:
                value = parse_value(text, self.kind)
                if value in mapping:
                    raise ConfigError(f"classes: the value {text} stands in two places")
                mapping[value] = index
        return mapping

    def load(self, root: str | Path, skip_unreadable: bool = False) -> DatasetIndex:
        """A data set read by this manifest, whatever its own masks would suggest."""
        place = resolve_root(root)
        format, layout = self._find(place)
        notes = raise_on_fatal(place, layout.issues, skip_unreadable)
        return build_index(place, format, layout, self.meaning(format, layout), notes, self.bits)

    def _find(self, root: Path | RemoteFile) -> tuple[str, FormatResult]:
        """Read the data set in this spec's format, or else in the format that `detect_format` finds."""
        if self.format in FORMATS:
            with suppress(DataError):  # raised again below if no other format accepts the data
                return detect_format(root, self.format)
        return detect_format(root)

    def to_yaml(self) -> str:
        """The manifest as YAML that `read` reads back."""
        return "\n".join(self.to_lines({}, indent="")) + "\n"

    def to_lines(self, reasons: Mapping[str, str], indent: str = "  ") -> list[str]:
        """Lines of YAML, each with its reason as a comment; a class's reason stands under "class NAME"."""
        kept = self.model_dump(mode="json", exclude_defaults=True) | {"classes": None}
        lines = []
        for name in DatasetSpec.model_fields:
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
    def read(path: Path) -> "DatasetSpec":
        """Read what `to_yaml` wrote; RunError names the file."""
        try:
            return DatasetSpec(**yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RunError(f"{path}: missing; it says how the run's data was read") from None
        except (OSError, UnicodeError, TypeError, ValidationError, yaml.YAMLError) as error:
            raise RunError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _parse_color(text: str) -> tuple[int, int, int]:
    try:
        value = int(text.removeprefix("#"), 16)
    except ValueError:
        raise ConfigError(f"classes: '{text}' is no color; write it like #e69f00") from None
    return value >> 16 & 255, value >> 8 & 255, value & 255
