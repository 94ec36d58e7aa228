"""The command line."""

from pixelwise.cli.app import main

__all__ = ["main"]
