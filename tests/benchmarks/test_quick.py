"""Each benchmark runs with --quick, so that none can stop working without a failing test."""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import FOLDER

BENCHMARKS = sorted(path.stem for path in FOLDER.glob("[!_]*.py") if path.stem != "figures")

RATES = r"images_per_second|microseconds_per_step|rounds|all|seconds.*"
"""Pattern of the keys of measurements that are positive. Each benchmark has at least one."""


def leaves(value: Any) -> Iterator[Any]:
    """Yield all values in nested lists and dictionaries."""
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from leaves(child)
    else:
        yield value


def find(value: Any, keys: str) -> Iterator[Any]:
    """Yield the values in nested lists and dictionaries whose keys match a pattern."""
    if isinstance(value, dict):
        for key, child in value.items():
            if re.fullmatch(keys, key):
                yield child
            else:
                yield from find(child, keys)
    elif isinstance(value, list):
        for child in value:
            yield from find(child, keys)


def test_folder_has_benchmarks() -> None:
    assert {"against_tutorial", "data_speed", "inspect_speed"} <= set(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_quick_run_writes_plausible_measurements(
    name: str,
    script: Callable[[str], Any],
    pets_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ["--data", str(pets_folder)] if "data" in script("figures").NEEDS[name] else []
    out = tmp_path / "results" / f"{name}.json"

    script(name).main(["--quick", "--out", str(out), *data])

    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["options"]["quick"] is True
    assert content["machine"]["cores"] >= 1 and "Python" in content["machine"]["versions"]
    headings, *rows = content["table"]
    assert len(rows) >= 2 and all(len(row) == len(headings) and all(row) for row in rows)
    rates = [value for part in find(content, RATES) for value in leaves(part) if type(value) in (int, float)]
    assert rates and all(math.isfinite(rate) and rate > 0 for rate in rates)
    assert all(0 <= value <= 1 for value in find(content, "miou|accuracy"))
    assert capsys.readouterr().out.strip() == script("_common").render(content).strip()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_existing_output_is_kept(
    name: str, script: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "old.json"
    out.write_text("old")
    with pytest.raises(SystemExit):
        script(name).main(["--quick", "--out", str(out)])
    assert out.read_text() == "old" and "exists already" in capsys.readouterr().err
