"""The entry of one class in a data set spec."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from pixelwise.errors import ConfigError
from pixelwise.palette import Color, parse_hex

_OLD_CLASS_KEYS = {"colour": "color", "levels": "values"}
"""Names of version 0.1 → new names."""


def rename_keys(fields: object, new_names: Mapping[str, str]) -> object:
    """Return a mapping with new names for some of its keys. Return any other object unchanged."""
    return {new_names.get(key, key): value for key, value in fields.items()} if isinstance(fields, dict) else fields


def to_strings(value: object) -> object:
    """Convert the items of a list to text. An unquoted 255 in YAML is a number. Return any other object unchanged."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else value


class ClassSpec(BaseModel):
    """One class.

    Attributes:
        values: the mask values of the class as text, for example "7" or "#ff0000". If the files of the data set name
            the classes, the names of the class in these files.
        color: the color that the class is drawn in: "#e69f00".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, ...] = ()
    color: str

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, fields: object) -> object:
        return rename_keys(fields, _OLD_CLASS_KEYS)

    @field_validator("values", mode="before")
    @classmethod
    def _values_to_strings(cls, value: object) -> object:
        return to_strings(value)

    def parse_color(self) -> Color:
        """Return the color. Raise ConfigError if the text is not a color."""
        try:
            return parse_hex(self.color)
        except ValueError:
            raise ConfigError(f"classes: '{self.color}' is not a color; write it like #e69f00") from None
