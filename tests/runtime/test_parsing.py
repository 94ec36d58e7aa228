"""YAML and JSON that are damaged or made to harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelwise.runtime.parsing import parse_json, parse_yaml, read_json, read_yaml


def test_values_are_returned(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{ä: [1, null, 2.5]}".replace("ä", '"ä"'), encoding="utf-8")
    assert read_yaml(tmp_path / "a") == read_json(tmp_path / "a") == {"ä": [1, None, 2.5]}


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_yaml, "x: 2024-13-45"),
        (parse_yaml, f"x: {'9' * 5000}"),
        (parse_yaml, "[" * 10_000),
        (parse_yaml, "x: [1\ny: 2"),
        (parse_yaml, "!!python/object/apply:os.system [id]"),
        (parse_yaml, "x: \x00"),
        (parse_yaml, "x: &a [*a]"),
        (parse_yaml, "\n".join(["- &a0 [x, x]", *(f"- &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])),
        (parse_json, "[" * 200_000),
        (parse_json, "9" * 5000),
        (parse_json, '{"a": 1,}'),
        (parse_json, b"\xff\xfe\xfa"),
        (parse_json, ""),
    ],
)
def test_every_fault_is_a_value_error_in_one_line(parse: Callable[[Any], object], text: str | bytes) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert str(error.value) and "\n" not in str(error.value)


def test_aliases_can_be_used() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: {d: *x}") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe\x81")
    for read in (read_yaml, read_json):
        with pytest.raises(UnicodeError):
            read(tmp_path / "a")
