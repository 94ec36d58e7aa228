"""Tables of docs/results.md are replaced by measurements."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import FOLDER
from tests.benchmarks.test_quick import BENCHMARKS

PAGE = """# Results

Text before.

<!-- figures: data_speed -->

| old | table |
| --- | --- |
| 1 | 2 |

<!-- end -->

Text between.

<!-- figures: engine_overhead -->

old

<!-- end -->

Text after.
"""

CONTENT: dict[str, Any] = {
    "date": "2026-01-31",
    "machine": {"processor": "A CPU", "cores": 2, "versions": {"Python": "3.12.1"}},
    "options": {"quick": False},
    "table": [["what", "time"], ["a", r"1 s \1"]],
}

NEW = r"""
| what | time |
| --- | --- |
| a | 1 s \1 |

Measured on 2026-01-31 with 2 cores (A CPU): Python 3.12.1.

"""

OLD = "\n| old | table |\n| --- | --- |\n| 1 | 2 |\n\n"

OPTIONS = ["--steps", "100", "--rounds", "3"]
"""Those of engine_overhead."""

Run = Callable[..., str]


@pytest.fixture
def figures(script: Callable[[str], Any]) -> Any:
    """The script."""
    return script("figures")


@pytest.fixture
def run(figures: Any, tmp_path: Path) -> Run:
    """Return a function that runs the script on a page and returns the new page."""

    def run_on(page: str, *arguments: str) -> str:
        path = tmp_path / "results.md"
        path.write_text(page, encoding="utf-8")
        figures.main(["--page", str(path), *arguments])
        return path.read_text(encoding="utf-8")

    return run_on


def test_every_benchmark_has_a_table_in_the_docs(figures: Any) -> None:
    assert sorted(figures.NEEDS) == BENCHMARKS
    page = (FOLDER.parent / "docs" / "results.md").read_text(encoding="utf-8")
    figures.check_markers(page, BENCHMARKS)
    assert page.count("<!-- figures: ") == page.count("<!-- end -->") == len(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_options_are_those_of_the_command_in_the_docs(name: str, figures: Any) -> None:
    page = (FOLDER.parent / "docs" / "results.md").read_text(encoding="utf-8")
    command = re.search(rf"^    (.*)python benchmarks/{name}\.py (.*)$", re.sub(r"\\\n +", "", page), re.MULTILINE)
    assert command is not None
    words = command[2].split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    given = {"--out", "--run", *(f"--{need.replace('_', '-')}" for need in figures.NEEDS[name])}
    options = [word for flag, value in values.items() if flag not in given for word in (flag, value)]
    assert tuple(options) == figures.OPTIONS.get(name, ())
    assert dict(word.split("=") for word in command[1].split()) == figures.ENVIRONMENT.get(name, {})


@pytest.mark.parametrize("is_available", [False, True])
def test_a_benchmark_of_a_gpu_is_left_out_without_one(
    is_available: bool, figures: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "device_limits.py").write_text(f"import sys; open(sys.argv[2], 'w').write({json.dumps(CONTENT)!r})")
    monkeypatch.setattr(figures, "HERE", tmp_path)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: is_available)
    page = PAGE.replace("data_speed", "device_limits")
    changed = run(page, "--data", str(tmp_path), "--only", "device_limits")
    assert (changed == page) != is_available
    assert ("device_limits: left unchanged, there is no GPU" in capsys.readouterr().err) != is_available


def test_only_the_marked_text_is_replaced(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data_speed.json").write_text(json.dumps(CONTENT))
    page = run(PAGE, "--from", str(tmp_path), "--only", "data_speed", "engine_overhead")
    assert page == PAGE.replace(OLD, NEW)
    assert "engine_overhead: left unchanged, there is no engine_overhead.json" in capsys.readouterr().err


def test_figures_of_a_quick_run_are_not_used(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data_speed.json").write_text(json.dumps(CONTENT | {"options": {"quick": True}}))
    assert run(PAGE, "--from", str(tmp_path), "--only", "data_speed") == PAGE
    assert "data_speed.json is of a run with --quick" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<!-- figures: data_speed -->", ""),
        ("<!-- end -->\n\nText between", "Text between"),
        ("Text after.", "<!-- figures: data_speed -->\n<!-- end -->"),
    ],
)
def test_missing_and_double_markers_are_errors(run: Run, tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "data_speed.json").write_text(json.dumps(CONTENT))
    page = PAGE.replace(before, after)
    with pytest.raises(SystemExit, match=r"<!-- figures: data_speed --> .* and has them [02] times"):
        run(page, "--from", str(tmp_path), "--only", "data_speed")
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == page


def test_benchmarks_whose_data_are_given_are_run(
    figures: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"import sys; open(sys.argv[2], 'w').write({json.dumps(CONTENT)!r}); assert sys.argv[3:] == {OPTIONS!r}"
    (tmp_path / "engine_overhead.py").write_text(code + "; import os; assert os.environ['OMP_NUM_THREADS'] == '1'")
    monkeypatch.setitem(figures.ENVIRONMENT, "engine_overhead", {"OMP_NUM_THREADS": "1"})
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(figures, "HERE", tmp_path)
    page = run(PAGE, "--only", "data_speed", "engine_overhead")
    assert page == PAGE.replace("\nold\n\n", NEW)
    assert "data_speed: left unchanged, --data not given" in capsys.readouterr().err
