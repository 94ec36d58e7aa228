"""The command line: one module per command, imported when the command runs."""

from pixelwise.cli.app import main

__all__ = ["main"]
