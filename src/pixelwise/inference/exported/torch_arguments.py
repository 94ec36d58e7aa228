"""The arguments and the results of operators in the description of a torch.export program."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

UINT8 = 1
"""The number of the type uint8 in a program."""

FLOAT32 = 7
"""The number of the type float32 in a program."""

DTYPES = {
    UINT8: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    FLOAT32: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
STRIDED = 7
_MAX_TEXT = 100


@dataclass(frozen=True)
class Name:
    """A value that an earlier step computed."""

    name: str


def to_argument(value: Any) -> Any:
    """Return an argument of an operator. It is described by {type: value}."""
    kind, content = split_union(value)
    match kind:
        case "as_none":
            return None
        case "as_tensor" | "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
            return _to_name(content)
        case "as_tensors" | "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
            return [_to_name(each) for each in _list(content)]
        case "as_int" | "as_bool" | "as_float":
            return _to_number(content)
        case "as_ints" | "as_bools" | "as_floats":
            return [_to_number(each) for each in _list(content)]
        case "as_string" if isinstance(content, str) and len(content) <= _MAX_TEXT:
            return content
        case "as_scalar_type" if content in DTYPES:
            return DTYPES[content]
        case "as_memory_format" if content in _MEMORY_FORMATS:
            return _MEMORY_FORMATS[content]
        case "as_layout" if content == STRIDED:
            return torch.strided
        case "as_device" if isinstance(content, dict) and content.get("type") == "cpu":
            return torch.device("cpu")
    raise ValueError(f"an operator has an argument of the kind {kind[:40]!r}, which it may not have")


def _to_name(value: Any) -> Any:
    """Return what {"name": …}, {"as_name": …} or {"as_int": …} stands for."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return Name(value["name"])
    kind, content = split_union(value)
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return _to_name(content)
        case "as_name" if isinstance(content, str):
            return Name(content)
        case "as_int" | "as_float" | "as_bool":
            return _to_number(content)
    raise ValueError("an operator has an argument that is not described")


def _to_number(value: Any) -> int | float | bool:
    if isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN"):
        return float(value)
    if not isinstance(value, int | float):
        raise ValueError("an operator has an argument that is not a number")
    return value


def to_output(value: Any) -> str | tuple[str, ...] | None:
    """Return the name of a result, the names of a list of results, or None for a result without a use."""
    kind, content = split_union(value)
    if kind == "as_none":
        return None
    if kind == "as_tensors":
        return tuple(reference({"as_tensor": each}) for each in _list(content))
    return reference(value)


def reference(value: Any) -> str:
    """Return the name of a tensor or of a number."""
    name = to_argument(value)
    if not isinstance(name, Name):
        raise ValueError("a result has no name")
    return name.name


def split_union(value: Any) -> tuple[str, Any]:
    """Return the only entry of a dict."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("a value is not described by one type")
    ((kind, content),) = value.items()
    return str(kind), content


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def names_in(values: Iterable[Any]) -> Iterable[str]:
    """Yield the names of the values in arguments, see `to_argument`."""
    for value in values:
        if isinstance(value, Name):
            yield value.name
        elif isinstance(value, list):
            yield from names_in(value)


def resolve(value: Any, values: Mapping[str, Any]) -> Any:
    """Return an argument with each `Name` replaced by its value."""
    if isinstance(value, Name):
        return values[value.name]
    return [resolve(each, values) for each in value] if isinstance(value, list) else value
