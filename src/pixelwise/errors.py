"""Every error that pixelwise raises on purpose.

    PixelwiseError            the command line prints its text as one line and exits with 2
    ├── DataError             an image, a mask or a folder is not as it must be
    ├── ConfigError           a setting has a value that cannot work
    ├── WeightsError          encoder weights cannot be had or do not fit
    └── RunError              a run folder is missing, incomplete or in the way

A message says what is wrong, where, and what to do about it, in one line.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class PixelwiseError(Exception):
    """The root of the tree: catch this to catch everything pixelwise raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(PixelwiseError):
    """An image, a mask or a data folder is not as it must be; the message names the file."""


class ConfigError(PixelwiseError):
    """A setting has a value that cannot work; the message lists the choices."""


class WeightsError(PixelwiseError):
    """Encoder weights cannot be had, or do not fit the encoder."""


class RunError(PixelwiseError):
    """A run folder is missing, incomplete or in the way."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> str:
    """The text for a name that is not among the choices: the nearest choice first, then all of them.

    >>> unknown_name("decoder", "pix2pi", ["light", "pix2pix"])
    "unknown decoder 'pix2pi' (did you mean 'pix2pix'?); choose from: light, pix2pix"
    """
    choices = list(choices)
    near = get_close_matches(name, choices, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {kind} '{name}'{hint}; choose from: {', '.join(choices)}"


def printable(text: str) -> str:
    r"""A text without control characters: a file's name may hold those that change what a terminal shows.

    >>> print(printable("\x1b[2Jcat.jpg"))
    \x1b[2Jcat.jpg
    """
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def without_name(error: Exception, file: object) -> str:
    """What an error says, without the name of its file, where that comes first.

    >>> without_name(DataError("cat.jpg: truncated"), "cat.jpg")
    'truncated'
    """
    return str(error).removeprefix(printable(f"{file}: "))


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing.

    >>> first_line(OSError("no route"))
    'no route'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
