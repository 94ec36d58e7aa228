"""The command line: one module per command, imported when the command runs."""

from pixelwise.cli.entry import main

__all__ = ["main"]
