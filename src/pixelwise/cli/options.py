"""Flags that several commands share: the settings of a training, and what a person settles about a data set."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model

from pixelwise.config import Config
from pixelwise.data.formats import FORMATS
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError

_GROUPS = ("Data", "Model", "Training", "Machine")


def _settings() -> type[BaseModel]:
    """A model with Config's fields, all unset: which ones were given on the command line is then plain to see."""
    fields: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        kind: Any = str if name == "class_weights" else field.annotation
        group = str((field.json_schema_extra or {})["group"])  # type: ignore[index]
        parameter = Parameter(
            help=f"{field.description} [default: {_shown(field.default)}]",
            group=Group(group, sort_key=_GROUPS.index(group)),
            show_default=False,
            consume_multiple=True,
            negative_iterable=(),
            negative_none=(),
        )
        fields[name] = (Annotated[kind | None, parameter], None)
    return create_model("Settings", **fields)


def _shown(default: object) -> str:
    return "the encoder's levels" if default is None else str(default).lower()


Settings = _settings()
"""Config's fields as flags."""


_MASKS = Group("Masks", sort_key=-1)


def _flag(text: str) -> Parameter:
    return Parameter(help=text, group=_MASKS, consume_multiple=True, negative_iterable=(), negative_none=())


@Parameter(name="*")
@dataclass(frozen=True)
class DataFlags:
    """What the masks mean, where it is to be settled by hand."""

    format: Annotated[str | None, _flag(f"How DATA is laid out: {', '.join(FORMATS)}. [default: told by DATA]")] = None
    classes: Annotated[
        tuple[str, ...],
        _flag("Names for the levels found, in order; or, where DATA names its classes, those to keep."),
    ] = ()
    ignore: Annotated[tuple[str, ...], _flag("Levels of the masks to ignore: 255, or #e0e0c0.")] = ()
    mask_map: Annotated[
        tuple[str, ...], _flag("What each level means: 0=background 255=cat #ff0000=dog 7=ignore.")
    ] = ()

    def choices(self, skip_bad: bool = False) -> LabelOptions:
        """The same as `load_dataset` takes it; lists may be given in one word, with commas."""
        pairs = []
        for text in _words(self.mask_map):
            level, found, name = text.partition("=")
            if not (found and level.strip() and name.strip()):
                raise ConfigError(
                    f"--mask-map: '{text}' is not level=class; write 0=background 255=cat, or #ff0000=dog"
                )
            pairs.append((level.strip(), name.strip()))
        return LabelOptions(self.format, _words(self.classes), _words(self.ignore), tuple(pairs), skip_bad)


def _words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
