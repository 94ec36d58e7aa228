"""The size of the input of a network: a number, or a height and a width."""

import pickle
from typing import Any

import pytest

from pixelwise.data.input_size import HeightWidth, map_sides, mean_side, parse_size, to_pair, to_plain, window_side


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (384, 384),
        (384.0, 384),
        ("384", 384),
        ("288x384", (288, 384)),
        (" 288 X 384 ", (288, 384)),
        ("288×384", (288, 384)),
        ([288, 384], (288, 384)),
        ((288, 384.0), (288, 384)),
        ("384x384", 384),
        ([384], 384),
        ([384, 384], 384),
        (HeightWidth(288, 384), (288, 384)),
    ],
)
def test_sizes_are_numbers_text_or_pairs(value: object, size: int | tuple[int, int]) -> None:
    parsed = parse_size(value, 32, 4096)
    assert parsed == size
    assert isinstance(parsed, int | HeightWidth), "a message shows a pair as text"
    assert parse_size(to_plain(parsed), 32, 4096) == parsed
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@pytest.mark.parametrize(
    "value",
    ["", "large", "288x", "x384", "288x384x3", "-288x384", "1e3", [], [1, 2, 3], 288.5, True, (True, 64), None, {},
     float("nan"), float("inf")],
)  # fmt: skip
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="HEIGHTxWIDTH such as 288x384"):
        parse_size(value, 1, 4096)


@pytest.mark.parametrize(
    ("value", "message"),
    [(31, "32 px or more"), ("384x31", "32 px or more"), ([0, 64], "32 px or more"), ("32x4097", "4096 px or less")],
)
def test_each_side_has_limits(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(value, 32, 4096)


def test_sides() -> None:
    assert to_pair(64) == (64, 64)
    assert str(to_pair((32, 64))) == "32x64"
    assert mean_side((32, 128)) == 64
    assert map_sides(lambda side: side // 2, 64) == 32
    assert str(map_sides(lambda side: side // 2, (64, 128))) == "32x64"
    assert window_side(64) == 64
