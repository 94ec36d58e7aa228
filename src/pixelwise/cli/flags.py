"""Conversion of library argument names to command-line flags, and renamed flags of version 0.1.

Every command imports this module, also `pixelwise --help`. So it must not import slow packages.
"""

import re
from collections.abc import Sequence

from pixelwise.errors import ConfigError

FLAGS = {
    "image_size": "--size", "num_workers": "--workers", "cache_images": "--cache", "start_from": "--from",
    "data": "DATA", "run": "RUN",
}  # fmt: skip
"""Library argument → flag, or name of a positional argument. The flag of any other argument is its name with dashes."""

OLD_FLAGS = {
    "--predict-scale": "--eval-scale",
    "--augment": "--augmentation",
    "--validation-from": "--val-from",
    "--validation-fraction": "--val-fraction",
    "--skip-bad": "--skip-unreadable",
    "--layers": "--encoder-layers",
    "--padding": "--encoder-padding",
    "--pixels": "--normalization",
    "--schedule": "--lr-schedule",
    "--samples": "--sample-predictions",
    "--mask-map": "--label-map",
    "--ignore": "--ignore-values",
}
"""Flag of version 0.1 → current flag."""

_OLD_COMMANDS = {"show": "preview"}
_OLD_RESOLUTIONS = {"photo": "original"}


def flag_of(name: str) -> str:
    """Return the command-line flag of a library argument.

    >>> flag_of("image_size"), flag_of("batch_size")
    ('--size', '--batch-size')
    """
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def flag_words(flag: str, value: object) -> list[str]:
    """Return a flag with its value as words of a command.

    Args:
        flag: the flag.
        value: True or False for a flag without a value, a tuple for a flag with several values, or one value.

    >>> flag_words("--size", 96), flag_words("--cache", False), flag_words("--nodata", -1.0)
    (['--size', '96'], ['--no-cache'], ['--nodata=-1.0'])
    """
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    words = [str(each) for each in (value if isinstance(value, tuple) else (value,))]
    return [f"{flag}={words[0]}"] if len(words) == 1 and words[0].startswith("-") else [flag, *words]


def with_flags(message: str) -> str:
    """Replace argument names in backticks by flags in a message of the library.

    >>> with_flags("runs/pets: exists already; choose another `out`")
    'runs/pets: exists already; choose another --out'
    """
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda match: flag_of(match[1]), message)


def refuse_old_names(tokens: Sequence[str]) -> None:
    """Refuse commands, flags and resolutions of version 0.1.

    Args:
        tokens: the command-line arguments, without the program name.

    Raises:
        ConfigError: An argument has a name of version 0.1. The message contains the current name.
    """
    if not tokens:
        return
    if tokens[0] in _OLD_COMMANDS:
        raise ConfigError(f"the command '{tokens[0]}' is now '{_OLD_COMMANDS[tokens[0]]}'")
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        flag, _, value = token.partition("=")
        if flag in OLD_FLAGS:
            raise ConfigError(f"{flag} is now {OLD_FLAGS[flag]}")
        if flag.replace("--no-", "--", 1) in OLD_FLAGS:
            raise ConfigError(f"{flag} is now {OLD_FLAGS[flag.replace('--no-', '--', 1)].replace('--', '--no-', 1)}")
        if flag == "--resolution" and (value or following) in _OLD_RESOLUTIONS:
            old = value or following
            raise ConfigError(f"--resolution {old} is now --resolution {_OLD_RESOLUTIONS[old]}")
