"""Flags for the format of a data set and the meaning of its mask values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli.data_flags import DataFlags
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError, DataError
from pixelwise.planning.plan import Plan
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


def test_flags_for_instances_and_unlabeled_pixels(
    run_cli: RunCommand, train_call: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    mask = np.zeros((32, 32), np.uint8)
    mask[:9, :9], mask[20:, 20:] = 1, 2
    for number in range(8):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    run_cli("train", tmp_path, "--out", "x", "--preset", "default", "--instances", "--classes", "street,person")
    assert train_call["data"].classes == ("street", "person")
    run_cli("train", tmp_path, "--out", "x", "--preset", "default", "--unlabeled", "ignore")
    assert train_call["data"].classes == ("class 1", "class 2")


def test_the_advice_about_files_outside_works(run_cli: RunCommand, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "tables").mkdir()
    rows = ["image,mask"]
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray(rng.integers(0, 2, (24, 24), np.uint8)).save(tmp_path / f"{number}_mask.png")
        rows.append(f"../{number}.png,../{number}_mask.png")
    table = tmp_path / "tables" / "data.csv"
    table.write_text("\n".join(rows))
    refused = run_cli("inspect", table, "--out", tmp_path / "report")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert f"{table}, line 2: ../0.png is outside the folder of this file" in refused.err
    assert "set --allow-outside if you trust this data set" in refused.err
    allowed = run_cli("inspect", table, "--out", tmp_path / "report", "--allow-outside")
    assert allowed.code == 0 and f"--plan {tmp_path}/report/plan.yaml --allow-outside\n" in allowed.out
    with pytest.raises(DataError, match="`allow_outside`"):
        Plan.read(tmp_path / "report" / "plan.yaml").data.load(table)
    assert len(Plan.read(tmp_path / "report" / "plan.yaml").data.load(table, allow_outside=True).train) == 8
