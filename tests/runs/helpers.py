"""Helpers of the tests of run directories."""

import importlib
from pathlib import Path

import pytest
import torch


def equal(first: object, second: object) -> bool:
    """Compare nested values. Lists and tuples are equal, because JSON has lists only."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(equal(first[key], second[key]) for key in first)
        )
    if isinstance(first, list | tuple):
        return isinstance(second, list | tuple) and len(first) == len(second) and all(map(equal, first, second))
    return first == second


def kill_after(patch: pytest.MonkeyPatch, target: str, calls: int) -> None:
    """Let a function raise KeyboardInterrupt after this many calls, as if the process were killed.

    Args:
        patch: undoes the change.
        target: the function, "pathlib.Path.NAME" or "MODULE.NAME".
        calls: number of calls that succeed.
    """
    owner_name, _, name = target.rpartition(".")
    owner = Path if owner_name == "pathlib.Path" else importlib.import_module(owner_name)
    original, done = getattr(owner, name), 0

    def killed(*args: object, **kwargs: object) -> object:
        nonlocal done
        done += 1
        if done > calls:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    patch.setattr(owner, name, killed)
