"""Images in notebooks."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pixelwise.runtime.notebook import show_in_notebook


@pytest.fixture
def ipython(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace IPython: `shell` is what `get_ipython` returns, `images` has what was displayed."""
    fake = SimpleNamespace(shell=None, images=[])
    display: Any = ModuleType("IPython.display")
    display.Image = lambda filename: filename
    display.display = fake.images.append
    module: Any = ModuleType("IPython")
    module.display = display
    module.get_ipython = lambda: fake.shell
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return fake


def test_a_notebook_shows_the_image(ipython: SimpleNamespace, tmp_path: Path) -> None:
    ipython.shell = SimpleNamespace(config={"IPKernelApp": {}})
    show_in_notebook(tmp_path / "epoch_001.png")
    assert ipython.images == [str(tmp_path / "epoch_001.png")]


@pytest.mark.parametrize("shell", [None, SimpleNamespace(config={})], ids=["no shell", "a terminal"])
def test_other_programs_show_nothing(
    ipython: SimpleNamespace, shell: object, capsys: pytest.CaptureFixture[str]
) -> None:
    ipython.shell = shell
    show_in_notebook(Path("epoch_001.png"))
    assert ipython.images == []
    assert capsys.readouterr().out == ""


def test_ipython_is_optional(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    show_in_notebook(Path("epoch_001.png"))
    assert capsys.readouterr() == ("", "")
