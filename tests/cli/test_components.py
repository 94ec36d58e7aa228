"""Components with parameters as words of the command line."""

from typing import Any

import pytest

from pixelwise.cli.components import parse_components, parse_parameters
from pixelwise.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        (("gamma=3",), {"gamma": 3}),
        (("a=0.5,b=true", "c=text"), {"a": 0.5, "b": True, "c": "text"}),
        (("widths=[64, 32],bias=false",), {"widths": [64, 32], "bias": False}),
        (("path=/a b/c=d.st",), {"path": "/a b/c=d.st"}),
        ((" a = 1 ",), {"a": 1}),
        (("a=[1",), {"a": "[1"}),
    ],
)
def test_parameters_are_parsed(words: tuple[str, ...], parameters: dict[str, Any]) -> None:
    assert parse_parameters("--loss-args", words) == parameters


@pytest.mark.parametrize("word", ["gamma", "=3", "gamma=", ""])
def test_parameters_need_a_name_and_a_value(word: str) -> None:
    with pytest.raises(ConfigError, match=r"--loss-args: '.*' is not PARAMETER=VALUE"):
        parse_parameters("--loss-args", (word,))


def test_components_are_parsed() -> None:
    assert parse_components("--callbacks", ("a", "b:x=1,y=two")) == ("a", {"name": "b", "x": 1, "y": "two"})
