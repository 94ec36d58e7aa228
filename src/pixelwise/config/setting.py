"""The function that defines a field of `Config`."""

from typing import Any

from pydantic import Field


def setting(group: str, description: str, **limits: Any) -> Any:
    """Return a field of `Config`. The command line's help lists it under the heading `group`.

    Args:
        group: "Data", "Model", "Training" or "Machine".
        description: the help text, without the default.
        limits: the default and the limits of the value, see `pydantic.Field`.

    Returns:
        A `FieldInfo`. The type is Any, so that type checkers accept it as the default of each type.
    """
    return Field(description=description, json_schema_extra={"group": group}, **limits)
