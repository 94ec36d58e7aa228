"""Output in notebooks: one output that is replaced, and nothing elsewhere."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pixelwise.runtime.notebook import LiveOutput, in_notebook


@pytest.fixture
def ipython(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace IPython: `shell` is what `get_ipython` returns, `outputs` has the contents of each output in order."""
    fake = SimpleNamespace(shell=SimpleNamespace(config={"IPKernelApp": {}}), outputs=[])

    def show(content: str, display_id: bool) -> SimpleNamespace:
        assert display_id is True
        contents = [content]
        fake.outputs.append(contents)
        return SimpleNamespace(update=contents.append)

    display: Any = ModuleType("IPython.display")
    display.HTML = lambda text: f"HTML {text}"
    display.display = show
    module: Any = ModuleType("IPython")
    module.display = display
    module.get_ipython = lambda: fake.shell
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return fake


def test_the_content_of_one_output_is_replaced(ipython: SimpleNamespace) -> None:
    assert in_notebook()
    output = LiveOutput()
    for text in ("1", "2", "3"):
        output.show(text)
    assert ipython.outputs == [["HTML 1", "HTML 2", "HTML 3"]]
    LiveOutput().show("4")
    assert ipython.outputs == [["HTML 1", "HTML 2", "HTML 3"], ["HTML 4"]]


@pytest.mark.parametrize("shell", [None, SimpleNamespace(config={})], ids=["no shell", "a terminal"])
def test_other_programs_show_nothing(
    ipython: SimpleNamespace, shell: object, capsys: pytest.CaptureFixture[str]
) -> None:
    ipython.shell = shell
    assert not in_notebook()
    LiveOutput().show("1")
    assert ipython.outputs == []
    assert capsys.readouterr() == ("", "")


def test_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "IPython"]:
        monkeypatch.delitem(sys.modules, name)
    assert not in_notebook()
    LiveOutput().show("1")
    assert "IPython" not in sys.modules
