"""Durations as text."""

import pytest

from pixelwise.runtime.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2h", 7200),
        ("45", 45),
        ("1.5h", 5400),
        (" 1H 5M ", 3900),
        ("2min", 120),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5 apples", "0s", "-5m", "5m1h", "1e3", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 90s, 5m or 1h30m"):
        parse_duration(text)


def test_format() -> None:
    assert [format_duration(seconds) for seconds in (0.2, 89, 91, 3600, 7200)] == [
        "1 s",
        "89 s",
        "2 min",
        "60 min",
        "2.0 h",
    ]
