"""Printing of tables."""

from rich.console import Console

_FILE_WIDTH = 200
"""Width of a table in characters if the output is not a terminal."""


def table_console() -> Console:
    """Return a console for tables. If the output is not a terminal, rows are not folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)
