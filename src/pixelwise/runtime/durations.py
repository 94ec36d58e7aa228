"""Durations as text: "90s", "5m", "1h30m"."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

_PATTERN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as "90s", "5m", "1h30m" or "90".

    Args:
        text: hours, minutes and seconds with their units "h", "m" or "min", and "s", in this order. A number without a
            unit is in seconds. Spaces are ignored.

    Raises:
        ValueError: The text is not a duration, or the duration is not positive.

    >>> parse_duration("90s"), parse_duration("5m"), parse_duration("1h30m")
    (90.0, 300.0, 5400.0)
    """
    match = _PATTERN.fullmatch("".join(text.lower().split()))
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS.values(), strict=True))
        if match
        else 0.0
    )
    if seconds <= 0:
        raise ValueError(f"'{text}' is not a duration; write 90s, 5m or 1h30m")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration in seconds as text with one unit.

    >>> format_duration(40.2), format_duration(185), format_duration(5400)
    ('40 s', '3 min', '1.5 h')
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
