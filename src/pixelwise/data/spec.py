"""The data set spec: the format and the label map of a data set.

Plans and runs store it, so that more data is read in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from pixelwise.data.class_spec import ClassSpec, rename_keys, to_strings
from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import format_value
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import (
    IGNORE,
    MAX_CLASSES,
    LabelOptions,
    ResolvedLabels,
    apply_options,
    parse_value,
)
from pixelwise.data.load import build_index, needs_resolution, raise_on_fatal, resolve_root
from pixelwise.data.pixel_scale import PixelScale, check_band_ranges
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, DataError, RunError, unknown_name
from pixelwise.palette import IGNORE_INDEX, Color, Palette, to_hex
from pixelwise.runtime.parsing import read_yaml
from pixelwise.runtime.yaml_text import yaml_line, yaml_text

Spec = TypeVar("Spec")

_PRESENT = "present"
"""Name of the state of a pixel that has the class, in multi-label masks."""

# Names of version 0.1 → new names.
_OLD_KINDS = {"values": "index", "colours": "rgb", "shapes": "polygons", "layers": "multilabel"}
_OLD_KEYS = {"bits": "bit_depth"}


class DatasetSpec(BaseModel):
    """The format and the label map of a data set. They suffice to read more data of the same kind in the same way.

    Attributes:
        format: a name in `FORMATS`.
        kind, tolerance: see `LabelMap`.
        channels, bit_depth, masks_as_stored, pixel_range, band_ranges, nodata: see `ReadSpec`.
        classes: class name → its values and color, in index order.
        ignore: mask values to ignore, as text. For polygons: names in the data set's files.
        absent, present: for multi-label masks, the values of pixels without and with a class, as text.
        line_width: width in pixels of the lines in annotation files, or None.
        mask_files: the pattern of the mask files, see `LabelOptions`, or None.
        other_class: name of the class of all values that are not listed, or "ignore" to ignore them. For multi-label
            masks: "present", "absent" or "ignore". None if all values are listed.
        root: in a run, the absolute path or the URL of the data set of the training. Else None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    kind: Literal["index", "rgb", "alpha", "polygons", "multilabel"]
    tolerance: Annotated[int, Field(ge=0, le=65535)] = 0
    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    bit_depth: Annotated[int, Field(ge=8, le=16)] = 16
    pixel_range: tuple[FiniteFloat, FiniteFloat] | None = None
    band_ranges: Annotated[tuple[tuple[FiniteFloat, FiniteFloat], ...], Field(max_length=1024)] = ()
    nodata: FiniteFloat | None = None
    classes: dict[str, ClassSpec]
    ignore: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    line_width: float | None = None
    mask_files: str | None = None
    other_class: str | None = None
    masks_as_stored: bool = False
    root: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, fields: object) -> object:
        return rename_keys(fields, _OLD_KEYS)

    @field_validator("kind", mode="before")
    @classmethod
    def _translate_kind(cls, kind: object) -> object:
        return _OLD_KINDS.get(kind, kind) if isinstance(kind, str) else kind

    @model_validator(mode="after")
    def _check_band_ranges(self) -> Self:
        check_band_ranges(self.band_ranges, self.channels)
        return self

    @field_validator("ignore", "absent", "present", mode="before")
    @classmethod
    def _values_to_strings(cls, value: object) -> object:
        return to_strings(value)

    @staticmethod
    def of(data: DatasetIndex) -> "DatasetSpec":
        """Return the spec of a loaded data set."""
        read_spec, label_map = data.read_spec, data.read_spec.label_map
        is_multilabel = read_spec.task is MULTILABEL

        def values_of(class_id: int) -> tuple[str, ...]:
            pairs = label_map.value_to_class.items()
            return tuple(format_value(value, label_map.kind) for value, index in pairs if index == class_id)

        def sources_of(class_id: int) -> tuple[str, ...]:
            if label_map.kind not in ("polygons", "multilabel"):
                return values_of(class_id)
            return tuple(name for name, index in data.source_class_ids.items() if index == class_id)

        return DatasetSpec(
            format=data.format,
            kind=label_map.kind,
            tolerance=label_map.tolerance,
            channels=read_spec.channels,
            **asdict(read_spec.scale),
            classes={
                name: ClassSpec(values=sources_of(index), color=to_hex(color))
                for index, (name, color) in enumerate(zip(data.classes, data.palette, strict=True))
            },
            ignore=values_of(IGNORE_INDEX) if is_multilabel else sources_of(IGNORE_INDEX),
            absent=values_of(0) if is_multilabel else (),
            present=values_of(1) if is_multilabel else (),
            line_width=data.line_width,
            mask_files=data.mask_files,
            other_class=_other_class_name(data),
            masks_as_stored=read_spec.masks_as_stored,
        )

    @property
    def palette(self) -> Palette:
        """The color of each class.

        Raises:
            ConfigError: A text is not a color.
        """
        return tuple(spec.parse_color() for spec in self.classes.values())

    def resolve_labels(self, format: str, result: FormatResult) -> ResolvedLabels:
        """Return the classes and the label map for records of a format.

        If the records have another format than the spec, and that format defines the classes, classes are matched by
        name. An example is the same data set in shards.

        Args:
            format: the format of the records.
            result: the records.

        Returns:
            The classes of the spec, with the values they have in these records.

        Raises:
            ConfigError: The masks are of another kind, or the spec's classes are invalid.
        """
        palette, names = self.palette, tuple(self.classes)
        if not 1 <= len(names) <= MAX_CLASSES:
            raise ConfigError(f"classes: there are {len(names)}; there must be 1 to {MAX_CLASSES}")
        if format != self.format and not needs_resolution(result):
            return replace(apply_options(result, LabelOptions(classes=names)), palette=palette)
        kind = result.label_map.kind if result.label_map is not None else None
        if self.kind in ("polygons", "multilabel"):
            if kind != self.kind:
                raise ConfigError(f"kind: {self.kind}, but the masks here are {kind or 'images of values'}")
            return self._resolve_named(result, palette)
        if kind in ("polygons", "multilabel"):
            raise ConfigError(f"kind: {self.kind}, but the masks here are {kind}")
        return ResolvedLabels(self.value_map(), names, palette, masks_as_stored=self.masks_as_stored)

    def value_map(self) -> LabelMap:
        """Return the label map of masks that are images of values. The map of other masks has no values.

        Raises:
            ConfigError: The spec's classes are invalid.
        """
        if self.kind in ("polygons", "multilabel"):
            return LabelMap(self.kind)
        value_to_class = self._value_to_class([spec.values for spec in self.classes.values()])
        return LabelMap(self.kind, value_to_class, self.tolerance, self._other_class(tuple(self.classes)))

    def _resolve_named(self, result: FormatResult, palette: tuple[Color, ...]) -> ResolvedLabels:
        """Return the classes of records whose files name classes."""
        names = tuple(self.classes)
        class_ids = dict.fromkeys(self.ignore, IGNORE_INDEX) if self.kind == "polygons" else {}
        class_ids |= {source: index for index, spec in enumerate(self.classes.values()) for source in spec.values}
        # In polygons, names that the spec does not contain are background if it has that class. Otherwise they are
        # ignored.
        others = names.index("background") if "background" in names and self.kind == "polygons" else IGNORE_INDEX
        source_to_class = tuple(class_ids.get(name, others) for name in result.classes)
        value_to_class = self._value_to_class([self.absent, self.present]) if self.kind == "multilabel" else {}
        return ResolvedLabels(
            label_map=LabelMap(self.kind, value_to_class, self.tolerance, self._other_class(("absent", _PRESENT))),
            classes=names,
            palette=palette,
            source_to_class=source_to_class,
            masks_as_stored=self.masks_as_stored,
        )

    def _other_class(self, names: Sequence[str]) -> int | None:
        """Return the index of `other_class`. Raises ConfigError if there is no such class."""
        if self.other_class is None:
            return None
        if self.other_class == IGNORE:
            return IGNORE_INDEX
        if self.other_class not in names:
            raise ConfigError(unknown_name("class", self.other_class, names))
        return names.index(self.other_class)

    def _value_to_class(self, values: Sequence[Sequence[str]]) -> dict[int, int]:
        """Return value → class index from the values of each class as text.

        Raises ConfigError if a value is listed twice.
        """
        value_to_class: dict[int, int] = {}
        for index, texts in (*enumerate(values), (IGNORE_INDEX, self.ignore)):
            for text in texts:
                value = parse_value(text, self.kind)
                if value in value_to_class:
                    raise ConfigError(f"classes: the value {text} is listed twice; remove one")
                value_to_class[value] = index
        return value_to_class

    def load(
        self, root: str | Path | RemoteFile, skip_unreadable: bool = False, allow_outside: bool = False
    ) -> DatasetIndex:
        """Load a data set with this spec. Masks are not scanned for classes, because the spec defines these.

        Args:
            root: a folder, file or URL, see `load_dataset`.
            skip_unreadable: leave out files that cannot be used instead of raising.
            allow_outside: see `LabelOptions`. A spec does not store it, because a run from another person must not set
                it.

        Raises:
            DataError: The data set cannot be read, see `load_dataset`.
            ConfigError: The spec does not fit the data set.
        """
        path = resolve_root(root)
        instances = self.kind == "index" and self.other_class not in (None, IGNORE)
        options = LabelOptions(instances=instances, allow_outside=allow_outside)
        format, result = self._find_format(path, options)
        messages = raise_on_fatal(path, result.issues, skip_unreadable)
        labels = self.resolve_labels(format, result)
        scale = PixelScale(self.bit_depth, self.pixel_range, self.band_ranges, self.nodata)
        return build_index(path, format, result, labels, messages, scale)

    def _find_format(self, root: Path | RemoteFile, options: LabelOptions) -> tuple[str, FormatResult]:
        """Return the format and the records, read with the spec's format. If it does not fit, detect another."""
        # Class names decide which of several attributes of a region (VIA) is its class.
        if self.kind == "polygons":
            names = (name for spec in self.classes.values() for name in spec.values)
            options = replace(options, classes=(*names, *self.ignore))
        if self.format in FORMATS:
            # An error is raised again by the detection below, unless another format or other mask files fit.
            with suppress(DataError, ConfigError):
                own = replace(options, line_width=self.line_width, mask_files=self.mask_files)
                return detect_format(root, self.format, own)
        return detect_format(root, None, options)

    def to_yaml(self) -> str:
        """Return the spec as the text of a YAML file for `read`."""
        return "\n".join(self.to_lines({}, indent="")) + "\n"

    def to_lines(self, reasons: Mapping[str, str], indent: str = "  ") -> list[str]:
        """Return the spec as lines of YAML, with reasons as comments.

        Args:
            reasons: field name → reason. The key of a class is "class NAME".
            indent: text at the start of each line.
        """
        fields = self.model_dump(mode="json", exclude_defaults=True)
        lines = []
        for name in DatasetSpec.model_fields:
            if name == "classes":
                lines.append(f"{indent}classes:")
                for class_name, spec in self.classes.items():
                    reason = reasons.get(f"class {class_name}", "")
                    lines.append(yaml_line(f"{indent}  {yaml_text(class_name)}", spec.model_dump(mode="json"), reason))
            elif name in fields:
                lines.append(yaml_line(f"{indent}{name}", fields[name], reasons.get(name, "")))
        return lines

    @staticmethod
    def read(path: Path) -> "DatasetSpec":
        """Read a spec from a YAML file. Names of version 0.1 are translated.

        Raises:
            RunError: The file is missing or damaged. The message names it.
        """
        return read_spec_file(path, DatasetSpec)


def read_spec_file(path: Path, build: Callable[..., Spec]) -> Spec:
    """Read a spec from a YAML file.

    Args:
        path: the file.
        build: the class of the spec. It is called with the values of the file as keyword arguments.

    Returns:
        The result of `build`.

    Raises:
        RunError: The file is missing or damaged. The message names it.
    """
    try:
        return build(**read_yaml(path))
    except FileNotFoundError:
        raise RunError(
            f"{path}: missing; it has the run's classes and label map. Restore it from a copy, or train a new run"
        ) from None
    except (OSError, TypeError, ValueError) as error:  # ValueError: also pydantic's
        raise RunError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _other_class_name(data: DatasetIndex) -> str | None:
    """Return the value of `DatasetSpec.other_class` for a data set."""
    other_class = data.read_spec.label_map.other_class
    if other_class is None:
        return None
    if other_class == IGNORE_INDEX:
        return IGNORE
    return _PRESENT if data.read_spec.task is MULTILABEL else data.classes[other_class]
