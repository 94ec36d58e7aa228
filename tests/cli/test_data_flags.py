"""Flags for the format of a data set and the meaning of its mask values."""

from pathlib import Path
from typing import Any

import pytest

from pixelwise.cli.data_flags import DataFlags
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError
from tests.cli.helpers import RunCommand


def test_lists_can_have_spaces_or_commas() -> None:
    flags = DataFlags("folders", ("cat", "dog,bird"), ("255,7",), ("0=background,255=cat", "#ff0000 = big dog"))
    assert flags.label_options(skip_unreadable=True) == LabelOptions(
        format="folders",
        classes=("cat", "dog", "bird"),
        ignore_values=("255", "7"),
        label_map=(("0", "background"), ("255", "cat"), ("#ff0000", "big dog")),
        skip_unreadable=True,
    )


@pytest.mark.parametrize("text", ["255", "255=", "=cat", "255:cat"])
def test_a_label_map_needs_value_and_class(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--label-map: .* is not VALUE=CLASS"):
        DataFlags(label_map=(text,)).label_options()


def test_flags_reach_the_data_set(run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path) -> None:
    flags = ["--classes", "pet", "background", "--format", "oxford-pets"]
    run_cli("train", pets_folder, "--out", "x", "--preset", "default", *flags)
    assert train_call["data"].classes == ("pet", "background")
