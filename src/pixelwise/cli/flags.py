"""Flags of the command line: names of library arguments as flags, and flags of version 0.1.

This module is imported by every command, also by `pixelwise --help`: it imports nothing heavy.
"""

import re
from collections.abc import Sequence

from pixelwise.errors import ConfigError

FLAGS = {"image_size": "--size", "num_workers": "--workers", "cache_images": "--cache", "data": "DATA", "run": "RUN"}
"""Argument → flag, or the word for a positional argument, if it is not the argument's name with dashes."""

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
"""Flag of version 0.1 → flag of today."""

_OLD_COMMANDS = {"show": "preview"}
_OLD_RESOLUTIONS = {"photo": "original"}


def flag_of(name: str) -> str:
    """Return the flag of a library argument.

    >>> flag_of("image_size"), flag_of("batch_size")
    ('--size', '--batch-size')
    """
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def with_flags(message: str) -> str:
    """Return a library message with the arguments in backticks replaced by flags.

    >>> with_flags("runs/pets: exists already; choose another `out`")
    'runs/pets: exists already; choose another --out'
    """
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda match: flag_of(match[1]), message)


def refuse_old_names(tokens: Sequence[str]) -> None:
    """Raise ConfigError if the command line has a command, a flag or a resolution of version 0.1.

    Args:
        tokens: the arguments of the command line, without the program's name.
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
